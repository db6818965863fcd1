use std::collections::HashMap;

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::*;
use crate::fuzzing;

const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";

fn row<'a>(stat_type: &'a str, payload: &'a str) -> SourceRow<'a> {
    SourceRow {
        id: 7,
        stat_type: Some(stat_type),
        record_type: Some("records"),
        payload: Some(payload),
        geocode: None,
        query_hash: None,
    }
}

fn interactions<'a>(stat_type: &'a str, payload: &'a str) -> Vec<Interaction<'a>> {
    match read(row(stat_type, payload)) {
        Reading::Counted(event) => event.interactions,
        other => panic!("{payload} should count, got {other:?}"),
    }
}

fn rejection(row: SourceRow<'_>) -> Rejection {
    match read(row) {
        Reading::Rejected(rejection) => rejection,
        other => panic!("{row:?} should be rejected, got {other:?}"),
    }
}

#[test]
fn a_view_names_records_and_a_search_numbers() {
    let recordset_id = RECORDSET.parse().unwrap();
    for stat_type in ["view", "seen"] {
        assert_eq!(
            interactions(stat_type, &format!(r#"{{"rec": "{RECORDSET}"}}"#)),
            [Interaction {
                recordset_id,
                item: Some(Item::of("rec".into())),
                records: 1
            }]
        );
    }
    for stat_type in ["search", "mapping", "download"] {
        assert_eq!(
            interactions(stat_type, &format!(r#"{{"{RECORDSET}": 12.0}}"#)),
            [Interaction {
                recordset_id,
                item: None,
                records: 12
            }]
        );
    }
}

#[test]
fn the_largest_number_of_records_is_taken_however_it_is_written() {
    for number in [
        MAX_RECORDS.to_string(),
        format!("{MAX_RECORDS}.0"),
        "1e12".to_owned(),
    ] {
        let payload = format!(r#"{{"{RECORDSET}": {number}}}"#);
        let found = interactions("search", &payload).into_iter();
        assert_eq!(
            found
                .map(|interaction| interaction.records)
                .collect::<Vec<_>>(),
            [MAX_RECORDS],
            "{number}"
        );
    }
}

#[test]
fn the_last_of_a_repeated_key_wins() {
    let payload =
        format!(r#"{{"{RECORDSET}": "never looked at", "{RECORDSET}": 1, "{RECORDSET}": 2}}"#);
    let found = interactions("search", &payload);
    assert_eq!(
        found
            .iter()
            .map(|interaction| interaction.records)
            .collect::<Vec<_>>(),
        [2]
    );

    let payload = format!(r#"{{"a": 1, "b": "{RECORDSET}", "\u0061": "{RECORDSET}"}}"#);
    let items: Vec<_> = interactions("view", &payload)
        .into_iter()
        .filter_map(|interaction| interaction.item)
        .collect();
    assert_eq!(items, ["b", "a"].map(|id| Item::of(id.into())));
}

#[test]
fn other_record_types_are_ignored_before_anything_else_is_looked_at() {
    for record_type in [None, Some("recordsets"), Some("Records"), Some("")] {
        let row = SourceRow {
            record_type,
            stat_type: Some("nonsense"),
            ..row("view", "[")
        };
        assert!(matches!(read(row), Reading::Ignored));
    }
}

#[test]
fn an_event_is_rejected_as_a_whole_with_the_reason() {
    let bad_second =
        format!(r#"{{"{RECORDSET}": 1, "f9f1b2c4-0000-4000-8000-000000000000": 1.5}}"#);
    let too_many = format!(r#"{{"{RECORDSET}": {}}}"#, MAX_RECORDS + 1);
    let long = "x".repeat(MAX_TERM_BYTES + 1);
    let long_item = format!(r#"{{"{long}": "{RECORDSET}"}}"#);
    let nul_item = format!(r#"{{"a\u0000b": "{RECORDSET}"}}"#);
    for (row, reason) in [
        (row("viewed", "{}"), Reason::UnknownType),
        (
            SourceRow {
                stat_type: None,
                ..row("", "{}")
            },
            Reason::UnknownType,
        ),
        (
            SourceRow {
                payload: None,
                ..row("view", "")
            },
            Reason::PayloadNotAnObject,
        ),
        (row("view", "null"), Reason::PayloadNotAnObject),
        (row("view", "[]"), Reason::PayloadNotAnObject),
        (row("view", "\"text\""), Reason::PayloadNotAnObject),
        (
            row("view", r#"{"\ud800": "x"}"#),
            Reason::PayloadNotAnObject,
        ),
        (
            row("view", r#"{"rec": "not a uuid"}"#),
            Reason::RecordsetNotAUuid,
        ),
        (row("view", r#"{"rec": 5}"#), Reason::RecordsetNotAUuid),
        (
            row("search", r#"{"not a uuid": 5}"#),
            Reason::RecordsetNotAUuid,
        ),
        (row("search", &bad_second), Reason::NotANaturalNumber),
        (row("search", &too_many), Reason::NumberTooLarge),
        (row("view", &long_item), Reason::TermTooLong),
        (row("view", &nul_item), Reason::TermHoldsNul),
        (
            SourceRow {
                query_hash: Some(&long),
                ..row("search", "{}")
            },
            Reason::TermTooLong,
        ),
    ] {
        let rejection = rejection(row);
        assert_eq!(rejection.reason, reason, "{row:?}");
        assert_eq!(rejection.source_id, 7);
        assert!(!rejection.message.contains('\0'));
    }
}

#[test]
fn terms_of_exactly_the_longest_length_are_taken() {
    let longest = "x".repeat(MAX_TERM_BYTES);
    let payload = format!(r#"{{"{longest}": "{RECORDSET}"}}"#);
    assert_eq!(interactions("view", &payload).len(), 1);
}

#[test]
fn geocodes_are_the_same_term_however_they_are_spelled() {
    let spelled = [
        r#"{"country":"US","city":"Ocala"}"#,
        " {\"city\" : \"Oc\\u0061la\", \"country\":\"US\" }",
    ];
    for text in spelled {
        assert_eq!(
            geocode::canonical(text).unwrap(),
            r#"{"city":"Ocala","country":"US"}"#
        );
    }
    assert_eq!(geocode::canonical("null").unwrap(), "null");
    assert_eq!(geocode::canonical("{}").unwrap(), "{}");
    for (text, reason) in [
        (r#"{"city":"\u0000"}"#.to_owned(), Reason::TermHoldsNul),
        (
            format!(r#"{{"city":"{}"}}"#, "x".repeat(MAX_TERM_BYTES)),
            Reason::TermTooLong,
        ),
        ("{".to_owned(), Reason::GeocodeUnreadable),
    ] {
        assert_eq!(
            geocode::canonical(&text).unwrap_err().reject(1).reason,
            reason
        );
    }
}

/// Whatever a row holds, it is counted, ignored or rejected; nothing is counted that is not a JSON object.
#[test]
fn fuzz_payloads() {
    fuzzing::check("payloads", |payload| {
        let payload = String::from_utf8_lossy(payload);
        // Of a repeated key only the last value is read, so the others need not be valid.
        let is_object =
            serde_json::from_str::<HashMap<String, Box<serde_json::value::RawValue>>>(&payload)
                .is_ok();
        for stat_type in ["view", "search", "viewed"] {
            if let Reading::Counted(event) = read(row(stat_type, &payload)) {
                prop_assert!(is_object, "counted");
                for interaction in event.interactions {
                    prop_assert!((0..=MAX_RECORDS).contains(&interaction.records));
                }
            }
        }
        Ok(())
    });
}

/// The canonical form is its own canonical form.
#[test]
fn fuzz_geocodes() {
    fuzzing::check("geocodes", |text| {
        if let Ok(canonical) = geocode::canonical(&String::from_utf8_lossy(text)) {
            let again = geocode::canonical(&canonical)
                .map_err(|_| TestCaseError::fail("the canonical form cannot be read"))?;
            prop_assert_eq!(again, canonical);
        }
        Ok(())
    });
}
