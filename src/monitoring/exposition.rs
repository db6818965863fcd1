//! Prometheus's text exposition format.

use std::fmt::{Display, Write as _};

/// A text in this format. Every sample has the labels that all have in common, and its own.
#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
    common: Vec<(&'static str, String)>,
}

impl Exposition {
    pub(super) fn new(common: Vec<(&'static str, String)>) -> Self {
        Self {
            text: String::new(),
            common,
        }
    }

    /// Adds a gauge with one sample.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help);
        self.sample(name, None, value);
    }

    /// Adds a gauge with a sample for each value of a label; nothing if there are none.
    pub(super) fn gauges<'v, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        samples: impl IntoIterator<Item = (&'v str, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(name, help);
        }
        for (of, value) in samples {
            self.sample(name, Some((label, of)), value);
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn sample(&mut self, name: &str, own: Option<(&'static str, &str)>, value: impl Display) {
        let common = self
            .common
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let labels: Vec<String> = common
            .chain(own)
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let _ = writeln!(self.text, "{name}{{{}}} {value}", labels.join(","));
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_have_any_value() {
        let mut text = Exposition::new(vec![("prefix", "a".to_owned())]);
        text.gauge("one", "Help.", 1.5);
        text.gauges("none", "Help.", "kind", [("", 0); 0]);
        text.gauges("some", "Help.", "kind", [("a\"b\\c\nd", 2)]);
        assert_eq!(
            text.into_text(),
            "# HELP one Help.\n# TYPE one gauge\none{prefix=\"a\"} 1.5\n\
             # HELP some Help.\n# TYPE some gauge\nsome{prefix=\"a\",kind=\"a\\\"b\\\\c\\nd\"} 2\n"
        );
    }
}
