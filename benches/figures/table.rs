//! The figures as a table for people, or as JSON lines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The measurements, one per run.
#[derive(Default)]
pub struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    pub fn add(&mut self, name: &'static str, value: f64) {
        self.0.entry(name).or_default().push(value);
    }

    /// The values of all runs, in order.
    pub fn of(&self, name: &str) -> Vec<f64> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Goal {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    MedianAtMost(f64),
    /// Each run must meet it, not only the median: memory.
    EveryAtMost(f64),
}

/// How to compute the ratio of a figure and its baseline.
#[derive(Clone, Copy, Debug)]
pub enum Ratio {
    /// The figure divided by its baseline.
    Of,
    /// The baseline divided by the figure: for times, how many times as fast it is.
    TimesAsFast,
}

struct Baseline {
    name: &'static str,
    values: Vec<f64>,
    ratio: Ratio,
}

/// A line of the table.
pub struct Figure {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    baseline: Option<Baseline>,
    goal: Option<Goal>,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            values,
            baseline: None,
            goal: None,
        }
    }

    /// With a baseline that was measured in the same runs.
    pub fn against(mut self, name: &'static str, values: Vec<f64>, ratio: Ratio) -> Self {
        self.baseline = Some(Baseline {
            name,
            values,
            ratio,
        });
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// The ratio of each run: a disturbance of the machine affects both.
    fn ratios(&self) -> Vec<f64> {
        let Some(Baseline { values, ratio, .. }) = &self.baseline else {
            return Vec::new();
        };
        let pairs = self.values.iter().zip(values);
        pairs
            .map(|(value, baseline)| match ratio {
                Ratio::Of => value / baseline,
                Ratio::TimesAsFast => baseline / value,
            })
            .collect()
    }

    fn met(&self) -> Option<bool> {
        let ratio = || median(&self.ratios());
        Some(match self.goal? {
            Goal::RatioAtMost(bound) => ratio()? <= bound,
            Goal::RatioAtLeast(bound) => ratio()? >= bound,
            Goal::MedianAtMost(bound) => median(&self.values)? <= bound,
            Goal::EveryAtMost(bound) => self.values.iter().all(|value| *value <= bound),
        })
    }

    fn goal_text(&self) -> Option<String> {
        Some(match self.goal? {
            Goal::RatioAtMost(bound) => format!("≤ {bound} ×"),
            Goal::RatioAtLeast(bound) => format!("≥ {bound} ×"),
            Goal::MedianAtMost(bound) => format!("≤ {bound} {}", self.unit),
            Goal::EveryAtMost(bound) => format!("≤ {bound} {}, every run", self.unit),
        })
    }

    fn as_json(&self) -> Value {
        let (values, ratios) = (Spread::of(&self.values), Spread::of(&self.ratios()));
        let baseline = self.baseline.as_ref();
        json!({
            "figure": self.name, "value": values.median, "unit": self.unit, "min": values.least, "max": values.most,
            "baseline": baseline.map(|baseline| baseline.name),
            "baseline_value": baseline.and_then(|baseline| median(&baseline.values)),
            "ratio": ratios.median, "ratio_min": ratios.least, "ratio_max": ratios.most,
            "goal": self.goal_text(), "met": self.met(), "runs": self.values.len(),
        })
    }

    fn as_cells(&self) -> [String; 7] {
        let ratios = self.ratios();
        let met = match self.met() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let baseline = self.baseline.as_ref().map_or_else(String::new, |baseline| {
            format!(
                "{} {}",
                baseline.name,
                Spread::of(&baseline.values)
                    .median
                    .map_or_else(String::new, shown)
            )
        });
        [
            self.name.clone(),
            format!("{} {}", Spread::of(&self.values).text(), self.unit),
            baseline,
            if ratios.is_empty() {
                String::new()
            } else {
                Spread::of(&ratios).text()
            },
            self.goal_text().unwrap_or_default(),
            met.to_owned(),
            self.values.len().to_string(),
        ]
    }
}

/// The median of some values, with the least and the greatest.
struct Spread {
    median: Option<f64>,
    least: Option<f64>,
    most: Option<f64>,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let least = values.iter().copied().reduce(f64::min);
        Self {
            median: median(values),
            least,
            most: values.iter().copied().reduce(f64::max),
        }
    }

    fn text(&self) -> String {
        match (self.median, self.least, self.most) {
            (Some(median), Some(least), Some(most)) if least < most => {
                format!("{} ({}–{})", shown(median), shown(least), shown(most))
            }
            (Some(median), ..) => shown(median),
            _ => "–".to_owned(),
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// With about three significant digits.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The figures, as they are measured.
pub struct Table {
    json: bool,
    /// Whether goals are checked: tiny days say nothing about them.
    judges: bool,
    figures: Vec<Figure>,
}

const HEADS: [&str; 7] = [
    "figure",
    "median (least–most)",
    "baseline",
    "ratio (least–most)",
    "goal",
    "met",
    "runs",
];

impl Table {
    pub fn new(json: bool, judges: bool) -> Self {
        Self {
            json,
            judges,
            figures: Vec::new(),
        }
    }

    /// JSON begins with the machine and has each figure as soon as it is measured. The table is printed at the end.
    pub fn open(&self, machine: &Map<String, Value>) {
        if self.json {
            println!("{}", json!({ "machine": machine }));
        }
    }

    pub fn add(&mut self, mut figure: Figure) {
        figure.goal = figure.goal.filter(|_| self.judges);
        if self.json {
            println!("{}", figure.as_json());
        }
        eprintln!("  {}", figure.as_cells().join("  "));
        self.figures.push(figure);
    }

    /// As Markdown, for a page in benches/results.
    pub fn close(&self, machine: &Map<String, Value>) {
        if self.json {
            return;
        }
        let facts: Vec<String> = machine
            .iter()
            .map(|(name, fact)| {
                format!(
                    "{}: {}",
                    name.replace('_', " "),
                    fact.to_string().trim_matches('"')
                )
            })
            .collect();
        println!("{}\n", facts.join("; "));
        let heads = HEADS.map(str::to_owned);
        let lines: Vec<[String; 7]> = self.figures.iter().map(Figure::as_cells).collect();
        let most = |column: usize| {
            lines
                .iter()
                .chain([&heads])
                .map(|line| width(&line[column]))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..HEADS.len()).map(most).collect();
        print_line(&heads, &widths);
        println!(
            "|{}|",
            widths
                .iter()
                .map(|width| "-".repeat(width + 2))
                .collect::<Vec<_>>()
                .join("|")
        );
        for line in &lines {
            print_line(line, &widths);
        }
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn print_line(cells: &[String], widths: &[usize]) {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, most)| format!(" {cell}{} ", " ".repeat(most - width(cell))));
    println!("|{}|", padded.collect::<Vec<_>>().join("|"));
}
