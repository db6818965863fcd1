//! Reports, looked at in a browser: their numbers are the ledger's, nothing on them runs, everybody can use them.

mod browser;

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::browser::{Browser, View};
use crate::support::history::{FIRST_DAY, LAST_DAY, SECOND, THIRD};
use crate::support::{Event, RECORDSET, World};

/// On a screen, a telephone and paper.
const VIEWS: [View; 3] = [
    View {
        width: 1280,
        media: "screen",
        scheme: "light",
    },
    View {
        width: 360,
        media: "screen",
        scheme: "dark",
    },
    View {
        width: 760,
        media: "print",
        scheme: "light",
    },
];

/// Runs when something from outside is not inert.
const ATTACK: &str =
    r#"<script>window.attacked = 1</script><img src=x onerror="window.attacked = 1">"#;

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(world: &World) -> Self {
        let path = std::env::temp_dir().join(format!("daybook-report-{}", world.prefix));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a page and returns its path.
async fn report(world: &World, folder: &Folder, options: &[&str]) -> PathBuf {
    let file = folder.file("page.html");
    let arguments = [&["report", "--output", &file], options].concat();
    world.run(&arguments).await.assert_exit(0);
    PathBuf::from(file)
}

/// The cells of a table after a heading, a line for each row.
fn rows_after(heading: &str) -> String {
    format!(
        "[...[...document.querySelectorAll('h2, h3')].find(h => h.textContent === '{heading}').parentElement.querySelectorAll('table')]
             .find(table => [...document.querySelectorAll('h2, h3')].find(h => h.textContent === '{heading}')
                 .compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING)
             .tBodies[0].innerText.replaceAll('\\t', '|').replaceAll(/\\|\\n/g, '|').trim()"
    )
}

/// The value of a tile.
fn tile(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('dt')].find(dt => dt.textContent === '{name}').parentElement.querySelector('.value').textContent"
    )
}

fn without_commas(text: &Value) -> String {
    text.as_str().unwrap_or_default().replace(',', "")
}

/// A ledger with a gap, a quiet day, corrections and a reversal, whose texts from outside are all hostile.
async fn hostile_history() -> World {
    let world = World::with_history().await;
    let hostile_place =
        serde_json::json!({ "country": ATTACK, "region": "\u{202e}abc", "city": "x".repeat(900) });
    let long = format!("{ATTACK}{}", "é".repeat(400));
    world
        .log(&[
            Event {
                ip_geocode: Some(hostile_place.to_string()),
                ..Event::view(50, "2020-02-16", &long, RECORDSET)
            },
            Event::new(51, "2020-02-16", ATTACK, &serde_json::json!({})),
        ])
        .await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    let reason = format!("{ATTACK}\u{202e}{}", "long ".repeat(2000));
    world
        .run(&["reverse", "3", "--reason", &reason, "--no-project"])
        .await
        .assert_exit(0);
    world
}

#[tokio::test]
async fn the_page_of_the_ledger_says_what_sql_says_and_everybody_can_use_it() {
    let world = hostile_history().await;
    world.run(&["project"]).await.assert_exit(0);
    let folder = Folder::new(&world);
    let names = folder.file("names.csv");
    let name = format!(
        "\"{}\u{202e}{}\"",
        ATTACK.replace('"', "\"\""),
        "n".repeat(10_000)
    );
    std::fs::write(
        &names,
        format!("id,name\n{RECORDSET},{name}\n{SECOND},Second\n"),
    )
    .unwrap();
    let page = report(&world, &folder, &["--names", &names]).await;
    let mut browser = Browser::start().await;
    for view in VIEWS {
        browser.open(&page, view).await;
        assert_eq!(browser.accessibility_problems().await, [""; 0], "{view:?}");
        assert_eq!(browser.evaluate("window.attacked ?? 0").await, 0);
        let elements = "document.querySelectorAll('script, img, iframe, object, [onerror]').length";
        assert_eq!(browser.evaluate(elements).await, 0);
        let width = browser
            .evaluate("document.documentElement.scrollWidth")
            .await;
        assert!(
            width.as_u64().unwrap() <= view.width.into(),
            "{view:?} is {width} wide"
        );
        assert_eq!(browser.complaints, [""; 0]);
    }
    browser.open(&page, VIEWS[0]).await;
    the_numbers_are_those_of_sql(&world, &mut browser).await;
    the_queries_can_be_run(&world, &mut browser).await;
    // Each day leads to its entries.
    let dead =
        "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(
        (a.getAttribute('href')).slice(1))).map(a => a.getAttribute('href')).join()";
    assert_eq!(browser.evaluate(dead).await, "");
    assert_eq!(
        browser
            .evaluate("document.querySelectorAll('.year a').length")
            .await,
        6
    );
    let gap = browser
        .evaluate("document.getElementById('missing').nextElementSibling.innerText")
        .await;
    assert_eq!(gap, "2020-02-15");
    browser.end().await;
    world.end().await;
}

/// The queries that a page gives can be run as they are.
async fn the_queries_can_be_run(world: &World, browser: &mut Browser) {
    let queries = "[...document.querySelectorAll('pre code')].map(code => code.textContent)";
    let queries: Vec<String> = serde_json::from_value(browser.evaluate(queries).await).unwrap();
    assert!(!queries.is_empty());
    for query in queries {
        sqlx::raw_sql(sqlx::AssertSqlSafe(query.clone()))
            .execute(&mut world.sql().await)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

async fn the_numbers_are_those_of_sql(world: &World, browser: &mut Browser) {
    for (name, sql) in [
        (
            "Interactions",
            "SELECT sum(count) FROM daybook.interaction_delta",
        ),
        (
            "Records involved",
            "SELECT sum(total) FROM daybook.interaction_delta",
        ),
        ("Last applied day", "SELECT max(day) FROM daybook.entry"),
        ("Gaps", "SELECT count(*) FROM daybook.gap"),
        ("Entries", "SELECT count(*) FROM daybook.entry"),
    ] {
        let shown = browser.evaluate(&tile(name)).await;
        assert_eq!(without_commas(&shown), world.value(sql).await, "{name}");
    }
    assert_eq!(browser.evaluate(&tile("Hash chain")).await, "✓ unbroken");
    assert_eq!(browser.evaluate(&tile("Projections")).await, "✓ up to date");
    let by_type = "SELECT string_agg(concat_ws('|', record_type, stat_type, count, total), E'\\n'
                       ORDER BY record_type DESC, stat_type)
                   FROM (SELECT record_type, stat_type, sum(count) AS count, sum(total) AS total
                         FROM daybook.interaction_delta GROUP BY 1, 2) s";
    let shown = browser.evaluate(&rows_after("Sums by type")).await;
    assert_eq!(without_commas(&shown), world.value(by_type).await);
    let largest = "[...document.querySelectorAll('#recordsets tbody')][0].innerText.match(/[0-9a-f-]{36}/g).join()";
    let sql = "SELECT string_agg(recordset_id::text, ',' ORDER BY total DESC, recordset_id)
               FROM (SELECT recordset_id, sum(total) AS total FROM daybook.interaction_delta GROUP BY 1) s";
    assert_eq!(browser.evaluate(largest).await, world.value(sql).await);
    let countries = "[...document.querySelectorAll('#countries tbody tr')].map(row => row.cells[1].innerText).join()";
    let sql = "SELECT string_agg(n::text, ',' ORDER BY n DESC) FROM (
                   SELECT sum(n) AS n FROM daybook.interaction_term_delta WHERE dimension = 'geocodes'
                   GROUP BY term::jsonb->>'country' HAVING sum(n) <> 0) s";
    assert_eq!(
        without_commas(&browser.evaluate(countries).await),
        world.value(sql).await.replace(',', "")
    );
    // Corrections and the reversal are listed, newest first.
    let special = "[...document.querySelectorAll('#days tbody tr')].map(row => row.cells[0].innerText).join()";
    let sql = "SELECT string_agg(entry_id::text, ',' ORDER BY entry_id DESC) FROM daybook.entry WHERE kind <> 'apply'";
    assert_eq!(browser.evaluate(special).await, world.value(sql).await);
}

#[tokio::test]
async fn the_page_of_a_recordset_says_what_sql_says_about_its_days() {
    let world = hostile_history().await;
    let folder = Folder::new(&world);
    let mut browser = Browser::start().await;
    for (options, days) in [
        (&["--recordset", RECORDSET][..], "true".to_owned()),
        (
            &[
                "--recordset",
                RECORDSET,
                "--from",
                FIRST_DAY,
                "--to",
                "2020-02-12",
            ],
            format!("day BETWEEN '{FIRST_DAY}' AND '2020-02-12'"),
        ),
    ] {
        let page = report(&world, &folder, options).await;
        for view in VIEWS {
            browser.open(&page, view).await;
            assert_eq!(browser.accessibility_problems().await, [""; 0], "{view:?}");
            assert_eq!(browser.evaluate("window.attacked ?? 0").await, 0);
            assert_eq!(browser.complaints, [""; 0]);
        }
        let of =
            format!("FROM daybook.interaction_delta WHERE recordset_id = '{RECORDSET}' AND {days}");
        for (name, column) in [
            ("Interactions", "sum(count)"),
            ("Records involved", "sum(total)"),
            ("First day", "min(day)"),
            ("Last day", "max(day)"),
        ] {
            let shown = browser.evaluate(&tile(name)).await;
            assert_eq!(
                without_commas(&shown),
                world.value(&format!("SELECT {column} {of}")).await,
                "{name}"
            );
        }
        let viewed = browser.evaluate("[...document.querySelectorAll('#viewed tbody tr')].map(row => row.cells[1].innerText).join()").await;
        let sql = format!(
            "SELECT string_agg(n::text, ',' ORDER BY n DESC) FROM (
                 SELECT sum(n) AS n FROM daybook.interaction_term_delta
                 WHERE recordset_id = '{RECORDSET}' AND {days} AND dimension = 'items' AND stat_type = 'view' GROUP BY term
                 HAVING sum(n) <> 0) s"
        );
        assert_eq!(viewed, world.value(&sql).await);
        the_queries_can_be_run(&world, &mut browser).await;
    }
    browser.end().await;
    world.end().await;
}

#[tokio::test]
async fn the_page_of_the_published_day_shows_its_sums() {
    let world = World::new().await;
    world.load_real_day().await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    let folder = Folder::new(&world);
    let page = std::fs::read_to_string(report(&world, &folder, &[]).await).unwrap();
    // In the tiles: elsewhere on the page other code adds them up.
    for part in [
        r#"<span class="value">9,991</span>"#,
        r#"<span class="value">383,011,472</span>"#,
        "1,615 recordsets",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    world.end().await;
}

#[tokio::test]
async fn a_site_is_brought_up_to_date_page_by_page() {
    let world = World::with_history().await;
    let folder = Folder::new(&world);
    let site = folder.file("site");
    let written = async |options: &[&str]| {
        let arguments = [&["report", "--json", "--site", &site], options].concat();
        let ended = world.run(&arguments).await.assert_exit(0);
        ended.messages_of("site_written")[0]["site"]["pages_written"].clone()
    };
    let page = |id: &str| Path::new(&site).join(format!("recordset/{id}.html"));
    assert_eq!(written(&[]).await, 3);
    assert_eq!(written(&[]).await, 0);
    // An entry touches one recordset.
    let modified = |id: &str| std::fs::metadata(page(id)).unwrap().modified().unwrap();
    let [first, second] = [RECORDSET, SECOND].map(modified);
    world
        .log(&[Event::search(60, "2020-02-15", SECOND, 77)])
        .await;
    world
        .run(&["apply", "--day", "2020-02-15", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(written(&[]).await, 1);
    assert_eq!(modified(RECORDSET), first);
    assert!(modified(SECOND) > second);
    // So does a name.
    let names = folder.file("names.csv");
    std::fs::write(&names, format!("{THIRD},Third & last\n")).unwrap();
    assert_eq!(written(&["--names", &names]).await, 1);
    assert!(
        std::fs::read_to_string(page(THIRD))
            .unwrap()
            .contains("Third &amp; last")
    );
    // A page that was cut short is made again.
    std::fs::write(page(THIRD), "<!DOCTYPE html>").unwrap();
    assert_eq!(written(&["--names", &names]).await, 1);
    // The page is the same as if it were the only one.
    let alone = report(&world, &folder, &["--recordset", SECOND]).await;
    let unmarked = |path: &Path| {
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once("<meta name=\"daybook-mark\"").unwrap();
        let page = format!("{head}{}", rest.split_once('>').unwrap().1);
        page.replace(
            r#"<p class="up"><a href="../index.html">All recordsets</a></p>"#,
            "",
        )
    };
    let page_alone = std::fs::read_to_string(alone).unwrap();
    assert_eq!(unmarked(&page(SECOND)), page_alone);
    let mut browser = Browser::start().await;
    browser
        .open(&Path::new(&site).join("index.html"), VIEWS[1])
        .await;
    assert_eq!(browser.accessibility_problems().await, [""; 0]);
    let links = "[...document.querySelectorAll('tbody a')].map(a => a.getAttribute('href')).join()";
    let links = browser.evaluate(links).await;
    for link in links.as_str().unwrap().split(',') {
        assert!(Path::new(&site).join(link).is_file(), "{link}");
    }
    assert_eq!(browser.complaints, [""; 0]);
    // The page of the ledger leads to each of them, and each leads to the index.
    let ledger = folder.file("ledger.html");
    world
        .run(&[
            "report", "--site", &site, "--output", &ledger, "--names", &names,
        ])
        .await
        .assert_exit(0);
    browser.open(Path::new(&ledger), VIEWS[0]).await;
    let links = "[...document.querySelectorAll('#recordsets tbody:first-of-type a')].map(a => a.href).join()";
    let links = browser.evaluate(links).await;
    let links: Vec<&str> = links.as_str().unwrap().split(',').collect();
    assert!(links.len() >= 3, "{links:?}");
    for link in links {
        let page = url::Url::parse(link).unwrap().to_file_path().unwrap();
        browser.open(&page, VIEWS[0]).await;
        let up = browser
            .evaluate("document.querySelector('.up a').href")
            .await;
        let up = url::Url::parse(up.as_str().unwrap())
            .unwrap()
            .to_file_path();
        assert_eq!(
            up.unwrap(),
            Path::new(&site).canonicalize().unwrap().join("index.html")
        );
    }
    browser.end().await;
    world.end().await;
}

#[tokio::test]
async fn days_asked_for_that_the_ledger_does_not_reach_are_told() {
    let world = World::with_history().await;
    let folder = Folder::new(&world);
    let mut browser = Browser::start().await;
    let page = report(
        &world,
        &folder,
        &["--from", "2020-02-08", "--to", "2020-02-19"],
    )
    .await;
    browser.open(&page, VIEWS[1]).await;
    assert_eq!(browser.evaluate(&tile("Not applied")).await, "7");
    assert_eq!(browser.evaluate(&tile("Gaps")).await, "0");
    let list = "document.getElementById('missing').nextElementSibling.innerText";
    assert_eq!(
        browser.evaluate(list).await,
        "2020-02-08 to 2020-02-09, 2 days: not applied, before the first entry\n\
         2020-02-15 to 2020-02-19, 5 days: not applied, after the last entry"
    );
    the_queries_can_be_run(&world, &mut browser).await;
    let squares = "document.querySelectorAll('.year .u').length";
    assert_eq!(browser.evaluate(squares).await, 7);
    assert_eq!(browser.accessibility_problems().await, [""; 0]);
    // Days in between are gaps, also if only they are asked for; days that are not over are not missing.
    world
        .run(&["apply", "--day", "2020-02-17", "--no-project"])
        .await
        .assert_exit(0);
    let page = report(
        &world,
        &folder,
        &["--from", "2020-02-15", "--to", "2020-02-16"],
    )
    .await;
    browser.open(&page, VIEWS[0]).await;
    assert_eq!(browser.evaluate(&tile("Gaps")).await, "2");
    let text = browser
        .evaluate("document.getElementById('days').innerText")
        .await;
    assert!(
        text.as_str()
            .unwrap()
            .contains("has no entries about these days"),
        "{text}"
    );
    let page = report(
        &world,
        &folder,
        &["--from", "2020-02-17", "--to", "2998-12-31"],
    )
    .await;
    browser.open(&page, VIEWS[0]).await;
    let text = browser.evaluate(list).await;
    let yesterday = world
        .value("SELECT ((now() AT TIME ZONE 'UTC')::date - 1)::text")
        .await;
    assert!(
        text.as_str()
            .unwrap()
            .starts_with(&format!("2020-02-18 to {yesterday}, ")),
        "{text}"
    );
    browser.end().await;
    world.end().await;
}

#[tokio::test]
async fn months_of_which_the_ledger_has_only_some_days_are_marked() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, "2020-01-10", RECORDSET, 5),
            Event::search(2, "2020-03-01", RECORDSET, 5),
            Event::search(3, "2020-03-02", SECOND, 5),
            Event::search(4, "2020-05-20", RECORDSET, 5),
        ])
        .await;
    for day in ["2020-01-10", "2020-03-01", "2020-03-02", "2020-05-20"] {
        world
            .run(&["apply", "--day", day, "--no-project"])
            .await
            .assert_exit(0);
    }
    let folder = Folder::new(&world);
    let mut browser = Browser::start().await;
    let months = "[...document.querySelectorAll('#time details th[scope=row]')].map(th => th.textContent).join('; ')";
    let whole = "2020-01 (from 2020-01-10); 2020-02; 2020-03; 2020-04; 2020-05 (to 2020-05-20)";
    for options in [&[][..], &["--recordset", RECORDSET]] {
        let page = report(&world, &folder, options).await;
        browser.open(&page, VIEWS[0]).await;
        assert_eq!(browser.evaluate(months).await, whole, "{options:?}");
        let bars = browser
            .evaluate("document.querySelectorAll('#time .part').length")
            .await;
        assert_eq!(bars, 4, "{options:?}: two charts with two ends");
        assert_eq!(browser.accessibility_problems().await, [""; 0]);
    }
    // A site's page becomes stale when a month that was not complete is.
    let site = folder.file("site");
    let written = async || {
        let ended = world
            .run(&["report", "--json", "--site", &site])
            .await
            .assert_exit(0);
        ended.messages_of("site_written")[0]["site"]["pages_written"].clone()
    };
    assert_eq!(written().await, 2);
    world
        .run(&["apply", "--day", "2020-05-31", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(written().await, 1);
    browser.end().await;
    world.end().await;
}

#[tokio::test]
async fn a_report_that_fails_leaves_the_file_as_it_was() {
    let world = World::with_history().await;
    let folder = Folder::new(&world);
    let (page, names) = (folder.file("page.html"), folder.file("names.csv"));
    std::fs::write(&page, "before").unwrap();
    std::fs::write(&names, "id,name\nmine,Fishes\n").unwrap();
    let unknown = "11111111-2222-4333-8444-555555555555";
    for (options, code, says) in [
        (
            vec!["--output", &page, "--recordset", unknown],
            1,
            "the ledger has nothing for recordset 11111111",
        ),
        (
            vec!["--output", &page, "--names", &names],
            2,
            "row 2: 'mine' is not a recordset id",
        ),
        (
            vec!["--output", &page, "--names", "none.csv"],
            2,
            "none.csv cannot be read",
        ),
        (
            vec!["--output", &page, "--from", LAST_DAY, "--to", FIRST_DAY],
            2,
            "is after --to",
        ),
        (
            vec!["--output", "/nowhere/page.html"],
            1,
            "/nowhere/page.html cannot be written",
        ),
        (vec!["--site", &page], 1, "cannot be written"),
        (
            vec!["--site", "site", "--output", "./site/index.html"],
            2,
            "--output is the index of the site",
        ),
        (
            vec!["--site", "site", "--recordset", RECORDSET],
            2,
            "cannot be used with",
        ),
        (vec![], 2, "--output"),
    ] {
        let arguments = [&["report"][..], &options].concat();
        world.run(&arguments).await.assert_exit(code).says(&[says]);
        assert_eq!(
            std::fs::read_to_string(&page).unwrap(),
            "before",
            "{options:?}"
        );
    }
    assert_eq!(folder.names(), ["names.csv", "page.html"]);
    world.end().await;
}

#[tokio::test]
async fn an_empty_ledger_has_a_page_as_well() {
    let world = World::new().await;
    let folder = Folder::new(&world);
    let page = report(&world, &folder, &[]).await;
    assert!(
        std::fs::read_to_string(page)
            .unwrap()
            .contains("The ledger has no entries yet")
    );
    world.end().await;
}

#[tokio::test]
async fn tables_to_take_away_hold_what_the_ledger_holds() {
    let world = World::with_history().await;
    let reason = "=HYPERLINK(\"x\"), \"quoted\"\nsecond line";
    world
        .run(&["reverse", "7", "--reason", reason, "--no-project"])
        .await
        .assert_exit(0);
    let csv = async |arguments: &[&str]| world.run(arguments).await.assert_exit(0).stdout;
    let lines = |sql: &str| {
        format!("SELECT string_agg(line, E'\\r\\n') || E'\\r\\n' FROM ({sql}) rows (line)")
    };

    let deltas = |condition: &str| {
        lines(&format!(
            "SELECT concat_ws(',', entry_id, day, recordset_id, record_type, stat_type, count, total, count_balance, total_balance)
             FROM daybook.interaction_delta WHERE {condition} ORDER BY recordset_id, record_type, stat_type, entry_id"
        ))
    };
    let heading = "entry_id,day,recordset_id,record_type,stat_type,count,total,count_balance,total_balance\r\n";
    let entry = csv(&["show", "1", "--format", "csv"]).await;
    assert_eq!(
        entry,
        format!("{heading}{}", world.value(&deltas("entry_id = 1")).await)
    );
    let day = csv(&["show", "--day", FIRST_DAY, "--format", "csv"]).await;
    assert_eq!(
        day,
        format!(
            "{heading}{}",
            world.value(&deltas(&format!("day = '{FIRST_DAY}'"))).await
        )
    );

    let totals = csv(&["totals", RECORDSET, "--format", "csv"]).await;
    let sql = lines(&format!(
        "SELECT concat_ws(',', recordset_id, record_type, stat_type, count, total) FROM daybook.recordset_total
         WHERE recordset_id = '{RECORDSET}' ORDER BY record_type, stat_type"
    ));
    assert_eq!(
        totals,
        format!(
            "recordset_id,record_type,stat_type,count,total\r\n{}",
            world.value(&sql).await
        )
    );

    let log = csv(&["log", "--format", "csv"]).await;
    assert!(
        log.contains(",\"=HYPERLINK(\"\"x\"\"), \"\"quoted\"\"\nsecond line\","),
        "{log}"
    );
    let log: Value = serde_json::from_str(&csv(&["log", "--format", "json"]).await).unwrap();
    assert_eq!(
        (&log[0]["reason"], log.as_array().unwrap().len()),
        (&reason.into(), 8)
    );
    let sql = "SELECT sum(total) FROM daybook.interaction_delta WHERE entry_id = 1";
    assert_eq!(log[7]["total"].to_string(), world.value(sql).await);
    let table = csv(&["log", "--format", "table"]).await;
    assert!(
        table.starts_with("entry_id  day ") && table.lines().count() == 9,
        "{table}"
    );

    world
        .run(&["log", "--format", "csv", "--json"])
        .await
        .assert_exit(2)
        .says(&["exclude each other"]);
    world
        .run(&["show", "--day", "2020-01-01"])
        .await
        .assert_exit(1)
        .says(&["no entry is about 2020-01-01"]);
    world.run(&["show"]).await.assert_exit(2);
    world.end().await;
}
