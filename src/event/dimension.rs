//! The dimensions by which a total is broken down.

use std::ops::{Index, IndexMut};

use serde::Serialize;
use strum::VariantArray;

/// What a total is broken down by.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Dimension {
    /// By record.
    Items,
    /// By query.
    Queries,
    /// By geocode.
    Geocodes,
}

impl Dimension {
    /// All dimensions, in the order of a row's maps.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// The name in the ledger and in documents.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A value for each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PerDimension<T> {
    pub items: T,
    pub queries: T,
    pub geocodes: T,
}

impl<T> PerDimension<T> {
    /// The values of a function, which is called in the order of the dimensions.
    pub fn from_fn(mut value: impl FnMut(Dimension) -> T) -> Self {
        let [items, queries, geocodes] = Dimension::ALL.map(&mut value);
        Self {
            items,
            queries,
            geocodes,
        }
    }

    /// The same for a function that may fail; it is not called again then.
    pub fn try_from_fn<E>(mut value: impl FnMut(Dimension) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            items: value(Dimension::Items)?,
            queries: value(Dimension::Queries)?,
            geocodes: value(Dimension::Geocodes)?,
        })
    }

    pub fn map<U>(self, mut value: impl FnMut(T) -> U) -> PerDimension<U> {
        PerDimension {
            items: value(self.items),
            queries: value(self.queries),
            geocodes: value(self.geocodes),
        }
    }

    pub fn as_ref(&self) -> PerDimension<&T> {
        PerDimension {
            items: &self.items,
            queries: &self.queries,
            geocodes: &self.geocodes,
        }
    }
}

impl<T> Index<Dimension> for PerDimension<T> {
    type Output = T;

    fn index(&self, dimension: Dimension) -> &T {
        match dimension {
            Dimension::Items => &self.items,
            Dimension::Queries => &self.queries,
            Dimension::Geocodes => &self.geocodes,
        }
    }
}

impl<T> IndexMut<Dimension> for PerDimension<T> {
    fn index_mut(&mut self, dimension: Dimension) -> &mut T {
        match dimension {
            Dimension::Items => &mut self.items,
            Dimension::Queries => &mut self.queries,
            Dimension::Geocodes => &mut self.geocodes,
        }
    }
}

impl<T> PerDimension<Option<T>> {
    /// The values, if there is one for each dimension.
    pub fn transpose(self) -> Option<PerDimension<T>> {
        Some(PerDimension {
            items: self.items?,
            queries: self.queries?,
            geocodes: self.geocodes?,
        })
    }
}

/// Each value with its dimension, in order.
impl<T> IntoIterator for PerDimension<T> {
    type Item = (Dimension, T);
    type IntoIter = std::array::IntoIter<(Dimension, T), 3>;

    fn into_iter(self) -> Self::IntoIter {
        let Self {
            items,
            queries,
            geocodes,
        } = self;
        [
            (Dimension::Items, items),
            (Dimension::Queries, queries),
            (Dimension::Geocodes, geocodes),
        ]
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_at_its_dimension() {
        let mut names = PerDimension::from_fn(Dimension::name);
        assert!(
            names
                .into_iter()
                .map(|(dimension, _)| dimension)
                .eq(Dimension::ALL)
        );
        for (dimension, name) in names {
            assert_eq!(
                (name, names[dimension]),
                (dimension.name(), dimension.name())
            );
            names[dimension] = "";
        }
        assert_eq!(names, PerDimension::default());
        let missing = |missing| {
            PerDimension::from_fn(|dimension| (dimension != missing).then_some(dimension))
        };
        assert!(
            Dimension::ALL
                .into_iter()
                .all(|dimension| missing(dimension).transpose().is_none())
        );
        let all = PerDimension::from_fn(Some).transpose().unwrap();
        assert_eq!(
            Ok::<_, ()>(all.map(Dimension::name)),
            PerDimension::try_from_fn(|dimension| Ok(dimension.name()))
        );
    }
}
