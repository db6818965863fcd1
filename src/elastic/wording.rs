//! What messages call the settings of a client. More than one cluster can be given, each by settings of its own.

/// The names of a client's settings, and what helps that only its user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The setting with the address.
    pub address: &'static str,
    /// What the options that say how to log in begin with.
    pub options: &'static str,
    /// What the variables that say how to log in begin with.
    pub variables: &'static str,
    /// The privileges that are needed.
    pub privileges: &'static str,
    /// What to do once the cluster is well again.
    pub afterwards: &'static str,
}

impl Wording {
    /// For the cluster that the projections are in.
    pub const PROJECTIONS: Self = Self {
        address: "DAYBOOK_ELASTICSEARCH_URL",
        options: "--elasticsearch",
        variables: "DAYBOOK_ELASTICSEARCH",
        privileges: "that the command needs on the indices of the prefix: docs/installing.md lists them",
        afterwards: "run `daybook project` to catch up",
    };

    /// For the cluster of an old index that is read.
    pub const OLD_INDEX: Self = Self {
        address: "--from-index",
        options: "--from-index",
        variables: "DAYBOOK_FROM_INDEX",
        privileges: "read and view_index_metadata on the index",
        afterwards: "run the command again: days that are imported are passed over",
    };

    /// A hint with these words in place of the names in braces.
    pub(super) fn fill(self, hint: &str) -> String {
        let Self {
            address,
            options,
            variables,
            privileges,
            afterwards,
        } = self;
        hint.replace("{address}", address)
            .replace("{options}", options)
            .replace("{variables}", variables)
            .replace("{privileges}", privileges)
            .replace("{afterwards}", afterwards)
    }
}
