//! A source in another encoding than UTF-8: what cannot be converted is rejected, event by event.

use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::world::{connect, with_database};
use crate::support::{Event, RECORDSET, World};

const DAY: &str = "2020-02-16";

/// A source in a database of its own and in another encoding.
struct Source {
    database: String,
    url: String,
}

impl Source {
    async fn in_encoding(world: &World, encoding: &str) -> Self {
        let database = format!("{}_{}", world.database, encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {database} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        );
        world.servers.execute(&create).await;
        let url = with_database(&world.ledger_url, &database);
        let source = Self { database, url };
        source
            .execute(
                &include_str!("../../example-objects/source-tables.sql").replace("jsonb", "json"),
            )
            .await;
        source
    }

    async fn execute(&self, sql: &str) {
        let mut connection = connect(&self.url).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .expect("run the test's SQL");
        connection.close().await.expect("close");
    }

    /// Logs an event, each `~` in its texts one byte that is not UTF-8.
    async fn log(&self, event: &Event) {
        self.execute(&with_bad_bytes(&event.insert())).await;
    }

    async fn end(self, world: &World) {
        world
            .servers
            .execute(&format!("DROP DATABASE {} WITH (FORCE)", self.database))
            .await;
    }
}

/// The statement, run from bytes that no client could send as text.
fn with_bad_bytes(statement: &str) -> String {
    with_bytes(statement, "ff")
}

/// The same with other bytes in place of each `~`.
fn with_bytes(statement: &str, bad: &str) -> String {
    let hex = |byte| {
        if byte == b'~' {
            bad.to_owned()
        } else {
            format!("{byte:02x}")
        }
    };
    let hex = statement.bytes().map(hex).collect::<Vec<_>>().concat();
    format!("DO $$ BEGIN EXECUTE convert_from('\\x{hex}', getdatabaseencoding()); END $$")
}

#[tokio::test]
async fn an_event_that_is_not_utf8_is_rejected_and_kept_with_its_bytes_escaped_and_its_day_is_applied()
 {
    let world = World::new().await;
    let source = Source::in_encoding(&world, "SQL_ASCII").await;
    source
        .execute(&with_bad_bytes("INSERT INTO queries VALUES (7, 'ha~sh')"))
        .await;
    let geocode = |text: &str| Some(text.to_owned());
    let events = [
        Event::view(1, DAY, "réc", RECORDSET),
        Event::view(2, DAY, "re~c", RECORDSET),
        Event {
            ip_geocode: geocode(r#"{"city": "S~o"}"#),
            ..Event::search(3, DAY, RECORDSET, 5)
        },
        Event {
            stat_type: Some("vi~ew".to_owned()),
            ..Event::view(4, DAY, "rec", RECORDSET)
        },
        Event {
            query_id: Some(7),
            ..Event::search(5, DAY, RECORDSET, 5)
        },
        // The query of a view is not counted, and an unknown record type is ignored.
        Event {
            query_id: Some(7),
            ..Event::view(6, DAY, "other", RECORDSET)
        },
        Event {
            record_type: Some("rec~ords".to_owned()),
            ..Event::view(7, DAY, "re~c", RECORDSET)
        },
        // One reason is enough.
        Event {
            ip_geocode: geocode(r#"{"city": "S~o"}"#),
            ..Event::new(8, DAY, "view", &serde_json::json!([]))
        },
    ];
    for event in &events {
        source.log(event).await;
    }
    let settings = [("DAYBOOK_SOURCE_URL", source.url.as_str())];
    world
        .run_with(&settings, &["apply", "--day", DAY])
        .await
        .assert_exit(0);

    assert_eq!(
        world.accounts().await,
        "8 events: 2 counted, 1 ignored, 5 rejected"
    );
    let rejected =
        "SELECT string_agg(concat_ws(' ', source_id, reason, message), E'\\n' ORDER BY source_id)
                    FROM daybook.rejected_event WHERE reason = 'not_utf8'";
    let said = [
        r#"2 not_utf8 payload is not UTF-8: byte 4 is 0xff: it starts '{\"re\xffc\":\"00038086-3303-4b89-b2d6-1b84e7598f0e\"}'"#,
        r#"3 not_utf8 ip_geocode is not UTF-8: byte 11 is 0xff: it starts '{\"city\": \"S\xffo\"}'"#,
        r"4 not_utf8 type is not UTF-8: byte 2 is 0xff: it starts 'vi\xffew'",
        r"5 not_utf8 query_hash is not UTF-8: byte 2 is 0xff: it starts 'ha\xffsh'",
        r#"8 not_utf8 ip_geocode is not UTF-8: byte 11 is 0xff: it starts '{\"city\": \"S\xffo\"}'"#,
    ];
    assert_eq!(world.value(rejected).await, said.join("\n"));
    for (id, path, kept) in [
        (
            2,
            "payload",
            r#"{"re\\xffc":"00038086-3303-4b89-b2d6-1b84e7598f0e"}"#,
        ),
        (4, "type", r"vi\xffew"),
        (5, "query_hash", r"ha\xffsh"),
    ] {
        let event =
            format!("SELECT event->>'{path}' FROM daybook.rejected_event WHERE source_id = {id}");
        assert_eq!(world.value(&event).await, kept);
    }
    world.assert_sound().await;
    world.run_with(&settings, &["verify"]).await.assert_exit(0);
    let again = world
        .run_with(&settings, &["apply", "--day", DAY])
        .await
        .assert_exit(0);
    again.tells(&["already applied as entry 1"]);
    source.end(&world).await;
    world.end().await;
}

/// A database's encoding, text in it, and bytes that it takes although UTF-8 has no counterpart, if there are any.
struct Encoding {
    name: &'static str,
    text: &'static str,
    bad: Option<&'static str>,
}

const ENCODINGS: [Encoding; 7] = [
    Encoding {
        name: "WIN1252",
        text: "réc “5 €”",
        bad: Some("81"),
    },
    Encoding {
        name: "LATIN1",
        text: "réc ½",
        bad: None,
    },
    Encoding {
        name: "ISO_8859_7",
        text: "Αθήνα",
        bad: Some("ff"),
    },
    Encoding {
        name: "WIN1251",
        text: "Москва",
        bad: Some("98"),
    },
    Encoding {
        name: "EUC_JP",
        text: "東京 記録ｱ",
        bad: Some("a9a1"),
    },
    Encoding {
        name: "EUC_KR",
        text: "서울 기록",
        bad: Some("c9a1"),
    },
    Encoding {
        name: "EUC_TW",
        text: "臺北",
        bad: Some("8ea3fefe"),
    },
];

#[tokio::test]
async fn text_in_any_encoding_is_counted_and_an_event_that_cannot_be_converted_is_rejected() {
    futures_util::future::join_all(ENCODINGS.iter().map(check_encoding)).await;
}

async fn check_encoding(Encoding { name, text, bad }: &Encoding) {
    let world = World::new().await;
    let source = Source::in_encoding(&world, name).await;
    source
        .execute(&format!("INSERT INTO queries VALUES (7, '{text}')"))
        .await;
    let city = format!(r#"{{"city": "{text}"}}"#);
    let good = [
        Event {
            ip_geocode: Some(city.clone()),
            ..Event::view(1, DAY, text, RECORDSET)
        },
        Event {
            query_id: Some(7),
            ip_geocode: Some(city.clone()),
            ..Event::search(2, DAY, RECORDSET, 5)
        },
    ];
    for event in &good {
        source.execute(&event.insert()).await;
    }
    if let Some(bad) = bad {
        source
            .execute(&with_bytes(
                &Event::view(3, DAY, "a~b", RECORDSET).insert(),
                bad,
            ))
            .await;
        let city = Some(r#"{"city": "S~o"}"#.to_owned());
        let event = Event {
            ip_geocode: city,
            ..Event::search(4, DAY, RECORDSET, 5)
        };
        source.execute(&with_bytes(&event.insert(), bad)).await;
    }
    let settings = [("DAYBOOK_SOURCE_URL", source.url.as_str())];
    world
        .run_with(&settings, &["apply", "--day", DAY])
        .await
        .assert_exit(0);

    let rejected = if bad.is_some() { 2 } else { 0 };
    let accounts = format!(
        "{} events: 2 counted, 0 ignored, {rejected} rejected",
        2 + rejected
    );
    assert_eq!(world.accounts().await, accounts, "{name}");
    let terms =
        "SELECT string_agg(DISTINCT concat_ws(' ', dimension, term), E'\\n' ORDER BY concat_ws(' ', dimension, term))
                 FROM daybook.interaction_term_delta WHERE term <> ''";
    let counted = format!("geocodes {{\"city\":\"{text}\"}}\nitems {text}\nqueries {text}");
    assert_eq!(world.value(terms).await, counted, "{name}");
    if let Some(bad) = bad {
        let (first, escaped) = (&bad[..2], escaped(bad, r"\x"));
        let said = [
            format!(
                r#"3 payload cannot be converted from {name} to UTF-8: byte 3 is 0x{first}: it starts '{{\"a{escaped}b\":\"{RECORDSET}\"}}'"#
            ),
            format!(
                r#"4 ip_geocode cannot be converted from {name} to UTF-8: byte 11 is 0x{first}: it starts '{{\"city\": \"S{escaped}o\"}}'"#
            ),
        ];
        let rejected =
            "SELECT string_agg(concat_ws(' ', source_id, message), E'\\n' ORDER BY source_id)
                        FROM daybook.rejected_event WHERE reason = 'not_utf8'";
        assert_eq!(world.value(rejected).await, said.join("\n"), "{name}");
        let kept = "SELECT event->>'ip_geocode' FROM daybook.rejected_event WHERE source_id = 4";
        assert_eq!(
            world.value(kept).await,
            format!(r#"{{"city": "S{}o"}}"#, self::escaped(bad, r"\\x")),
            "{name}"
        );
    }
    world.assert_sound().await;
    world.run_with(&settings, &["verify"]).await.assert_exit(0);
    source.end(&world).await;
    world.end().await;
}

/// Hexadecimal bytes, each behind a mark.
fn escaped(hex: &str, mark: &str) -> String {
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map(|byte| std::str::from_utf8(byte).expect("digits"));
    bytes.flat_map(|byte| [mark, byte]).collect()
}
