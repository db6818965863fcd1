//! What a cluster is like, for a diagnosis: privileges, health and disks. Only reads.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use crate::error::Error;
use elasticsearch::http::Method;

/// What the user may do.
#[derive(Debug)]
pub struct Privileges {
    pub user: String,
    /// The privileges on the cluster that it lacks.
    pub missing_on_cluster: Vec<String>,
    /// The privileges on the indices that it lacks.
    pub missing_on_indices: Vec<String>,
}

/// The disk of a node, in bytes.
#[derive(Debug)]
pub struct Disk {
    pub node: String,
    pub total: u64,
    pub free: u64,
}

/// How much must be free on a disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// As it is configured.
    text: String,
    /// The most that a share of the disk can amount to, if that is limited.
    max_headroom: Option<u64>,
}

impl Watermark {
    /// From the setting and the limit of what it reserves.
    pub fn new(text: &str, max_headroom: Option<&str>) -> Self {
        Self {
            text: text.to_owned(),
            // -1 stands for no limit.
            max_headroom: max_headroom.and_then(bytes),
        }
    }

    /// The bytes that must be free on a disk of this size; none if the setting cannot be read.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a disk need not be exact"
    )]
    pub fn free_bytes(&self, total: u64) -> Option<u64> {
        let used = match self.text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
            // A ratio has no unit; an amount has one.
            None => match self.text.parse::<f64>() {
                Ok(ratio) => ratio,
                Err(_) => return bytes(&self.text),
            },
        };
        let free = (total as f64 * (1.0 - used)).max(0.0).round() as u64;
        Some(free.min(self.max_headroom.unwrap_or(u64::MAX)))
    }
}

/// The watermarks of the disks.
#[derive(Debug)]
pub struct Watermarks {
    /// With less, a node gets no new shards.
    pub low: Watermark,
    /// With less, indices refuse writes.
    pub flood_stage: Watermark,
}

/// A size such as `500mb`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let units = [
        ("kb", 10),
        ("mb", 20),
        ("gb", 30),
        ("tb", 40),
        ("pb", 50),
        ("b", 0),
    ];
    let (number, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Client {
    /// Which of these privileges the user lacks. None if the cluster has no users: its security is off.
    pub async fn privileges(
        &self,
        cluster: &[&str],
        indices: &[String],
        on_indices: &[&str],
    ) -> Result<Option<Privileges>, Error> {
        #[derive(Deserialize)]
        struct Body {
            username: String,
            #[serde(default)]
            cluster: BTreeMap<String, bool>,
            #[serde(default)]
            index: BTreeMap<String, BTreeMap<String, bool>>,
        }
        let what = "asking Elasticsearch what the user may do";
        let asked = json!({
            "cluster": cluster,
            "index": [{ "names": indices, "privileges": on_indices }],
        });
        let path = "/_security/user/_has_privileges";
        let answer = self
            .send(Method::Post, path, Some(&asked))
            .await
            .map_err(|error| error.during(what))?;
        if !answer.is_success() {
            let refused = matches!(answer.status, 401 | 403);
            return if refused || answer.is_unavailable() {
                Err(answer.error(what))
            } else {
                Ok(None)
            };
        }
        let Body {
            username,
            cluster,
            index,
        } = answer.read(what)?;
        let lacking = |has: BTreeMap<String, bool>| {
            has.into_iter()
                .filter(|(_, has)| !has)
                .map(|(name, _)| name)
        };
        let mut missing_on_indices: Vec<String> = index.into_values().flat_map(lacking).collect();
        missing_on_indices.sort();
        missing_on_indices.dedup();
        Ok(Some(Privileges {
            user: username,
            missing_on_cluster: lacking(cluster).collect(),
            missing_on_indices,
        }))
    }

    /// The health of the cluster: green, yellow or red.
    pub async fn health(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Body {
            status: String,
        }
        let what = "asking Elasticsearch for its health";
        let path = "/_cluster/health?filter_path=status";
        let answer = self.request(Method::Get, path, None, what).await?;
        Ok(answer.read::<Body>(what)?.status)
    }

    /// The shards without any copy, of indices whose names match a pattern: index and number.
    pub async fn missing_shards(&self, pattern: &str) -> Result<Vec<(String, String)>, Error> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            indices: BTreeMap<String, Index>,
        }
        #[derive(Deserialize)]
        struct Index {
            #[serde(default)]
            shards: BTreeMap<String, Shard>,
        }
        #[derive(Deserialize)]
        struct Shard {
            status: String,
        }
        let what = "asking Elasticsearch which shards are missing";
        let path = format!(
            "/_cluster/health/{pattern}?level=shards&filter_path=indices.*.shards.*.status"
        );
        let answer = self.request(Method::Get, &path, None, what).await?;
        let indices = answer.read::<Body>(what)?.indices.into_iter();
        Ok(indices
            .flat_map(|(name, index)| {
                let red = index.shards.into_iter().filter(|(_, s)| s.status == "red");
                red.map(move |(number, _)| (name.clone(), number))
            })
            .collect())
    }

    /// The disks of the nodes.
    pub async fn disks(&self) -> Result<Vec<Disk>, Error> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            name: String,
            fs: Option<FileSystem>,
        }
        #[derive(Deserialize)]
        struct FileSystem {
            total: Total,
        }
        #[derive(Deserialize)]
        struct Total {
            total_in_bytes: u64,
            available_in_bytes: u64,
        }
        let what = "asking Elasticsearch for its disks";
        let path = "/_nodes/stats/fs?filter_path=nodes.*.name,nodes.*.fs.total";
        let answer = self.request(Method::Get, path, None, what).await?;
        let nodes = answer.read::<Body>(what)?.nodes.into_values();
        Ok(nodes
            .filter_map(|node| {
                let total = node.fs?.total;
                Some(Disk {
                    node: node.name,
                    total: total.total_in_bytes,
                    free: total.available_in_bytes,
                })
            })
            .collect())
    }

    /// The watermarks; none if the cluster ignores how full its disks are.
    pub async fn watermarks(&self) -> Result<Option<Watermarks>, Error> {
        const DISK: &str = "cluster.routing.allocation.disk";
        let what = "asking Elasticsearch for the watermarks of its disks";
        let path = "/_cluster/settings?include_defaults=true&flat_settings=true";
        let answer = self.request(Method::Get, path, None, what).await?;
        let settings: BTreeMap<String, BTreeMap<String, Value>> = answer.read(what)?;
        // What is set at run time precedes what the nodes are configured with.
        let setting = |name: &str| {
            ["transient", "persistent", "defaults"]
                .into_iter()
                .find_map(|layer| {
                    settings
                        .get(layer)?
                        .get(&format!("{DISK}.{name}"))?
                        .as_str()
                })
        };
        let watermark = |name: &str| {
            let headroom = setting(&format!("watermark.{name}.max_headroom"));
            Some(Watermark::new(
                setting(&format!("watermark.{name}"))?,
                headroom,
            ))
        };
        if setting("threshold_enabled") == Some("false") {
            return Ok(None);
        }
        Ok(watermark("low")
            .zip(watermark("flood_stage"))
            .map(|(low, flood_stage)| Watermarks { low, flood_stage }))
    }

    /// The bytes that indices take on all disks. Those that do not exist take none.
    pub async fn store_bytes(&self, names: &[String]) -> Result<u64, Error> {
        let what = "asking Elasticsearch how large the indices are";
        let path = format!(
            "/{}/_stats/store?ignore_unavailable=true&filter_path=_all.total.store.size_in_bytes",
            names.join(",")
        );
        let answer = self.request(Method::Get, &path, None, what).await?;
        let body: Value = answer.read(what)?;
        Ok(body["_all"]["total"]["store"]["size_in_bytes"]
            .as_u64()
            .unwrap_or(0))
    }

    /// The blocks that are set on the indices that a name leads to: `write`, `read_only_allow_delete`.
    pub async fn blocks(&self, name: &str) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(default)]
            settings: BTreeMap<String, Value>,
        }
        let what = format!("asking Elasticsearch whether {name} is blocked");
        let path = format!("/{name}/_settings/index.blocks.*?flat_settings=true");
        let answer = self.request(Method::Get, &path, None, &what).await?;
        let indices: BTreeMap<String, Index> = answer.read(&what)?;
        let settings = indices.into_values().flat_map(|index| index.settings);
        Ok(settings
            .filter(|(_, value)| value == "true" || value == &Value::Bool(true))
            .filter_map(|(name, _)| name.strip_prefix("index.blocks.").map(str::to_owned))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_are_shares_ratios_or_amounts() {
        const GB: u64 = 1 << 30;
        let free = |text: &str, headroom: Option<&str>| {
            Watermark::new(text, headroom).free_bytes(1000 * GB)
        };
        assert_eq!(free("90%", None), Some(100 * GB));
        assert_eq!(free("90%", Some("-1")), Some(100 * GB));
        assert_eq!(free("90%", Some("20GB")), Some(20 * GB));
        assert_eq!(free("0.75", None), Some(250 * GB));
        assert_eq!(free("500mb", None), Some(500 << 20));
        assert_eq!(free("nonsense", None), None);
    }
}
