use super::*;
use crate::event::{PerDimension, RecordType, SourceRow, StatType};

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
    let mut aggregation = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
    for row in rows {
        aggregation.add(*row).unwrap();
    }
    aggregation.finish().unwrap().deltas
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
    let mut more = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
    more.add(row(1, "search", &a, "q1")).unwrap();
    more.add(row(2, "search", &b, "q2")).unwrap();
    more.subtract(posted).unwrap();
    let difference = more.finish().unwrap().deltas;
    assert_eq!(
        shown(&difference),
        [r#"search 1 4 [] [q2=4] [{"country":"US"}=4]"#]
    );
    assert!(difference.decrease().is_none());

    // A query that is filled in later moves counts to another term. That is not a decrease.
    let mut filled_in = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
    filled_in.add(row(1, "search", &a, "q2")).unwrap();
    filled_in.subtract(posted).unwrap();
    let difference = filled_in.finish().unwrap().deltas;
    assert_eq!(shown(&difference), ["search 0 0 [] [q1=-3,q2=3] []"]);
    assert!(difference.decrease().is_none());

    let mut same = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
    same.add(row(1, "search", &a, "q1")).unwrap();
    same.subtract(posted).unwrap();
    assert!(same.finish().unwrap().deltas.rows().is_empty());

    let mut fewer = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
    fewer.subtract(posted).unwrap();
    assert!(fewer.finish().unwrap().deltas.decrease().is_some());
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
    let mut aggregation = Aggregation::of_part(uuid::Uuid::nil(), usize::MAX);
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

#[test]
fn parts_make_the_rows_that_the_whole_makes_whatever_the_memory() {
    let rows = mixed_rows();
    let part = |from, memory| {
        let mut aggregation = Aggregation::of_part(from, memory);
        for (id, stat_type, payload, hash) in &rows {
            aggregation.add(row(*id, stat_type, payload, hash)).unwrap();
        }
        aggregation.finish().unwrap()
    };
    let whole = part(uuid::Uuid::nil(), usize::MAX);
    assert_eq!(whole.next, None);
    for memory in [0, 20_000, 100_000] {
        let (mut next, mut cells, mut all, mut parts) =
            (Some(uuid::Uuid::nil()), Vec::new(), Vec::new(), 0);
        while let Some(from) = next {
            let part = part(from, memory);
            assert_eq!(part.figures, whole.figures);
            cells.extend(part.deltas.rows().iter().map(|row| row.cell));
            all.extend(shown(&part.deltas));
            next = part.next;
            parts += 1;
        }
        assert!(parts > 1, "{memory} bytes");
        assert!(cells.is_sorted());
        assert_eq!(all, shown(&whole.deltas), "{memory} bytes");
    }
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
