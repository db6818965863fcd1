//! Checks of Elasticsearch: whether it answers, what the user may do, and whether it has room.

use url::Url;

use super::certificate;
use super::check::Checks;
use super::subject::Subject;
use crate::certificate::Begin;
use crate::elastic::Client;
use crate::elastic::inspection::{Disk, Privileges, Watermarks};
use crate::error::{Error, ErrorKind};
use crate::projection::{Plan, Projection, template};

/// The privileges that a run needs on daybook's indices, and what a diagnosis needs on the cluster.
const ON_INDICES: [&str; 3] = ["read", "write", "manage"];
const ON_CLUSTER: [&str; 1] = ["monitor"];

/// Checks the cluster. Returns whether it answers, so that its indices can be checked.
pub(super) async fn examine(subject: &Subject<'_>, checks: &mut Checks) -> bool {
    let client = match &subject.elasticsearch {
        Ok(client) => client,
        Err(error) => {
            checks.failed("settings", error);
            return false;
        }
    };
    let Some(versions) = checks.take("reachable", client.versions().await) else {
        return false;
    };
    checks.ok("reachable", client.place());
    encryption(client, checks);
    certificate::examine(encrypted_hosts(client), Begin::AtOnce, checks).await;
    if checks
        .take("version", client.check_version().await)
        .is_none()
    {
        return false;
    }
    if let Some(versions) = &versions {
        checks.ok("version", versions.join(", "));
    }
    privileges(client, subject.plan, checks).await;
    if versions.is_some() {
        health(client, subject.plan, checks).await;
        disks(client, subject.plan, checks).await;
    }
    templates(client, subject.plan, checks).await;
    true
}

fn encryption(client: &Client, checks: &mut Checks) {
    let place = client.place();
    let is_remote = |address: &str| {
        Url::parse(address.trim()).is_ok_and(|url| {
            let host = url.host_str().unwrap_or_default();
            let is_local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
            url.scheme() == "http" && !is_local
        })
    };
    if place.split(',').any(is_remote) {
        checks.warning(
            "encryption",
            "none: others can read the password and the figures",
            "enable TLS for HTTP in Elasticsearch, and write https:// in DAYBOOK_ELASTICSEARCH_URL",
        );
    } else if place.starts_with("https") {
        checks.ok("encryption", "TLS");
    } else {
        checks.ok("encryption", "none; the cluster is on this machine");
    }
}

/// The nodes that are reached by TLS.
fn encrypted_hosts(client: &Client) -> Vec<(String, u16)> {
    let place = client.place();
    let urls = place
        .split(',')
        .filter_map(|address| Url::parse(address.trim()).ok());
    urls.filter(|url| url.scheme() == "https")
        .filter_map(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))
        .collect()
}

/// All aliases, and a pattern for their indices.
fn names(plan: &Plan) -> Vec<String> {
    vec![plan.prefix.clone(), format!("{}-*", plan.prefix)]
}

async fn privileges(client: &Client, plan: &Plan, checks: &mut Checks) {
    let names = names(plan);
    let asked = client.privileges(&ON_CLUSTER, &names, &ON_INDICES).await;
    match asked {
        Err(error) if error.kind() == ErrorKind::ElasticsearchPrivilegeMissing => {
            checks.unknown("privileges", &error);
        }
        Err(error) => checks.failed("privileges", &error),
        Ok(None) => checks.ok("privileges", "the cluster's security is off"),
        Ok(Some(found)) => report_privileges(&found, &names, checks),
    }
}

fn report_privileges(found: &Privileges, names: &[String], checks: &mut Checks) {
    let Privileges {
        user,
        missing_on_cluster,
        missing_on_indices,
    } = found;
    let role = serde_json::json!({
        "cluster": ON_CLUSTER,
        "indices": [{ "names": names, "privileges": ON_INDICES }],
    });
    let grant = format!(
        "as an administrator: PUT /_security/role/daybook {role}, and give {user} that role"
    );
    if !missing_on_indices.is_empty() {
        let error = Error::new(
            ErrorKind::ElasticsearchPrivilegeMissing,
            format!(
                "{user} lacks {} on {}",
                missing_on_indices.join(", "),
                names.join(" and ")
            ),
        );
        checks.failed("privileges", &error.hint(grant));
    } else if !missing_on_cluster.is_empty() {
        checks.warning(
            "privileges",
            format!(
                "{user} lacks {} on the cluster: version and disks are not checked",
                missing_on_cluster.join(", ")
            ),
            grant,
        );
    } else {
        checks.ok(
            "privileges",
            format!("{user} may read, write and manage {}", names.join(" and ")),
        );
    }
}

async fn health(client: &Client, plan: &Plan, checks: &mut Checks) {
    let found = async {
        let status = client.health().await?;
        let missing = match status.as_str() {
            "red" => client.missing_shards(&format!("{}-*", plan.prefix)).await?,
            _ => Vec::new(),
        };
        Ok((status, missing))
    };
    match found.await {
        Err(error) => checks.unknown("health", &error),
        Ok((status, missing)) if status == "red" => missing_shards(&missing, plan, checks),
        Ok((status, _)) => checks.ok("health", status),
    }
}

/// Names shards without any copy, and what rebuilds their indices.
fn missing_shards(missing: &[(String, String)], plan: &Plan, checks: &mut Checks) {
    const WAY_OUT: &str = "GET _cluster/allocation/explain says why shards are not assigned";
    if missing.is_empty() {
        let what = "red: shards of other indices than daybook's are missing";
        return checks.warning("health", what, WAY_OUT);
    }
    let shards: Vec<String> = missing
        .iter()
        .map(|(index, number)| format!("shard {number} of {index}"))
        .collect();
    let is_of = |index: &str, kind: Projection| {
        let generation = index.strip_prefix(&plan.alias(kind));
        generation.is_some_and(|generation| generation.starts_with("-g"))
    };
    let kinds: Vec<&str> = Projection::ALL
        .into_iter()
        .filter(|kind| missing.iter().any(|(index, _)| is_of(index, *kind)))
        .map(Projection::name)
        .collect();
    let what = format!(
        "red: no node has {}, so reading and writing there fail",
        shards.join(", ")
    );
    let mut hint = format!("bring back the node that had it; {WAY_OUT}");
    if !kinds.is_empty() {
        hint += &format!(
            "; if the node is lost for good, run `daybook rebuild --only {}`",
            kinds.join(",")
        );
    }
    let error = Error::new(ErrorKind::ElasticsearchBusy, what).hint(hint);
    checks.failed("health", &error);
}

async fn disks(client: &Client, plan: &Plan, checks: &mut Checks) {
    let facts = async {
        let aliases: Vec<String> = Projection::ALL.map(|kind| plan.alias(kind)).into();
        let needed = client.store_bytes(&aliases).await?;
        Ok((client.disks().await?, client.watermarks().await?, needed))
    };
    match facts.await {
        Err(error) => checks.unknown("disk", &error),
        Ok((disks, watermarks, needed)) => room(&disks, watermarks.as_ref(), needed, checks),
    }
}

/// Checks that no disk is too full, and that all indices could be built again beside the present ones.
fn room(disks: &[Disk], watermarks: Option<&Watermarks>, needed: u64, checks: &mut Checks) {
    let reserved = |disk: &Disk, of: fn(&Watermarks) -> &crate::elastic::inspection::Watermark| {
        watermarks
            .and_then(|watermarks| of(watermarks).free_bytes(disk.total))
            .unwrap_or(0)
    };
    let full = disks
        .iter()
        .find(|disk| disk.free < reserved(disk, |watermarks| &watermarks.flood_stage));
    if let Some(Disk { node, free, .. }) = full {
        let what = format!(
            "the disk of node {node} is beyond the flood-stage watermark, with {} free",
            size(*free)
        );
        let error = Error::new(ErrorKind::ElasticsearchDiskFull, what);
        checks.failed("disk", &error.hint("free space there, or add a node"));
        return;
    }
    let usable: u64 = disks
        .iter()
        .map(|disk| {
            disk.free
                .saturating_sub(reserved(disk, |watermarks| &watermarks.low))
        })
        .sum();
    let sizes = format!(
        "{} are usable up to the low watermark; a rebuild needs about {}",
        size(usable),
        size(needed)
    );
    if usable == 0 || usable < needed {
        checks.warning(
            "disk",
            sizes,
            "free space or add a node before the next `daybook rebuild`",
        );
    } else {
        checks.ok("disk", sizes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} kB", bytes.div_ceil(1024)),
        0x10_0000..0x4000_0000 => format!("{} MB", bytes >> 20),
        _ => format!("{:.1} GB", bytes as f64 / f64::from(1 << 30)),
    }
}

async fn templates(client: &Client, plan: &Plan, checks: &mut Checks) {
    let mut interfering = Vec::new();
    for kind in plan.kinds() {
        match template::interfering(client, &plan.alias(kind), &plan.serving_design(kind)).await {
            Ok(found) => interfering.extend(found),
            Err(error) => return checks.unknown("templates", &error),
        }
    }
    interfering.sort();
    interfering.dedup();
    if interfering.is_empty() {
        checks.ok("templates", "no index template changes the indices");
    } else {
        let what = format!(
            "index templates would change the indices: {}",
            interfering.join("; ")
        );
        checks.warning(
            "templates",
            what,
            format!(
                "{}; the same for the other indices",
                template::remedy(&plan.prefix)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::{Area, Check, Level};
    use crate::elastic::inspection::Watermark;

    const GB: u64 = 1 << 30;

    fn checked(free: u64, needed: u64) -> Check {
        let watermarks = Watermarks {
            low: Watermark::new("85%", None),
            flood_stage: Watermark::new("95%", None),
        };
        let disk = Disk {
            node: "one".to_owned(),
            total: 100 * GB,
            free,
        };
        let mut checks = Checks::new(Area::Elasticsearch);
        room(&[disk], Some(&watermarks), needed, &mut checks);
        checks.into_found().remove(0)
    }

    #[test]
    fn a_rebuild_has_room_up_to_the_low_watermark() {
        assert_eq!(checked(25 * GB, 10 * GB).level, Level::Ok);
        assert_eq!(checked(24 * GB, 10 * GB).level, Level::Warning);
        assert_eq!(checked(14 * GB, 0).level, Level::Warning);
        let full = checked(4 * GB, 0);
        assert_eq!(
            (full.level, full.kind),
            (Level::Failed, Some("elasticsearch-disk-full"))
        );
    }
}
