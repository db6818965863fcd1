//! The setting names that messages about a client use. Each cluster has settings of its own.

/// The setting names, and the parts of hints that depend on the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The setting with the address.
    pub address: &'static str,
    /// The prefix of the options for logging in.
    pub options: &'static str,
    /// The prefix of the variables for logging in.
    pub variables: &'static str,
    /// The privileges that the user needs.
    pub privileges: &'static str,
    /// What to do once the cluster has recovered.
    pub afterwards: &'static str,
}

impl Wording {
    /// For the cluster with the projections.
    pub const PROJECTIONS: Self = Self {
        address: "DAYBOOK_ELASTICSEARCH_URL",
        options: "--elasticsearch",
        variables: "DAYBOOK_ELASTICSEARCH",
        privileges: "that the command needs on the indices of the prefix: docs/installing.md lists them",
        afterwards: "run `daybook project` to catch up",
    };

    /// For the cluster with the old index.
    pub const OLD_INDEX: Self = Self {
        address: "--from-index",
        options: "--from-index",
        variables: "DAYBOOK_FROM_INDEX",
        privileges: "read and view_index_metadata on the index",
        afterwards: "run the command again: days already imported are skipped",
    };

    /// Replaces the names in braces in a hint.
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
