//! Elasticsearch as a cluster of three nodes, of which one dies: nothing is lost, nothing is counted twice, and commands end
//! well as long as each shard has a copy. A shard without one is named, and its index rebuilt.
//!
//! Runs with `--ignored`, where `script/stack up --nodes 3` has started the nodes.

use std::time::Duration;

use daybook::clock::Stopwatch;
use reqwest::Method;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::program::Ended;
use crate::support::{Contents, Servers, World};

/// The tests share the nodes.
static NODES: Mutex<()> = Mutex::const_new(());

/// How long a node may take to start, or the cluster to recover.
const LIMIT: Duration = Duration::from_secs(120);

/// Days of the same events, so that a command takes long enough to lose a node in the middle.
const DAYS: [&str; 4] = ["2020-02-16", "2020-02-17", "2020-02-18", "2020-02-19"];

/// All three nodes. When it ends, they are up again.
struct Nodes {
    _alone: MutexGuard<'static, ()>,
    servers: Servers,
}

impl Nodes {
    async fn all() -> Self {
        let servers = Servers::nodes().expect("eval \"$(script/stack env --nodes 3)\" first");
        let nodes = Self {
            _alone: NODES.lock().await,
            servers,
        };
        nodes.start().await;
        nodes
    }

    /// Starts those that do not run, and waits until there are three.
    async fn start(&self) {
        let up = std::env::var("DAYBOOK_NODES_UP").expect("script/stack env --nodes 3 sets it");
        let started = Command::new("bash").args(["-c", &up]).output().await;
        let started: Ended = started.expect("run script/stack").into();
        started.assert_exit(0);
        let world = World::on(self.servers.clone()).await;
        until(&world, "_cluster/health", |health| {
            health["number_of_nodes"] == 3
        })
        .await;
        world.end().await;
    }

    /// A world with the days' events.
    async fn world(&self) -> World {
        let world = World::with_the_real_day_on(self.servers.clone()).await;
        for (number, day) in DAYS.iter().enumerate().skip(1) {
            let copies = format!(
                "INSERT INTO stats SELECT id + {number}000000000, '{day} 12:00Z', type, record_type, payload, ip_geocode,
                        query_id FROM stats WHERE date < '{}Z'",
                DAYS[1]
            );
            world.execute(&copies).await;
        }
        world
    }

    /// Kills a node, and waits until the others have noticed.
    async fn kill(&self, world: &World, name: &str) {
        let nodes = world.elastic(Method::GET, "_nodes/process", None).await;
        let nodes = nodes["nodes"].as_object().expect("nodes").values();
        let pid = nodes
            .filter(|node| node["name"] == name)
            .map(|node| node["process"]["id"].to_string())
            .next()
            .expect("the node");
        let killed = Command::new("kill").args(["-KILL", &pid]).status().await;
        assert!(killed.expect("run kill").success());
        until(world, "_cluster/health", |health| {
            health["number_of_nodes"] == 2
        })
        .await;
    }
}

/// Waits until an answer is as wanted.
async fn until(world: &World, path: &str, is_so: impl Fn(&Value) -> bool) {
    let waiting = Stopwatch::start();
    loop {
        let answer = world.elastic(Method::GET, path, None).await;
        if is_so(&answer) {
            return;
        }
        assert!(waiting.elapsed() < LIMIT, "{path} still answers {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts a command, and waits until it has written documents to an index.
async fn writing_to(world: &World, arguments: &[&str], index: &str) -> Child {
    let child = world.command(arguments).spawn().expect("run the program");
    let path = format!("{}{index}/_stats/indexing", world.prefix);
    until(world, &path, |stats| {
        let written = &stats["_all"]["primaries"]["indexing"]["index_total"];
        written.as_i64().unwrap_or(0) > 0
    })
    .await;
    child
}

/// The node with the primary shard of an index.
async fn node_of(world: &World, index: &str) -> String {
    let path = format!("_cat/shards/{}{index}?format=json", world.prefix);
    let shards = world.elastic(Method::GET, &path, None).await;
    let mut shards = shards.as_array().expect("shards").iter();
    let primary = shards.find(|shard| shard["prirep"] == "p").expect("one");
    primary["node"].as_str().expect("a node").to_owned()
}

/// The name of a node without a copy of an index.
async fn node_without(world: &World, index: &str) -> String {
    let path = format!("_cat/shards/{}{index}?format=json", world.prefix);
    let shards = world.elastic(Method::GET, &path, None).await;
    let shards = shards.as_array().expect("shards");
    let has = |node: &String| shards.iter().any(|shard| shard["node"] == **node);
    let mut names = (1..=3).map(|number| format!("node-{number}"));
    names.find(|node| !has(node)).expect("a node")
}

async fn assert_clean(world: &World) {
    let verify = ["verify", "--ledger", "--projections"];
    world.run(&verify).await.assert_exit(0);
}

/// Waits until every shard of the world has all its copies.
async fn until_green(world: &World) {
    let path = format!("_cluster/health/{}*", world.prefix);
    until(world, &path, |health| health["status"] == "green").await;
}

async fn end_of(child: Child, still_running: bool) -> Ended {
    assert!(
        still_running,
        "the command was over before the node was killed"
    );
    child.wait_with_output().await.expect("wait").into()
}

#[tokio::test]
#[ignore = "wants three nodes: script/stack up --nodes 3"]
async fn an_apply_whose_node_dies_ends_well_whether_the_node_comes_back_or_not() {
    let nodes = Nodes::all().await;
    let (undisturbed, world) = (nodes.world().await, nodes.world().await);
    undisturbed.run(&["apply", "--all"]).await.assert_exit(0);
    let expected = Contents::of(&undisturbed).await;

    let mut applying = writing_to(&world, &["apply", "--all"], "-g000001").await;
    let node = node_of(&world, "-g000001").await;
    let runs = applying.try_wait().unwrap().is_none();
    nodes.kill(&world, &node).await;
    end_of(applying, runs).await.assert_exit(0);
    // While the node stays away.
    assert_clean(&world).await;
    Contents::of(&world)
        .await
        .assert_same_as(&expected, "with two nodes");
    world
        .run(&["rebuild", "--only", "totals"])
        .await
        .assert_exit(0);
    assert_clean(&world).await;
    // It comes back with what it had.
    nodes.start().await;
    until_green(&world).await;
    assert_clean(&world).await;
    Contents::of(&world)
        .await
        .assert_same_as(&expected, "with three nodes again");
    undisturbed.end().await;
    world.end().await;
}

#[tokio::test]
#[ignore = "wants three nodes: script/stack up --nodes 3"]
async fn a_rebuild_goes_on_without_a_node_and_waits_for_the_one_that_has_the_new_index() {
    let nodes = Nodes::all().await;
    let world = nodes.world().await;
    world.run(&["apply", "--all"]).await.assert_exit(0);
    until_green(&world).await;
    let expected = Contents::of(&world).await;
    let rebuild = ["rebuild", "--only", "stats"];

    // A node with no more than a copy of what serves.
    let mut rebuilding = writing_to(&world, &rebuild, "-g000002").await;
    let node = node_without(&world, "-g000002").await;
    let runs = rebuilding.try_wait().unwrap().is_none();
    nodes.kill(&world, &node).await;
    end_of(rebuilding, runs).await.assert_exit(0);
    assert_clean(&world).await;
    nodes.start().await;
    until_green(&world).await;

    // A new index has no replicas until it is complete.
    let mut rebuilding = writing_to(&world, &rebuild, "-g000003").await;
    let node = node_of(&world, "-g000003").await;
    let runs = rebuilding.try_wait().unwrap().is_none();
    nodes.kill(&world, &node).await;
    nodes.start().await;
    end_of(rebuilding, runs).await.assert_exit(0);
    until_green(&world).await;
    assert_clean(&world).await;
    Contents::of(&world)
        .await
        .assert_same_as(&expected, "after two rebuilds");
    world.end().await;
}

#[tokio::test]
#[ignore = "wants three nodes: script/stack up --nodes 3"]
async fn a_verification_goes_on_with_the_copies_of_a_node_that_dies() {
    let nodes = Nodes::all().await;
    let world = nodes.world().await;
    world.run(&["apply", "--all"]).await.assert_exit(0);
    until_green(&world).await;
    let verify = ["verify", "--projections"];
    let mut verifying = world.command(&verify).spawn().expect("run the program");
    let looked_up = format!("{}-g000001/_stats/search", world.prefix);
    until(&world, &looked_up, |stats| {
        let searches = &stats["_all"]["total"]["search"]["query_total"];
        searches.as_i64().unwrap_or(0) > 0
    })
    .await;
    let node = node_of(&world, "-g000001").await;
    let runs = verifying.try_wait().unwrap().is_none();
    nodes.kill(&world, &node).await;
    end_of(verifying, runs).await.assert_exit(0);
    nodes.start().await;
    world.end().await;
}

#[tokio::test]
#[ignore = "wants three nodes: script/stack up --nodes 3"]
async fn a_shard_that_is_lost_for_good_is_named_and_its_index_rebuilt_from_the_ledger() {
    let nodes = Nodes::all().await;
    let world = nodes.world().await;
    let alone = [("DAYBOOK_REPLICAS", "0")];
    let apply = ["apply", "--all"];
    world.run_with(&alone, &apply).await.assert_exit(0);
    let expected = Contents::of(&world).await;
    let node = node_of(&world, "-g000001").await;
    nodes.kill(&world, &node).await;
    let ended = world.run(&["doctor", "--json"]).await.assert_exit(1);
    let checks = ended.messages_of("check");
    let health = checks
        .iter()
        .find(|check| check["check"] == "health")
        .expect("a check of the health");
    let named = format!("shard 0 of {}-g000001", world.prefix);
    assert!(
        health["message"].as_str().unwrap().contains(&named),
        "{health}"
    );
    // What the hint says.
    let hint = health["hint"].as_str().unwrap();
    let command = hint.rsplit('`').nth(1).expect("a command");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    world.run(&arguments).await.assert_exit(0);
    assert_clean(&world).await;
    Contents::of(&world)
        .await
        .assert_same_as(&expected, "after the rebuild");
    // The next day is published, too.
    let copies = "INSERT INTO stats SELECT id + 9000000000, '2020-02-20 12:00Z', type, record_type, payload, ip_geocode, query_id
                  FROM stats WHERE date < '2020-02-17Z'";
    world.execute(copies).await;
    world
        .run(&["apply", "--day", "2020-02-20"])
        .await
        .assert_exit(0);
    assert_clean(&world).await;
    nodes.start().await;
    world.end().await;
}
