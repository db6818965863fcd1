//! A database and an index prefix for each test.

use std::path::PathBuf;
use std::str::FromStr as _;

use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

use super::program::{self, Ended};
use super::{Event, Servers};

/// The environment of a test. [`World::end`] removes its database and indices; a failed test leaves them for
/// inspection.
pub struct World {
    pub ledger_url: String,
    pub elasticsearch_url: String,
    pub prefix: String,
    pub database: String,
    pub servers: Servers,
    /// Where runs write metrics, if they do.
    pub metrics: Option<PathBuf>,
    /// Whether runs store each term of a cell in a part of its own.
    pub divides: bool,
    /// Whether runs have so little memory for counting that days of some megabytes exceed it.
    little_memory: bool,
    /// What `stats-terms` has; without it, what it has as installed.
    terms: Option<&'static str>,
    http: reqwest::Client,
    /// A connection for questions, once one was asked: to connect costs a server more than to answer most of them.
    asking: Mutex<Option<PgConnection>>,
}

/// Databases to clone from; created once for each run of the tests, on each Postgres.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static SECURE_TEMPLATE: OnceCell<String> = OnceCell::const_new();
static REAL_DAY: OnceCell<String> = OnceCell::const_new();

/// The widest setting of `stats-terms`.
pub const EVERY_TERM: &str = "countries,geocodes,items,queries";

impl World {
    /// With a migrated ledger in UTC and empty source tables.
    pub async fn new() -> Self {
        Self::migrated(&TEMPLATE, Servers::plain()).await
    }

    /// The same with the published day as its source, and with the terms as installed: every term of that day would be
    /// most of what a test writes and reads.
    pub async fn with_the_real_day() -> Self {
        let template = REAL_DAY.get_or_init(|| async {
            let world = Self::new().await;
            world.load_real_day().await;
            world.database
        });
        let template = template.await;
        Self::clone_of(Some(template))
            .await
            .with_terms_as_installed()
    }

    /// The same on a cluster of three nodes.
    pub async fn with_the_real_day_on(nodes: Servers) -> Self {
        let world = Self::on(nodes).await;
        world.load_real_day().await;
        world.with_terms_as_installed()
    }

    fn with_terms_as_installed(mut self) -> Self {
        self.terms = None;
        self
    }

    /// With a migrated ledger and empty source tables, on a cluster of three nodes.
    pub async fn on(nodes: Servers) -> Self {
        Self::migrated(&TEMPLATE, nodes).await
    }

    /// The same on the servers that accept only encrypted connections, as a superuser of both.
    pub async fn secure() -> Self {
        Self::migrated(&SECURE_TEMPLATE, Servers::secure()).await
    }

    async fn migrated(template: &OnceCell<String>, servers: Servers) -> Self {
        let template = template.get_or_init(|| async {
            let world = Self::clone_on(servers.clone(), None).await;
            world.run(&["migrate"]).await.assert_exit(0);
            world.create_source().await;
            world.database
        });
        let template = template.await;
        Self::clone_on(servers, Some(template)).await
    }

    /// Another world with the same database, and no indices.
    pub async fn copy(&self) -> Self {
        // A database that somebody is connected to cannot be cloned.
        self.stop_asking().await;
        Self::clone_on(self.servers.clone(), Some(&self.database)).await
    }

    /// With an empty database.
    pub async fn unmigrated() -> Self {
        Self::clone_of(None).await
    }

    pub(super) async fn clone_of(template: Option<&str>) -> Self {
        Self::clone_on(Servers::plain(), template).await
    }

    async fn clone_on(servers: Servers, template: Option<&str>) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let database = format!("daybook_test_{}_{}", std::process::id(), &id[..12]);
        let template = template.unwrap_or("template0");
        let mut server = connect(&servers.postgres_url).await;
        // Cloning needs exclusive access to the template, so tests that start at the same moment queue up.
        sqlx::raw_sql("SELECT pg_advisory_lock(1)")
            .execute(&mut server)
            .await
            .expect("lock");
        let create = format!("CREATE DATABASE {database} TEMPLATE {template} STRATEGY file_copy");
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut server)
            .await
            .expect("create the test's database");
        server.close().await.expect("close");
        Self {
            ledger_url: with_database(&servers.postgres_url, &database),
            elasticsearch_url: servers.elasticsearch_url.clone(),
            prefix: format!("t{}", &id[..12]),
            database,
            http: servers.http_client(),
            servers,
            metrics: None,
            divides: false,
            little_memory: false,
            terms: Some(EVERY_TERM),
            asking: Mutex::default(),
        }
    }

    /// The same world, whose runs write metrics.
    pub fn with_metrics(mut self) -> Self {
        self.metrics = Some(metrics_of(&self.prefix));
        self
    }

    /// The same world, whose runs write metrics where another one's do.
    pub fn with_metrics_of(mut self, other: &Self) -> Self {
        self.metrics.clone_from(&other.metrics);
        self
    }

    /// The same world, whose runs store each term of a cell in a part of its own: cells as small as those of tests would
    /// have one part.
    pub fn dividing(mut self) -> Self {
        self.divides = true;
        self
    }

    /// The same world, whose runs have so little memory for counting that a day of some megabytes exceeds it.
    pub fn with_little_memory(mut self) -> Self {
        self.little_memory = true;
        self
    }

    async fn stop_asking(&self) {
        if let Some(connection) = self.asking.lock().await.take() {
            // Whether it is still there does not matter.
            let _ = connection.close().await;
        }
    }

    /// Drops the database and the indices.
    pub async fn end(self) {
        // By the time that the indices are gone, the server has noticed; else it would wait for the session to end.
        self.stop_asking().await;
        self.elastic(
            reqwest::Method::DELETE,
            &format!("{}*?expand_wildcards=all", self.prefix),
            None,
        )
        .await;
        self.servers
            .execute(&format!("DROP DATABASE {} WITH (FORCE)", self.database))
            .await;
        // Those of another world are still needed.
        let own = metrics_of(&self.prefix);
        if self.metrics.is_some_and(|metrics| metrics == own) {
            let _ = std::fs::remove_file(own);
        }
    }

    /// The settings that point the program at this world.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [
            ("DAYBOOK_LEDGER_URL", &self.ledger_url),
            ("DAYBOOK_ELASTICSEARCH_URL", &self.elasticsearch_url),
            ("DAYBOOK_INDEX_PREFIX", &self.prefix),
        ]
    }

    /// The program, not yet started. Its `stats-terms` has every term, so that tests meet all of them, unless the world
    /// has the published day.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = program::command(&self.settings(), arguments);
        command.envs(self.terms.map(|terms| ("DAYBOOK_TERMS", terms)));
        command.envs(
            self.metrics
                .as_ref()
                .map(|file| ("DAYBOOK_METRICS_FILE", file)),
        );
        if self.divides {
            command.env("DAYBOOK_PART_BYTES", "0");
        }
        if self.little_memory {
            command.envs([program::LITTLE_MEMORY]);
        }
        command.envs(
            self.servers
                .authority
                .as_ref()
                .map(|file| ("DAYBOOK_ELASTICSEARCH_CA", file)),
        );
        command
    }

    /// Runs the program in this world.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments)
            .output()
            .await
            .expect("run the program")
            .into()
    }

    /// Runs the program with other settings in addition.
    pub async fn run_with(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
        self.command(arguments)
            .envs(settings.iter().copied())
            .output()
            .await
            .expect("run the program")
            .into()
    }

    /// Runs a command that gives a person an answer within seconds, again while the cluster takes longer: beside many other
    /// tests it may.
    pub async fn run_until_answered(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
        const SLOW: [&str; 4] = [
            "no connection within",
            "no answer within",
            "was not complete within",
            "nothing came for",
        ];
        for _ in 0..20 {
            let ended = self.run_with(settings, arguments).await;
            if !SLOW
                .iter()
                .any(|slow| ended.stdout.contains(slow) || ended.stderr.contains(slow))
            {
                return ended;
            }
        }
        panic!("{arguments:?}: the cluster does not answer in time");
    }

    /// Runs the program until the lock is free: the server needs a moment to notice that its holder has died.
    pub async fn run_when_unlocked(&self, arguments: &[&str]) -> Ended {
        loop {
            let ended = self.run(arguments).await;
            if ended.code != Some(11) {
                return ended;
            }
        }
    }

    /// A connection to the world's database, as its owner.
    pub async fn sql(&self) -> PgConnection {
        connect(&self.ledger_url).await
    }

    /// Runs SQL statements.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql)
            .execute(&mut self.sql().await)
            .await
            .expect("run the test's SQL");
    }

    /// One value from the database as text; the empty string for NULL.
    pub async fn value(&self, sql: &str) -> String {
        self.column(&format!("SELECT ({sql})::text"))
            .await
            .pop()
            .expect("a row")
    }

    /// The texts of a query that returns one column; the empty string for NULL.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let mut asking = self.asking.lock().await;
        if let Some(connection) = asking.as_mut()
            && let Ok(texts) = column(connection, sql).await
        {
            return texts;
        }
        // The first question, or a test has stopped the server or ended its connections.
        let connection = asking.insert(self.sql().await);
        column(connection, sql).await.expect("query")
    }

    /// Creates the source tables of example-objects/source-tables.sql.
    pub async fn create_source(&self) {
        self.create_source_of("timestamptz", "jsonb").await;
    }

    /// Creates the source tables with these types for `date`, and for `payload` and `ip_geocode`.
    pub async fn create_source_of(&self, date: &str, json: &str) {
        let tables = include_str!("../../../example-objects/source-tables.sql");
        let tables = tables.replace("timestamptz", date).replace("jsonb", json);
        // A login named like the ledger's schema would create them there.
        self.execute(&format!("SET search_path = public; {tables}"))
            .await;
    }

    /// Inserts events into the source.
    pub async fn log(&self, events: &[Event]) {
        let mut connection = self.sql().await;
        let mut transaction = connection.begin().await.expect("begin");
        for event in events {
            sqlx::raw_sql(AssertSqlSafe(event.insert()))
                .execute(&mut *transaction)
                .await
                .expect("insert an event");
        }
        transaction.commit().await.expect("commit");
    }

    /// Inserts a query into the source.
    pub async fn log_query(&self, id: i64, hash: &str) {
        self.execute(&format!("INSERT INTO queries VALUES ({id}, '{hash}')"))
            .await;
    }

    /// Loads the published day into the source.
    pub async fn load_real_day(&self) {
        for (table, file) in [
            ("queries", "queries.ndjson.gz"),
            ("stats", "stats.ndjson.gz"),
        ] {
            let rows = super::event::example_lines(file).join(",");
            let insert = format!(
                "INSERT INTO {table} SELECT r.* FROM json_populate_recordset(NULL::{table}, $1::json) r"
            );
            let mut connection = self.sql().await;
            let done = sqlx::query(AssertSqlSafe(insert))
                .bind(format!("[{rows}]"))
                .execute(&mut connection)
                .await;
            done.expect("load the real day");
        }
    }

    /// Sends a request to Elasticsearch. Returns the body of its response, or null if it is not JSON.
    pub async fn elastic(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        serde_json::from_str(
            &self
                .elastic_text(method, path, body.as_ref().map(Value::to_string))
                .await,
        )
        .unwrap_or(Value::Null)
    }

    /// Sends a request to Elasticsearch, of several nodes to the first one that is there. Returns the body of its response
    /// unchanged.
    pub async fn elastic_text(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
    ) -> String {
        let mut refused = None;
        for node in self.elasticsearch_url.split(',') {
            let url = format!("{}/{path}", node.trim_end_matches('/'));
            let mut request = self.http.request(method.clone(), url);
            if let Some(body) = &body {
                request = request
                    .header("content-type", "application/json")
                    .body(body.clone());
            }
            match request.send().await {
                Ok(answer) => return answer.text().await.expect("a body"),
                Err(error) => refused = Some(error),
            }
        }
        panic!("Elasticsearch does not answer: {refused:?}")
    }

    /// All documents behind an alias of this world (`""`, `"-totals"`), sorted by id: id, version and source.
    pub async fn documents(&self, suffix: &str) -> Vec<(String, i64, Value)> {
        let mut documents = Vec::new();
        let mut after: Option<Value> = None;
        loop {
            let mut body = serde_json::json!({ "size": 1000, "version": true, "sort": ["_doc"] });
            // A scroll reads one snapshot of the index.
            let page = match &after {
                None => {
                    let path = format!("{}{suffix}/_search?scroll=1m", self.prefix);
                    self.elastic(reqwest::Method::POST, &path, Some(body)).await
                }
                Some(scroll) => {
                    body = serde_json::json!({ "scroll": "1m", "scroll_id": scroll });
                    self.elastic(reqwest::Method::POST, "_search/scroll", Some(body))
                        .await
                }
            };
            let hits = page["hits"]["hits"]
                .as_array()
                .unwrap_or_else(|| panic!("no hits: {page}"));
            if hits.is_empty() {
                let body = serde_json::json!({ "scroll_id": page["_scroll_id"] });
                self.elastic(reqwest::Method::DELETE, "_search/scroll", Some(body))
                    .await;
                documents.sort_by(|a: &(String, i64, Value), b| a.0.cmp(&b.0));
                return documents;
            }
            for hit in hits {
                let id = hit["_id"].as_str().expect("an id").to_owned();
                documents.push((
                    id,
                    hit["_version"].as_i64().expect("a version"),
                    hit["_source"].clone(),
                ));
            }
            after = Some(page["_scroll_id"].clone());
        }
    }
}

async fn column(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let texts: Vec<Option<String>> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .persistent(false)
        .fetch_all(connection)
        .await?;
    Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
}

fn metrics_of(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{prefix}.prom"))
}

pub fn with_database(url: &str, database: &str) -> String {
    let mut url: url::Url = url.parse().expect("a URL");
    url.set_path(database);
    url.into()
}

/// A connection to the database that a URL names.
pub async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url)
        .expect("a URL")
        .disable_statement_logging();
    options.connect().await.expect("connect to Postgres")
}
