//! Servers that take encrypted connections only, and users that may do what their command needs.
//! (`script/stack up --secure`)

use sqlx::{Connection as _, PgConnection};

use crate::support::{Event, RECORDSET, World};

#[tokio::test]
async fn a_day_is_applied_verified_and_told_over_encrypted_connections_with_few_rights() {
    let world = World::secure().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    for (role, command) in [
        ("daybook_project", &["apply", "--day", "2020-02-16"][..]),
        ("daybook_rebuild", &["rebuild"]),
        ("daybook_verify", &["verify"]),
        ("daybook_status", &["status"]),
    ] {
        let url = world.servers.elasticsearch_url_of(role);
        world
            .run_until_answered(&[("DAYBOOK_ELASTICSEARCH_URL", &url)], command)
            .await
            .assert_exit(0);
    }
    assert_eq!(
        world
            .value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .await,
        "true"
    );
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn the_servers_refuse_what_is_not_encrypted_and_whoever_has_no_role() {
    let world = World::secure().await;
    let plain = world.ledger_url.replace("verify-full", "disable");
    let refused = PgConnection::connect(&plain).await.unwrap_err().to_string();
    assert!(refused.contains("no encryption"), "{refused}");
    let plain = world.elasticsearch_url.replace("https:", "http:");
    world
        .servers
        .http_client()
        .get(&plain)
        .send()
        .await
        .unwrap_err();
    let nobody = world.servers.elasticsearch_url_of("daybook_nobody");
    let documents = format!("{nobody}{}/_search", world.prefix);
    let answer = world
        .servers
        .http_client()
        .get(&documents)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    world.end().await;
}
