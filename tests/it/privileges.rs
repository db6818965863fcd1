//! The least privileges in Elasticsearch: whoever has those of a command can do its work, and nothing else.
//! (`script/stack up --secure`, example-objects/elasticsearch-roles.yml)

use serde_json::json;

use crate::support::program::Ended;
use crate::support::{Event, RECORDSET, World};

/// Runs a command as the user that has a role.
async fn run_as(world: &World, role: &str, command: &[&str]) -> Ended {
    let url = world.servers.elasticsearch_url_of(role);
    world
        .run_until_answered(&[("DAYBOOK_ELASTICSEARCH_URL", &url)], command)
        .await
}

async fn assert_forbidden(world: &World, role: &str, command: &[&str], exit: i32) {
    let ended = run_as(world, role, command).await;
    assert_eq!(
        ended.code,
        Some(exit),
        "{role}: {command:?}: {} {}",
        ended.stdout,
        ended.stderr
    );
    ended.says(&["Elasticsearch answered 403"]);
}

/// What a user may do beyond the indices of daybook.
async fn assert_confined(world: &World, role: &str) {
    let client = world.servers.http_client();
    let url = world.servers.elasticsearch_url_of(role);
    // What is not well-formed is refused before anybody asks who sends it.
    for (method, path, body) in [
        (reqwest::Method::PUT, "elsewhere", json!({})),
        (reqwest::Method::PUT, "elsewhere/_doc/1", json!({ "a": 1 })),
        (reqwest::Method::GET, "elsewhere/_search", json!({})),
        (reqwest::Method::DELETE, "elsewhere", json!(null)),
        (
            reqwest::Method::PUT,
            "_cluster/settings",
            json!({ "persistent": { "cluster.max_shards_per_node": 1000 } }),
        ),
        (
            reqwest::Method::PUT,
            "_index_template/elsewhere",
            json!({ "index_patterns": ["elsewhere*"] }),
        ),
    ] {
        let mut request = client.request(method.clone(), format!("{url}{path}"));
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{role}: {method} {path}");
    }
}

#[tokio::test]
async fn each_role_does_the_work_of_its_command_and_nothing_else() {
    let world = World::secure().await;
    let day = |day: &str| format!("2020-02-{day}");
    let events: Vec<Event> = (1..)
        .zip(16..20)
        .map(|(id, at)| Event::search(id, &day(&at.to_string()), RECORDSET, 5))
        .collect();
    world.log(&events).await;
    let apply =
        async |role: &str, at: &str| run_as(&world, role, &["apply", "--day", &day(at)]).await;

    // Before anything is there.
    assert_forbidden(&world, "daybook_status", &["apply", "--day", &day("16")], 3).await;
    assert_forbidden(&world, "daybook_verify", &["project"], 1).await;
    run_as(&world, "daybook_project", &["project"])
        .await
        .assert_exit(0);
    apply("daybook_project", "17").await.assert_exit(0);

    for role in [
        "daybook_project",
        "daybook_rebuild",
        "daybook_verify",
        "daybook_status",
    ] {
        let status = run_as(&world, role, &["status"])
            .await
            .assert_exit(0)
            .tells(&["up to date with entry 2"]);
        assert!(!status.stdout.contains("403"), "{role}: {}", status.stdout);
        assert_confined(&world, role).await;
    }
    run_as(&world, "daybook_rebuild", &["rebuild"])
        .await
        .assert_exit(0);
    run_as(&world, "daybook_rebuild", &["rebuild", "--rollback"])
        .await
        .assert_exit(0);
    run_as(&world, "daybook_verify", &["verify"])
        .await
        .assert_exit(0);

    assert_forbidden(&world, "daybook_status", &["rebuild"], 1).await;
    assert_forbidden(&world, "daybook_verify", &["rebuild"], 1).await;
    assert_forbidden(&world, "daybook_status", &["apply", "--day", &day("18")], 3).await;
    assert_forbidden(&world, "daybook_verify", &["project"], 1).await;
    apply("daybook_project", "19").await.assert_exit(0);

    // A document that differs is found, and not put right.
    let find = format!("{}/_search?filter_path=hits.hits._id", world.prefix);
    let found = world.elastic(reqwest::Method::GET, &find, None).await;
    let id = found["hits"]["hits"][0]["_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{found}"));
    let delete = format!("{}/_doc/{id}?refresh=true", world.prefix);
    world.elastic(reqwest::Method::DELETE, &delete, None).await;
    run_as(&world, "daybook_verify", &["verify", "--projections"])
        .await
        .assert_exit(4);
    assert_forbidden(
        &world,
        "daybook_verify",
        &["verify", "--projections", "--repair"],
        1,
    )
    .await;
    run_as(
        &world,
        "daybook_project",
        &["verify", "--projections", "--repair"],
    )
    .await
    .assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn whoever_may_not_look_is_told_what_is_lacking_and_finds_nothing_wrong() {
    let world = World::secure().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    world
        .run(&["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(0);
    for command in [&["verify", "--projections"][..], &["project"], &["rebuild"]] {
        let ended = run_as(&world, "daybook_nobody", command)
            .await
            .assert_exit(1);
        ended.says(&["Elasticsearch answered 403", "docs/installing.md"]);
    }
    run_as(&world, "daybook_nobody", &["status"])
        .await
        .assert_exit(0)
        .tells(&["answered 403"]);
    world.end().await;
}
