use super::*;
use crate::ledger::current_entry::entry_of_tests;

fn entry(number: i64, kind: EntryKind, reverses: Option<i64>, fingerprint: &str) -> Entry {
    let id = |number: i64| number.to_string().parse().unwrap();
    Entry {
        kind,
        reverses: reverses.map(id),
        source_fingerprint: fingerprint.to_owned(),
        delta_rows: 1,
        ..entry_of_tests(number)
    }
}

const NET: Sums = Sums {
    count: 2,
    total: 30,
};

const SUMS: Sums = Sums {
    count: 4,
    total: 50,
};

fn judged_with(sums: Sums, entries: &[Entry], net: Sums, source_events: Option<i64>) -> Verdict {
    let day = "2020-02-16".parse().unwrap();
    let candidate = Candidate {
        day,
        fingerprint: "import:a",
        sums,
        conflicting: 0,
        unreadable: 0,
    };
    judge(
        candidate,
        Standing {
            entries,
            net,
            source_events,
            today: "2020-02-20".parse().unwrap(),
        },
    )
    .unwrap()
}

fn judged(entries: &[Entry], net: Sums, source_events: Option<i64>) -> Verdict {
    judged_with(SUMS, entries, net, source_events)
}

fn already(entries: &[Entry]) -> Option<i64> {
    match judged(entries, NET, Some(0)) {
        Verdict::AlreadyImported { entry_id } => Some(entry_id.number()),
        Verdict::Post | Verdict::Compare(_) => None,
    }
}

#[test]
fn what_was_imported_is_there_until_something_else_is_posted_or_it_is_taken_back() {
    use EntryKind::{Apply, Correction, Import, Reversal};
    let a = |number| entry(number, Import, None, "import:a");
    let b = |number| entry(number, Import, None, "import:b");
    let back = |number, of| entry(number, Reversal, Some(of), "");
    assert_eq!(already(&[a(1)]), Some(1));
    assert_eq!(already(&[b(1)]), None);
    assert_eq!(already(&[entry(1, Apply, None, "import:a")]), None);
    assert_eq!(already(&[a(1), entry(2, Correction, None, "")]), None);
    assert_eq!(already(&[a(1), back(2, 1)]), None);
    assert_eq!(already(&[a(1), back(2, 1), back(3, 2)]), Some(1));
    assert_eq!(already(&[a(1), b(2)]), None);
    assert_eq!(already(&[a(1), b(2), back(3, 2)]), Some(1));
    // The second import was the difference from the first, which is then reversed.
    assert_eq!(already(&[b(1), a(2)]), Some(2));
    assert_eq!(already(&[b(1), a(2), back(3, 1)]), None);
}

#[test]
fn a_day_that_somebody_has_is_compared_and_may_be_refused_with_both_figures() {
    let apply = entry(1, EntryKind::Apply, None, "5");
    let refused = |entries: &[Entry], net, events| match judged(entries, net, events) {
        Verdict::Compare(holders) => holders.refusal("2020-02-16".parse().unwrap(), SUMS),
        other => panic!("{other:?}"),
    };
    let error = refused(std::slice::from_ref(&apply), NET, None);
    let ours = "and the documents have 4 interactions, 50 records";
    assert_eq!(
        error.message(),
        format!(
            "2020-02-16 is refused: the ledger has 2 interactions, 30 records of it (apply 1), {ours}"
        )
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("--replace posts the difference")
    );
    let error = refused(&[], Sums::default(), Some(7));
    assert_eq!(
        error.message(),
        format!("2020-02-16 is refused: the source has 7 events of it, {ours}")
    );
    // Quiet days and reversed days are free.
    let post = |entries: &[Entry]| judged(entries, Sums::default(), Some(0));
    assert_eq!(post(std::slice::from_ref(&apply)), Verdict::Post);
    // Documents without counts may be the same.
    let quiet = judged_with(
        Sums::default(),
        std::slice::from_ref(&apply),
        Sums::default(),
        Some(0),
    );
    assert!(matches!(quiet, Verdict::Compare(_)), "{quiet:?}");
    assert_eq!(
        post(&[apply, entry(2, EntryKind::Reversal, Some(1), "")]),
        Verdict::Post
    );
    assert_eq!(post(&[]), Verdict::Post);
}
