use super::*;
use crate::event::{PerDimension, RecordType, SourceRow, StatType};
use crate::workspace::TempDir;

const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";

fn row<'a>(id: i64, stat_type: &'a str, payload: &'a str, query_hash: &'a str) -> SourceRow<'a> {
    SourceRow {
        id,
        stat_type: Some(stat_type),
        record_type: Some("records"),
        payload: Some(payload),
        geocode: Some(r#"{"country": "US"}"#),
        query_hash: Some(query_hash),
    }
}

fn deltas(rows: &[SourceRow<'_>]) -> DayDeltas {
    let mut aggregation = Aggregation::without_limit();
    for row in rows {
        aggregation.add(*row).unwrap();
    }
    only_batch(aggregation)
}

fn only_batch(aggregation: Aggregation) -> DayDeltas {
    let mut rows = aggregation.finish().unwrap().rows;
    let batch = rows.next_batch().unwrap().unwrap();
    assert!(rows.next_batch().unwrap().is_none());
    batch
}

fn shown(deltas: &DayDeltas) -> Vec<String> {
    let map = |map: TermCounts<'_>| {
        let mut shown = Vec::new();
        map.for_each(|term, n| shown.push(format!("{term}={n}")));
        shown.join(",")
    };
    deltas
        .rows()
        .iter()
        .map(|row| {
            let PerDimension {
                items,
                queries,
                geocodes,
            } = deltas.maps(row).map(map);
            format!(
                "{} {} {} [{items}] [{queries}] [{geocodes}]",
                row.cell.stat_type.name(),
                row.count,
                row.total
            )
        })
        .collect()
}

#[test]
fn interactions_of_a_cell_are_summed_whatever_their_order() {
    let (a, b) = (
        format!(r#"{{"{RECORDSET}": 3}}"#),
        format!(r#"{{"{RECORDSET}": 4}}"#),
    );
    let zero = format!(r#"{{"{RECORDSET}": 0}}"#);
    let seen = format!(r#"{{"rec": "{RECORDSET}"}}"#);
    let mut rows = [
        row(1, "search", &a, "q1"),
        row(2, "search", &b, "q2"),
        row(3, "search", &zero, "q3"),
        row(4, "seen", &seen, ""),
    ];
    let expected = [
        r#"search 3 7 [] [q1=3,q2=4] [{"country":"US"}=7]"#,
        r#"seen 1 1 [rec=1] [=1] [{"country":"US"}=1]"#,
    ];
    assert_eq!(shown(&deltas(&rows)), expected);
    rows.reverse();
    assert_eq!(shown(&deltas(&rows)), expected);
    assert_eq!(deltas(&rows).control_sum_violation(), None);
}

#[test]
fn what_is_posted_taken_off_leaves_the_difference() {
    let (a, b) = (
        format!(r#"{{"{RECORDSET}": 3}}"#),
        format!(r#"{{"{RECORDSET}": 4}}"#),
    );
    let cell = Cell {
        recordset_id: RECORDSET.parse().unwrap(),
        record_type: RecordType::Records,
        stat_type: StatType::Search,
    };
    let posted = PostedRow {
        cell,
        count: 1,
        total: 3,
        maps: PerDimension {
            items: &[],
            queries: &[("q1".into(), 3)],
            geocodes: &[(r#"{"country":"US"}"#.into(), 3)],
        },
    };
    let mut more = Aggregation::without_limit();
    more.add(row(1, "search", &a, "q1")).unwrap();
    more.add(row(2, "search", &b, "q2")).unwrap();
    more.subtract(posted).unwrap();
    let difference = only_batch(more);
    assert_eq!(
        shown(&difference),
        [r#"search 1 4 [] [q2=4] [{"country":"US"}=4]"#]
    );
    assert!(difference.decrease().is_none());

    // A query that is filled in later moves counts to another term. That is not a decrease.
    let mut filled_in = Aggregation::without_limit();
    filled_in.add(row(1, "search", &a, "q2")).unwrap();
    filled_in.subtract(posted).unwrap();
    let difference = only_batch(filled_in);
    assert_eq!(shown(&difference), ["search 0 0 [] [q1=-3,q2=3] []"]);
    assert!(difference.decrease().is_none());

    let mut same = Aggregation::without_limit();
    same.add(row(1, "search", &a, "q1")).unwrap();
    same.subtract(posted).unwrap();
    assert!(only_batch(same).rows().is_empty());

    let mut fewer = Aggregation::without_limit();
    fewer.subtract(posted).unwrap();
    assert!(only_batch(fewer).decrease().is_some());
}

#[test]
fn sums_that_overflow_are_an_error_that_names_the_cell() {
    let one = format!(r#"{{"{RECORDSET}": 1}}"#);
    let (record_type, stat_type) = (RecordType::Records, StatType::Search);
    let cell = Cell {
        recordset_id: RECORDSET.parse().unwrap(),
        record_type,
        stat_type,
    };
    let mut aggregation = Aggregation::without_limit();
    aggregation
        .add_counted(PostedRow {
            cell,
            count: 1,
            total: i64::MAX,
            maps: PerDimension::default(),
        })
        .unwrap();
    let overflow = aggregation.add(row(2, "search", &one, "q")).unwrap_err();
    assert!(overflow.to_string().contains(RECORDSET));
}

#[test]
fn many_terms_are_merged_without_loss() {
    let payload = format!(r#"{{"{RECORDSET}": 2}}"#);
    let hashes: Vec<String> = (0..1000).map(|n| format!("q{}", n % 7)).collect();
    let rows: Vec<_> = hashes
        .iter()
        .map(|hash| row(1, "search", &payload, hash))
        .collect();
    let deltas = deltas(&rows);
    let queries = deltas.maps(&deltas.rows()[0]).queries;
    let mut sum = 0;
    queries.for_each(|_, n| sum += n);
    assert_eq!((queries.len(), sum), (7, 2000));
    assert_eq!(deltas.control_sum_violation(), None);
}

/// Rows of many recordsets with terms of every form.
fn mixed_rows() -> Vec<(i64, &'static str, String, String)> {
    let recordset = |n: i64| format!("{n:08x}-3303-4b89-b2d6-1b84e7598f0e");
    (0..2000_i64)
        .map(|n| {
            let recordset = recordset(n * 7919 % 97);
            let record = recordset.replace("3303", &format!("{:04x}", n % 50));
            match n % 4 {
                0 => (
                    n,
                    "search",
                    format!(r#"{{"{recordset}": {}}}"#, n * 500_000_000),
                    format!("q{}", n % 13),
                ),
                1 => (
                    n,
                    "seen",
                    format!(r#"{{"{record}": "{recordset}", "{n}": "{recordset}"}}"#),
                    format!("q{n}"),
                ),
                2 => (
                    n,
                    "view",
                    format!(r#"{{"{}": "{recordset}"}}"#, record.to_uppercase()),
                    String::new(),
                ),
                _ => (
                    n,
                    "download",
                    format!(r#"{{"{recordset}": {n}}}"#),
                    "a \"quoted\" query".to_owned(),
                ),
            }
        })
        .collect()
}

/// An aggregation of rows within a memory limit.
fn limited(rows: &[(i64, &'static str, String, String)], memory: usize) -> Aggregation {
    let mut aggregation = Aggregation::within(memory, temp_dir());
    for (id, stat_type, payload, hash) in rows {
        aggregation.add(row(*id, stat_type, payload, hash)).unwrap();
    }
    aggregation
}

fn temp_dir() -> TempDir {
    TempDir::new(Some(std::env::temp_dir()), None).unwrap()
}

/// All rows, and how many batches they were in.
fn in_batches(aggregation: Aggregation) -> (Vec<String>, usize) {
    let (mut cells, mut all, mut batches) = (Vec::new(), Vec::new(), 0);
    let mut rows = aggregation.finish().unwrap().rows;
    assert!(rows.spilled_bytes() > 0);
    while let Some(batch) = rows.next_batch().unwrap() {
        cells.extend(batch.rows().iter().map(|row| row.cell));
        all.extend(shown(&batch));
        batches += 1;
    }
    assert!(cells.is_sorted_by(|a, b| a < b));
    (all, batches)
}

#[test]
fn what_was_spilled_makes_the_rows_that_it_makes_in_memory_whatever_the_limit() {
    let rows = mixed_rows();
    let whole = limited(&rows, usize::MAX);
    let figures = whole.figures();
    let whole = shown(&only_batch(whole));
    // At 0, every run has its own merge, a batch for each cell and a dictionary without terms.
    for (memory, in_several) in [(0, true), (20_000, true), (100_000, true)] {
        let spilled = limited(&rows, memory);
        assert_eq!(spilled.figures(), figures);
        let (all, batches) = in_batches(spilled);
        assert_eq!(batches > 1, in_several, "{memory} bytes: {batches} batches");
        assert_eq!(all, whole, "{memory} bytes");
    }
}

#[test]
fn what_is_subtracted_meets_what_was_spilled() {
    let rows = mixed_rows();
    let posted = only_batch(limited(&rows, usize::MAX));
    let mut spilled = limited(&rows, 20_000);
    let wide = i64::MAX / 2;
    for (place, row) in posted.rows().iter().enumerate() {
        let maps = posted.maps(row).map(|map| {
            let mut terms = Vec::new();
            map.for_each(|term, n| terms.push((term.to_owned().into(), n)));
            terms
        });
        // One row keeps a term, with sums that do not fit in the narrow form.
        let more = [("more".into(), -wide)];
        let mut maps = maps.as_ref().map(Vec::as_slice);
        if place == 0 {
            maps.queries = &more;
        }
        spilled
            .subtract(PostedRow {
                cell: row.cell,
                count: row.count,
                total: row.total,
                maps,
            })
            .unwrap();
    }
    let (left, _) = in_batches(spilled);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains(&format!("more={wide}")), "{left:?}");
}

#[test]
fn a_directory_that_cannot_take_the_files_is_named_with_what_is_needed() {
    let rows = mixed_rows();
    let gone = tempfile::tempdir().unwrap();
    let directory = TempDir::new(Some(gone.path().to_owned()), None).unwrap();
    let mut aggregation = Aggregation::within(1_000_000, directory).expecting(2 * rows.len());
    for (id, stat_type, payload, hash) in &rows {
        aggregation.add(row(*id, stat_type, payload, hash)).unwrap();
    }
    let path = gone.path().display().to_string();
    gone.close().unwrap();
    aggregation.memory_limit = 1_000;
    let failed = loop {
        if let Err(error) = aggregation.add(row(
            1,
            "search",
            r#"{"00038086-3303-4b89-b2d6-1b84e7598f0e": 3}"#,
            "q",
        )) {
            break error.report(|error| panic!("{error}"));
        }
    };
    let message = failed.message();
    for said in [
        path.as_str(),
        "after 0 B were written",
        "more are needed",
        "No such file",
        "nothing was posted",
    ] {
        assert!(message.contains(said), "{said}: {message}");
    }
    assert!(failed.hint_text().unwrap().contains("DAYBOOK_TEMP_DIR"));
}

#[test]
fn record_ids_that_are_uuids_and_others_come_in_the_order_of_a_map() {
    let ids = [
        "b",
        "aa",
        RECORDSET,
        "zzzzzzzz-3303-4b89-b2d6-1b84e7598f0e",
        "00038086-3303-4b89-b2d6-1b84e7598f0d",
    ];
    let upper = RECORDSET.to_uppercase();
    let members: Vec<String> = ids
        .iter()
        .chain([&upper.as_str()])
        .map(|id| format!(r#""{id}": "{RECORDSET}""#))
        .collect();
    let payload = format!("{{{}}}", members.join(", "));
    let deltas = deltas(&[row(1, "view", &payload, ""), row(2, "view", &payload, "")]);
    let items = deltas.maps(&deltas.rows()[0]).items;
    let mut found = Vec::new();
    items.for_each(|term, n| found.push((term.to_owned(), n)));
    let mut expected: Vec<(String, i64)> = ids
        .iter()
        .map(|id| ((*id).to_owned(), 2))
        .chain([(upper, 2)])
        .collect();
    expected.sort_by(|a, b| terms::jsonb_order(&a.0, &b.0));
    assert_eq!(found, expected);
}
