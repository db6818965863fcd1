//! The names of recordsets, from a CSV file of the reader: the ledger has only their ids.

use std::fs::File;
use std::path::Path;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::error::Error;

/// Names by recordset.
#[derive(Debug, Default)]
pub struct Names(FxHashMap<Uuid, String>);

impl Names {
    /// Reads a CSV file whose first two columns are id and name. A first row without an id is a heading.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| {
            Error::usage(format!("{} cannot be read", path.display()))
                .caused_by(error)
                .hint("check the name of the file given with --names")
        })?;
        Self::parse(file).map_err(|what| {
            Error::usage(format!("{}: {what}", path.display()))
                .hint("--names takes a CSV file in UTF-8 with the columns id and name")
        })
    }

    fn parse(text: impl std::io::Read) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text);
        let mut names = FxHashMap::default();
        for (row, record) in (1..).zip(reader.records()) {
            let record = record.map_err(|error| error.to_string())?;
            let id = record
                .get(0)
                .unwrap_or_default()
                .trim_start_matches('\u{feff}');
            let Ok(recordset_id) = Uuid::try_parse(id) else {
                if row == 1 {
                    continue;
                }
                return Err(format!("row {row}: '{id}' is not a recordset id"));
            };
            let Some(name) = record.get(1) else {
                return Err(format!("row {row}: it has no name"));
            };
            if !name.is_empty() {
                names.insert(recordset_id, name.to_owned());
            }
        }
        Ok(Self(names))
    }

    pub fn of(&self, recordset_id: Uuid) -> Option<&str> {
        self.0.get(&recordset_id).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";

    #[test]
    fn a_heading_quotes_and_further_columns_are_accepted() {
        let id: Uuid = ID.parse().unwrap();
        for text in [
            format!("\u{feff}id,name\r\n{ID},\"Fishes, \"\"large\"\"\",more\r\n"),
            format!("{ID} , \"Fishes, \"\"large\"\"\""),
        ] {
            let names = Names::parse(text.as_bytes());
            if text.starts_with('\u{feff}') {
                assert_eq!(names.unwrap().of(id), Some("Fishes, \"large\""));
            } else {
                assert!(names.unwrap().of(id).is_some());
            }
        }
        assert_eq!(
            Names::parse(format!("{ID},\n").as_bytes()).unwrap().of(id),
            None
        );
    }

    #[test]
    fn what_is_not_a_list_of_names_is_refused_with_its_row() {
        for (text, says) in [
            (
                format!("id,name\nmine,Fishes\n{ID},x"),
                "row 2: 'mine' is not a recordset id",
            ),
            (format!("{ID}\n"), "row 1: it has no name"),
        ] {
            assert_eq!(Names::parse(text.as_bytes()).unwrap_err(), says);
        }
        assert!(Names::parse(&b"id,name\n\xff,x"[..]).is_err());
    }
}
