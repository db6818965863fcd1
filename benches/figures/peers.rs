//! The peers in Python (benches/peer): what one would write today, and the old way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::Error;
use crate::documents::Documents;
use crate::ledger::Fresh;
use crate::process::{self, Ended};
use crate::setting::{PREFIX, REAL_DAY, Setting, Size};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Modern,
    Old,
}

impl Peer {
    fn script(self) -> &'static str {
        match self {
            Self::Modern => "modern.py",
            Self::Old => "old.py",
        }
    }
}

/// Where a peer writes.
const INDEX: &str = "bench-peer";
const INDICES: [(&str, &str); 2] = [("bench-peer", ""), ("bench-peer-totals", "-totals")];

/// Runs a peer on a day, into existing empty indices like those of the program.
pub async fn run(
    peer: Peer,
    setting: &Setting,
    size: Size,
    day: NaiveDate,
) -> Result<Ended, Error> {
    for (index, suffix) in INDICES {
        setting
            .elastic
            .create_like(index, &format!("{PREFIX}{suffix}"), json!({}))
            .await?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/peer")
        .join(peer.script());
    let mut command = Command::new(&setting.python);
    command.arg(script).args([
        &setting.source(size)?,
        setting.elastic.url(),
        INDEX,
        &day.to_string(),
    ]);
    process::run(&mut command)
}

/// Checks that the peers count the published day as the program does: each term of each cell of each recordset.
pub async fn compare_counts(setting: &Setting) -> Result<(), Error> {
    let day: NaiveDate = REAL_DAY.parse()?;
    let daybook = Fresh::without_terms(Size::S).before(setting, day).await?;
    daybook.run(&["apply", "--day", REAL_DAY])?;
    for (peer, suffixes) in [(Peer::Modern, &["", "-totals"][..]), (Peer::Old, &[""])] {
        run(peer, setting, Size::S, day).await?;
        for suffix in suffixes {
            let ours = counts(setting, &format!("{PREFIX}{suffix}")).await?;
            let theirs = counts(setting, &format!("{INDEX}{suffix}")).await?;
            let differs = ours
                .iter()
                .find(|(recordset, counts)| theirs.get(*recordset) != Some(counts));
            if let Some((recordset, _)) = differs {
                return Err(format!(
                    "{} counts {recordset} otherwise than daybook",
                    peer.script()
                )
                .into());
            }
            if ours.len() != theirs.len() {
                return Err(format!(
                    "{} has {} recordsets, daybook {}",
                    peer.script(),
                    theirs.len(),
                    ours.len()
                )
                .into());
            }
        }
    }
    Ok(())
}

/// What the documents of an index contain for each recordset, with sorted lists.
async fn counts(setting: &Setting, index: &str) -> Result<BTreeMap<String, [Value; 2]>, Error> {
    let documents = Documents::read(
        &setting.elastic,
        index,
        json!({ "match_all": {} }),
        usize::MAX,
    )
    .await?;
    let mut counts = BTreeMap::new();
    for body in documents.bodies()? {
        for line in body?.split(|byte| *byte == b'\n').skip(1).step_by(2) {
            let mut document: Value = serde_json::from_slice(line)?;
            let recordset = document["recordset_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let parts = ["records", "mediarecords"]
                .map(|record_type| in_order(document[record_type].take()));
            counts.insert(recordset, parts);
        }
    }
    Ok(counts)
}

fn in_order(value: Value) -> Value {
    match value {
        Value::Array(mut terms) => {
            terms.sort_by_cached_key(Value::to_string);
            Value::Array(terms)
        }
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, in_order(value)))
            .collect(),
        other => other,
    }
}
