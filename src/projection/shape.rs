//! The shape of an index: what cannot be changed in place. An index of another shape must be rebuilt.
//!
//! The checkpoint contains it. It changes with the mapping, in a newer version of daybook, and with the setting that
//! selects which terms have documents.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::scope::Scope;
use super::{Plan, Projection};
use crate::error::{Error, ErrorKind};
use crate::projection::index::Index;

/// What an index was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// A hash of the mapping; `None` if the checkpoint does not contain it.
    #[serde(default)]
    pub mapping: Option<String>,
    /// Which terms have documents; only in `stats-terms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Scope>,
}

impl Plan {
    /// The shape of an index that is made now.
    pub fn shape(&self, kind: Projection) -> Shape {
        let terms = (kind == Projection::Terms).then(|| self.terms.clone());
        Shape {
            mapping: Some(hash(&kind.mapping())),
            terms,
        }
    }

    /// Refuses an index of another shape than one that is made now.
    pub fn check_shape(&self, kind: Projection, index: &Index) -> Result<(), Error> {
        let (found, wanted) = (Shape::of(index), self.shape(kind));
        let Index {
            physical, alias, ..
        } = index;
        let rebuild = format!("run `daybook rebuild --only {}`", kind.name());
        if let (Some(found), Some(wanted)) = (&found.terms, &wanted.terms)
            && found != wanted
        {
            return Err(Error::new(ErrorKind::IndexOutdated, format!(
                "the index {physical} behind {alias} was made for the terms '{found}', the settings ask for '{wanted}'"
            ))
            .hint(format!("{rebuild}, or set DAYBOOK_TERMS to '{found}' again")));
        }
        if found != wanted {
            return Err(Error::new(ErrorKind::IndexOutdated, format!(
                "the index {physical} behind {alias} was made with a different mapping than this version of daybook uses"
            ))
            .hint(format!("{rebuild}; the old index serves readers until then")));
        }
        Ok(())
    }
}

impl Shape {
    /// The shape in the checkpoint of an index.
    pub fn of(index: &Index) -> Self {
        let stored = index.checkpoint.shape.clone();
        stored
            .and_then(|shape| serde_json::from_value(shape).ok())
            .unwrap_or(Self {
                mapping: None,
                terms: None,
            })
    }
}

/// 96 bits are enough to distinguish the mappings of a few versions.
fn hash(mapping: &Value) -> String {
    // serde_json sorts the keys of an object.
    URL_SAFE_NO_PAD.encode(&Sha256::digest(mapping.to_string())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_mapping_changes_the_shape() {
        for kind in Projection::ALL {
            let mapping = kind.mapping();
            let mut paths = Vec::new();
            pointers(&mapping, String::new(), &mut paths);
            assert!(paths.len() > 10, "{kind:?}: {paths:?}");
            for path in paths {
                let mut changed = mapping.clone();
                *changed.pointer_mut(&path).unwrap() = "changed".into();
                assert_ne!(hash(&changed), hash(&mapping), "{kind:?} {path}");
            }
        }
    }

    fn pointers(value: &Value, path: String, paths: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(name, value)| pointers(value, format!("{path}/{name}"), paths));
            }
            _ => paths.push(path),
        }
    }
}
