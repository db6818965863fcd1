use proptest::prop_assert;
use serde_json::json;

use super::super::document::for_each_cell;
use super::*;

const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";

fn document(cell: &str) -> Result<Document, Defect> {
    let text = format!(
        r#"{{"recordset_id":"{RECORDSET}","harvest_date":"2020-02-17","records":{{"seen":{cell}}},"mediarecords":null}}"#
    );
    read(text.as_bytes()).map(|document| document.expect("a daily document"))
}

const PLAIN: &str = r#"{"count":2,"total":2,"items":[{"term":"a","count":1},{"term":"b","count":1}],
    "queries":[{"term":null,"count":2}],"geocodes":[{"geo":{"country":"Canada","city":"Ottawa"},"count":2}]}"#;

#[test]
fn documents_that_say_the_same_have_the_same_body() {
    let plain = document(PLAIN).unwrap();
    assert_eq!(
        (plain.day.to_string(), plain.count, plain.total),
        ("2020-02-16".to_owned(), 2, 2)
    );
    assert!(plain.terms_are_complete());
    let otherwise = [
        // The order of lists and members, the spelling of numbers, whitespace, terms with 0.
        r#"{"geocodes":[{"count":2.0,"geo":{"city":"Ottawa", "country":"Canada"}}],"total":2e0,"count":2.0,
            "queries":[{"term":null,"count":2},{"term":"q","count":0}],"items":[{"term":"b","count":1},{"term":"a","count":1}]}"#,
        // An aggregation object.
        r#"{"count":2,"total":2,"items":{"b":1,"a":1},"queries":{"null":2},
            "geocodes":{"{\"country\": \"Canada\", \"city\": \"Ottawa\"}":2}}"#,
        r#"{"count":2,"total":2,"items":{"b":1,"a":1},"queries":{"None":1,"":1},
            "geocodes":{"{\"city\":\"Ottawa\",\"country\":\"Canad\\u0061\"}":2}}"#,
    ];
    for cell in otherwise {
        assert_eq!(document(cell).unwrap().body(), plain.body(), "{cell}");
    }
    let other = document(&PLAIN.replace("Ottawa", "Toronto")).unwrap();
    assert_ne!(other.body(), plain.body());
    let nothing =
        document(r#"{"count":0,"total":0,"items":[],"queries":[],"geocodes":[]}"#).unwrap();
    assert_eq!(nothing.body(), "[]");
}

#[test]
fn a_body_gives_its_cells_back() {
    let document = document(PLAIN).unwrap();
    let mut cells = Vec::new();
    for_each_cell(document.recordset_id, &document.body(), |row| {
        let maps = row.maps.map(|map| {
            map.iter()
                .map(|(term, n)| format!("{term}={n}"))
                .collect::<Vec<_>>()
                .join(" ")
        });
        cells.push((row.cell.stat_type, row.count, row.total, maps));
        Ok::<_, serde_json::Error>(())
    })
    .unwrap();
    let geocode = r#"{"city":"Ottawa","country":"Canada"}=2"#;
    assert_eq!(
        cells,
        [(
            StatType::Seen,
            2,
            2,
            PerDimension {
                items: "a=1 b=1",
                queries: "=2",
                geocodes: geocode
            }
            .map(str::to_owned)
        )]
    );
}

#[test]
fn what_lacks_terms_is_taken_and_not_complete() {
    for cell in [
        r#"{"count":2,"total":2}"#,
        r#"{"count":2,"total":2,"items":null,"queries":[],"geocodes":[]}"#,
        &PLAIN.replace(r#""term":"b","count":1"#, r#""term":"b","count":2"#),
        &PLAIN.replace(r#""count":2,"total""#, r#""count":1,"total""#),
    ] {
        assert!(!document(cell).unwrap().terms_are_complete(), "{cell}");
    }
}

#[test]
fn of_a_document_without_counts_what_is_missing_is_zero_and_it_is_not_complete() {
    for (cell, sums) in [
        (r#"{"total":5000}"#, (0, 5000)),
        (r#"{"count":3}"#, (3, 0)),
        (r#"{"count":null,"total":0}"#, (0, 0)),
    ] {
        let document = document(cell).unwrap();
        assert_eq!((document.count, document.total), sums, "{cell}");
        assert!(!document.terms_are_complete(), "{cell}");
    }
    // A stat type without counts.
    let nothing = document("{}").unwrap();
    assert!(nothing.terms_are_complete() && nothing.body() == "[]");
}

#[test]
fn a_date_may_be_written_as_its_midnight() {
    let at = |harvested: &str| {
        let text = json!({ "recordset_id": RECORDSET, "harvest_date": harvested, "records": {} })
            .to_string();
        read(format!("\u{feff}{text}").as_bytes()).map(|document| document.unwrap().day.to_string())
    };
    for midnight in [
        "2015-03-02T00:00:00",
        "2015-03-02T00:00:00.000Z",
        "2015-03-02T00:00:00+00:00",
    ] {
        assert_eq!(at(midnight).unwrap(), "2015-03-01");
    }
    for other in [
        "2015-03-02T05:00:00",
        "2015-03-02T00:00:00+02:00",
        "2015-03-02T00:00",
        "2015-03-02T",
    ] {
        assert!(
            at(other).unwrap_err().message.contains("is not a date"),
            "{other}"
        );
    }
}

#[test]
fn what_a_document_cannot_say_is_a_defect_of_its_day() {
    for (cell, message) in [
        (
            r#"{"count":"2","total":2}"#,
            "records.seen: count: \\\"2\\\" is not a non-negative integer",
        ),
        (
            r#"{"count":9223372036854775808,"total":2}"#,
            "records.seen: count: 9223372036854775808 is more than",
        ),
        (
            r#"{"count":1,"total":1,"items":[{"term":null,"count":1}]}"#,
            "items: a record without an id",
        ),
        (
            r#"{"count":1,"total":1,"items":[{"term":"a","count":1},{"term":"a","count":1}]}"#,
            "items: 'a' is listed twice",
        ),
        (
            r#"{"count":1,"total":1,"items":{"a":1,"a":1}}"#,
            "items: the key 'a' occurs twice",
        ),
        (
            r#"{"count":1,"total":1,"geocodes":{"nowhere":1}}"#,
            "geocodes: ip_geocode cannot be read as JSON",
        ),
        (r#"{"count":1,"total":1,"items":7}"#, "items: invalid type"),
        (
            r#"{"count":1,"total":1,"items":[["a",null,1]]}"#,
            "items: an array instead of an object",
        ),
        ("[1,1]", "records.seen: an array instead of an object"),
        ("7", "records.seen: invalid type"),
    ] {
        let Defect {
            day,
            message: found,
        } = document(cell).unwrap_err();
        assert!(found.contains(message), "{cell}: {found}");
        assert_eq!(day.unwrap().to_string(), "2020-02-16", "{cell}");
    }
    let too_much = r#"{"recordset_id":"00038086-3303-4b89-b2d6-1b84e7598f0e","harvest_date":"2020-02-17","records":{
        "search":{"count":9223372036854775807,"total":1},"mapping":{"count":1,"total":1}}}"#;
    assert!(
        read(too_much.as_bytes())
            .unwrap_err()
            .message
            .contains("exceed the range of bigint")
    );
}

#[test]
fn an_envelope_is_taken_off_and_other_kinds_are_passed_over() {
    let inner = json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17", "records": {} });
    let hit = |kind: &str| {
        json!({ "_index": "stats", "_type": kind, "_id": "x", "_source": inner }).to_string()
    };
    assert!(read(hit("search").as_bytes()).unwrap().is_some());
    assert!(read(hit("_doc").as_bytes()).unwrap().is_some());
    assert!(read(hit("api").as_bytes()).unwrap().is_none());
    assert!(read(hit("digest").as_bytes()).unwrap().is_none());
    let untyped = json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17T00:00:01.5", "records_count": 7 });
    assert!(read(untyped.to_string().as_bytes()).unwrap().is_none());
    let first = json!({ "recordset_id": RECORDSET, "harvest_date": "1970-01-01", "records": {} });
    assert!(
        read(first.to_string().as_bytes())
            .unwrap_err()
            .message
            .contains("out of range")
    );
    assert!(
        read(b"{\"recordset_id\": \"\xff\"}")
            .unwrap_err()
            .message
            .contains("not UTF-8")
    );
    let nothing = json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17" }).to_string();
    assert_eq!(
        read(nothing.as_bytes()).unwrap_err().message,
        "it has neither records nor mediarecords"
    );
}

/// What is taken for a document can be compared: its body is JSON.
#[test]
fn fuzz_documents() {
    crate::fuzzing::check("old-documents", |text| {
        if let Ok(Some(document)) = read(text) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&document.body()).is_ok());
        }
        Ok(())
    });
}
