use super::*;

const RECORDSET: Uuid = Uuid::from_u128(7);

/// A view of one record, on the first day of the epoch.
fn view(entry_id: i64, balance: i64) -> Row<'static> {
    let day = StoredDate::decode(&[0; 4]).unwrap();
    Row {
        recordset_id: RECORDSET,
        record_type: "records",
        stat_type: "view",
        entry_id,
        day,
        count: 1,
        total: 1,
        maps: PerDimension {
            items: Some(br#"{"record": 1}"#),
            queries: Some(b"{}"),
            geocodes: Some(br#"{"null": 1}"#),
        },
        count_balance: balance,
        total_balance: balance,
        first_day: day,
        last_day: day,
        part: 0,
    }
}

/// The header that an entry of these rows must have.
fn header(rows: &[Row<'_>]) -> Header {
    let mut content = Content::default();
    let mut hash = Sha256::new();
    for row in rows {
        content.add_to_totals(row);
        hash.update(hashed_fields(row).unwrap().hash(&mut Vec::new()));
    }
    Header {
        entry_id: rows[0].entry_id,
        day: rows[0].day,
        terms_complete: true,
        totals: Some(sqlx::types::Json(content.totals)),
        delta_rows: i64::try_from(rows.len()).unwrap(),
        content_hash: Some(hash.into()),
        rejected_hash: Some(Hash::sha256("")),
        entry_hash: None,
        hash_differs: false,
        chain_differs: false,
        gap_before: false,
    }
}

fn findings(headers: Vec<Header>, rows: &[Row<'_>]) -> Vec<[String; 2]> {
    let mut audit = Audit::new(headers, None);
    for row in rows {
        audit.add(row);
    }
    audit
        .finish()
        .findings
        .into_iter()
        .map(|Finding { place, what }| [place, what])
        .collect()
}

#[test]
fn of_each_kind_a_hundred_are_named_and_the_rest_is_counted() {
    let sound: Vec<Row<'_>> = (1..=103).map(|n| view(n, n)).collect();
    let headers: Vec<Header> = sound.iter().map(|row| header(&[*row])).collect();
    assert!(findings(headers.clone(), &sound).is_empty());
    let zeroed: Vec<Row<'_>> = sound
        .iter()
        .map(|row| Row {
            count_balance: 0,
            ..*row
        })
        .collect();
    let found = findings(headers, &zeroed);
    let (hashes, balances) = found.split_at(101);
    assert_eq!(hashes[0], ["entry 1 of 2000-01-01", OF_ENTRIES[0]]);
    assert_eq!(hashes[100], ["3 more entries", OF_ENTRIES[0]]);
    assert_eq!(
        balances[99],
        [
            format!("entry 100, recordset {RECORDSET}, records, view"),
            OF_ROWS[5].to_owned()
        ]
    );
    assert_eq!(balances[100..], [["3 more rows", OF_ROWS[5]]]);
}

#[test]
fn a_header_without_rows_is_judged_like_any_other() {
    let rows = [view(1, 1)];
    let empty = Header {
        entry_id: 2,
        delta_rows: 0,
        totals: Some(sqlx::types::Json(Vec::new())),
        content_hash: Some(Hash::sha256("")),
        ..header(&rows)
    };
    assert!(findings(vec![header(&rows), empty.clone()], &rows).is_empty());
    let found = findings(vec![header(&rows), empty], &[]);
    assert_eq!(
        found,
        [
            ["entry 1 of 2000-01-01", OF_ENTRIES[0]],
            ["entry 1 of 2000-01-01", OF_ENTRIES[1]],
            ["entry 1 of 2000-01-01", OF_ENTRIES[2]]
        ]
    );
}

#[test]
fn maps_must_sum_unless_the_header_says_that_they_lack_terms() {
    let row = Row {
        maps: PerDimension::from_fn(|_| Some(&b"{}"[..])),
        ..view(1, 1)
    };
    let complete = header(&[row]);
    let place = format!("entry 1, recordset {RECORDSET}, records, view");
    assert_eq!(
        findings(vec![complete.clone()], &[row]),
        [[place, OF_ROWS[4].to_owned()]]
    );
    assert!(
        findings(
            vec![Header {
                terms_complete: false,
                ..complete
            }],
            &[row]
        )
        .is_empty()
    );
}

#[test]
fn a_row_without_a_hash_spoils_its_entry_even_if_the_header_leaves_it_out() {
    let header = Header {
        content_hash: Some(Hash::sha256("")),
        ..header(&[view(1, 1)])
    };
    let infinity = StoredDate::decode(&i32::MAX.to_be_bytes()).unwrap();
    let row = Row {
        day: infinity,
        first_day: infinity,
        last_day: infinity,
        ..view(1, 1)
    };
    let found = findings(
        vec![Header {
            day: infinity,
            ..header.clone()
        }],
        &[row],
    );
    assert_eq!(found, [["entry 1 of an invalid date", OF_ENTRIES[0]]]);
    let mut audit = Audit::new(vec![header], None);
    audit.add_incomplete(Some(1));
    audit.add_incomplete(None);
    let found = audit.finish().findings;
    let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
    assert_eq!(
        places,
        [
            // Neither its hash nor its totals.
            "entry 1 of 2000-01-01",
            "entry 1 of 2000-01-01",
            "a row of entry 1",
            "a row of no entry"
        ]
    );
}

#[test]
fn balances_beyond_a_bigint_are_wrong_and_no_end() {
    let most = |entry_id| Row {
        count: i64::MAX,
        count_balance: i64::MAX,
        ..view(entry_id, entry_id)
    };
    let rows = [most(1), most(2)];
    let found = findings(rows.iter().map(|row| header(&[*row])).collect(), &rows);
    assert!(
        found
            .iter()
            .any(|[place, what]| place.starts_with("entry 2,") && what == OF_ROWS[5]),
        "{found:?}"
    );
    assert!(
        !found
            .iter()
            .any(|[place, what]| place.starts_with("entry 1,") && what == OF_ROWS[5]),
        "{found:?}"
    );
}
