use super::*;
use crate::event::{RecordType, StatType};

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
    let mut aggregation = Aggregation::default();
    for row in rows {
        aggregation.add(*row).unwrap();
    }
    aggregation.finish().unwrap().0
}

fn shown(deltas: &DayDeltas) -> Vec<String> {
    let map = |map| deltas.terms(map).map(|(term, n)| format!("{term}={n}")).collect::<Vec<_>>().join(",");
    deltas
        .rows()
        .iter()
        .map(|row| {
            let [items, queries, geocodes] = row.maps().map(map);
            format!("{} {} {} [{items}] [{queries}] [{geocodes}]", row.cell.stat_type.name(), row.count, row.total)
        })
        .collect()
}

#[test]
fn interactions_of_a_cell_are_summed_whatever_their_order() {
    let (a, b) = (format!(r#"{{"{RECORDSET}": 3}}"#), format!(r#"{{"{RECORDSET}": 4}}"#));
    let zero = format!(r#"{{"{RECORDSET}": 0}}"#);
    let seen = format!(r#"{{"rec": "{RECORDSET}"}}"#);
    let mut rows = [
        row(1, "search", &a, "q1"),
        row(2, "search", &b, "q2"),
        row(3, "search", &zero, "q3"),
        row(4, "seen", &seen, ""),
    ];
    let expected =
        [r#"search 3 7 [] [q1=3,q2=4] [{"country":"US"}=7]"#, r#"seen 1 1 [rec=1] [=1] [{"country":"US"}=1]"#];
    assert_eq!(shown(&deltas(&rows)), expected);
    rows.reverse();
    assert_eq!(shown(&deltas(&rows)), expected);
    assert_eq!(deltas(&rows).control_sum_violation(), None);
}

#[test]
fn what_is_posted_taken_off_leaves_the_difference() {
    let (a, b) = (format!(r#"{{"{RECORDSET}": 3}}"#), format!(r#"{{"{RECORDSET}": 4}}"#));
    let cell = Cell {
        recordset_id: RECORDSET.parse().unwrap(),
        record_type: RecordType::Records,
        stat_type: StatType::Search,
    };
    let posted =
        PostedRow { cell, count: 1, total: 3, maps: [&[], &[("q1".into(), 3)], &[(r#"{"country":"US"}"#.into(), 3)]] };
    let mut more = Aggregation::default();
    more.add(row(1, "search", &a, "q1")).unwrap();
    more.add(row(2, "search", &b, "q2")).unwrap();
    more.subtract(posted).unwrap();
    let (difference, _) = more.finish().unwrap();
    assert_eq!(shown(&difference), [r#"search 1 4 [] [q2=4] [{"country":"US"}=4]"#]);
    assert!(difference.decrease().is_none());

    let mut same = Aggregation::default();
    same.add(row(1, "search", &a, "q1")).unwrap();
    same.subtract(posted).unwrap();
    assert!(same.finish().unwrap().0.rows().is_empty());

    let mut fewer = Aggregation::default();
    fewer.subtract(posted).unwrap();
    assert!(fewer.finish().unwrap().0.decrease().is_some());
}

#[test]
fn sums_that_overflow_are_an_error_that_names_the_cell() {
    let most = format!(r#"{{"{RECORDSET}": {}}}"#, i64::MAX);
    let one = format!(r#"{{"{RECORDSET}": 1}}"#);
    let mut aggregation = Aggregation::default();
    aggregation.add(row(1, "search", &most, "q")).unwrap();
    let overflow = aggregation.add(row(2, "search", &one, "q")).unwrap_err();
    assert!(overflow.to_string().contains(RECORDSET));
}

#[test]
fn many_terms_are_merged_without_loss() {
    let payload = format!(r#"{{"{RECORDSET}": 2}}"#);
    let hashes: Vec<String> = (0..1000).map(|n| format!("q{}", n % 7)).collect();
    let rows: Vec<_> = hashes.iter().map(|hash| row(1, "search", &payload, hash)).collect();
    let deltas = deltas(&rows);
    let queries: i64 = deltas.terms(&deltas.rows()[0].queries).map(|(_, n)| n).sum();
    assert_eq!((deltas.rows()[0].queries.len(), queries), (7, 2000));
    assert_eq!(deltas.control_sum_violation(), None);
}
