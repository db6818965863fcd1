//! Charts as SVG: bars over time, sparklines, ranked bars. No IO.
//!
//! A chart is a picture of numbers that stand in a table beside it. So it has a name and a summary for those who do not
//! see it, and a tooltip for each bar.

use maud::{Markup, html};

use super::page::short;
use super::steps::Axis;
use crate::text::Grouped;

/// The plot's size and place, in the units of the picture.
const WIDTH: f64 = 400.0;
const LEFT: f64 = 44.0;
/// Room for half of the last label.
const RIGHT: f64 = 14.0;
const TOP: f64 = 8.0;
const HEIGHT: f64 = 104.0;
const BELOW: f64 = 34.0;

/// Half the width of a digit of a label, in the larger type of narrow screens.
const HALF_DIGIT: f64 = 4.6;

/// Bars that differ more than this are drawn on a logarithmic scale.
const MOST_LINEAR: i128 = 1000;

/// What a chart of bars shows.
pub struct Bars<'a> {
    /// What it is of, as a heading.
    pub title: &'a str,
    pub unit: &'a str,
    pub axis: &'a Axis,
    /// One for each step.
    pub values: &'a [i128],
}

/// How values become heights.
#[derive(Clone, Copy)]
struct Scale {
    highest: i128,
    is_logarithmic: bool,
}

impl Scale {
    fn of(values: &[i128]) -> Self {
        let highest = values.iter().copied().max().unwrap_or(0).max(1);
        let lowest = values.iter().copied().filter(|value| *value > 0).min();
        Self {
            highest,
            is_logarithmic: lowest.is_some_and(|lowest| highest / lowest > MOST_LINEAR),
        }
    }

    /// The height of a value, from 0 to 1. Values that are not positive have none.
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    fn height(self, value: i128) -> f64 {
        if value <= 0 {
            return 0.0;
        }
        let (value, highest) = (value as f64, self.highest as f64);
        if self.is_logarithmic {
            // One is visible, and lower than anything else.
            (value.ln() + 0.7) / (highest.ln() + 0.7)
        } else {
            value / highest
        }
    }

    /// The values whose lines are drawn.
    fn ticks(self) -> Vec<i128> {
        if !self.is_logarithmic {
            return if self.highest == 1 {
                vec![1]
            } else {
                vec![self.highest / 2, self.highest]
            };
        }
        let powers: Vec<i128> = std::iter::successors(Some(1_i128), |power| power.checked_mul(10))
            .take_while(|power| *power <= self.highest)
            .collect();
        let every = powers.len().div_ceil(4);
        powers.into_iter().rev().step_by(every).collect()
    }
}

/// A number of the picture, short.
fn unit(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Bars over time.
pub fn bars(chart: &Bars<'_>) -> Markup {
    let scale = Scale::of(chart.values);
    #[expect(clippy::cast_precision_loss, reason = "bars are few")]
    let pitch = WIDTH / chart.values.len().max(1) as f64;
    let floor = TOP + HEIGHT;
    let view = format!("0 0 {} {}", unit(LEFT + WIDTH + RIGHT), unit(floor + BELOW));
    html! {
        figure.chart {
            figcaption {
                (chart.title)
                @if scale.is_logarithmic { " " span.muted { "(logarithmic scale)" } }
            }
            svg viewBox=(view) role="img" aria-label=(summary(chart)) {
                @for tick in scale.ticks() {
                    @let y = unit(floor - HEIGHT * scale.height(tick));
                    line.grid x1=(unit(LEFT)) x2=(unit(LEFT + WIDTH)) y1=(y) y2=(y) {}
                    text.y x=(unit(LEFT - 6.0)) y=(y) { (short(tick)) }
                }
                line.axis x1=(unit(LEFT)) x2=(unit(LEFT + WIDTH)) y1=(unit(floor)) y2=(unit(floor)) {}
                (bar_marks(chart, scale, pitch))
                (x_labels(&chart.axis.labels, pitch))
            }
        }
    }
}

fn bar_marks(chart: &Bars<'_>, scale: Scale, pitch: f64) -> Markup {
    let floor = TOP + HEIGHT;
    let (gap, width) = (pitch * 0.12, (pitch * 0.76).min(48.0));
    #[expect(clippy::cast_precision_loss, reason = "bars are few")]
    let left = |index: usize| LEFT + pitch * index as f64 + gap.max((pitch - width) / 2.0);
    html! {
        @for (index, value) in chart.values.iter().enumerate() {
            @let height = (HEIGHT * scale.height(*value)).max(if *value > 0 { 1.0 } else { 0.0 });
            @let class = if chart.axis.parts[index].is_some() { "part" } else { "bar" };
            @if height > 0.0 {
                rect class=(class) x=(unit(left(index))) y=(unit(floor - height)) width=(unit(width)) height=(unit(height)) {
                    title { (chart.axis.full_label(index)) ": " (Grouped(*value)) " " (chart.unit) }
                }
            }
            @if let Some(mark) = &chart.axis.marks[index] {
                @let x = left(index) + width / 2.0;
                path.mark d=(format!("M{} {}l3.5 6h-7z", unit(x), unit(floor + 3.0))) {
                    title { (chart.axis.labels[index]) ": " (mark) }
                }
            }
        }
    }
}

/// Some labels below the axis: the first, the last, and what has room between them.
fn x_labels(labels: &[String], pitch: f64) -> Markup {
    let widest = labels.first().map_or(4, String::len);
    #[expect(clippy::cast_precision_loss, reason = "labels are short")]
    let room = widest as f64 * 7.0 + 24.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is small"
    )]
    let every = ((room / pitch).ceil() as usize).max(1);
    // Steps of months are named by whole years if they can be.
    let every = if widest == 7 && every > 3 {
        every.div_ceil(12) * 12
    } else {
        every
    };
    let first = if widest == 7 && every >= 12 {
        labels
            .iter()
            .position(|label| label.ends_with("-01"))
            .unwrap_or(0)
    } else {
        0
    };
    let y = unit(TOP + HEIGHT + 24.0);
    html! {
        @for (index, label) in labels.iter().enumerate().skip(first).step_by(every) {
            @let is_year = widest == 7 && every >= 12;
            @let label = if is_year { &label[..4] } else { label.as_str() };
            text.x x=(unit(x_of(index, pitch, label))) y=(y) { (label) }
        }
    }
}

/// Where a label is centred: below its bar, and within the picture.
#[expect(clippy::cast_precision_loss, reason = "labels are few and short")]
fn x_of(index: usize, pitch: f64, label: &str) -> f64 {
    let half = label.len() as f64 * HALF_DIGIT;
    (LEFT + pitch * (index as f64 + 0.5)).clamp(half, LEFT + WIDTH + RIGHT - half)
}

/// What the picture shows, in a sentence.
fn summary(chart: &Bars<'_>) -> String {
    let Bars {
        title,
        unit,
        axis,
        values,
    } = *chart;
    let labels = &axis.labels;
    let (Some(first), Some(last)) = (labels.first(), labels.last()) else {
        return format!("{title}: nothing");
    };
    let highest = labels.iter().zip(values).max_by_key(|(_, value)| **value);
    let sum: i128 = values.iter().sum();
    let most = highest.map_or(String::new(), |(label, value)| {
        format!(", most in {label} with {}", Grouped(*value))
    });
    format!(
        "{title}, {first} to {last}: {} {unit} in all{most}",
        Grouped(sum)
    )
}

/// A line without axes, for a cell of a table.
pub fn sparkline(labels: &[String], values: &[i64]) -> Markup {
    const WIDTH: f64 = 120.0;
    const HEIGHT: f64 = 22.0;
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    let point = |(index, value): (usize, &i64)| {
        let x = WIDTH * (index as f64 + 0.5) / values.len() as f64;
        let y = HEIGHT - 1.5 - (HEIGHT - 3.0) * (*value).max(0) as f64 / highest as f64;
        format!("{} {}", unit(x), unit(y))
    };
    let points: Vec<String> = values.iter().enumerate().map(point).collect();
    let peak = labels.iter().zip(values).max_by_key(|(_, value)| **value);
    let told = match (labels.first(), labels.last(), peak) {
        (Some(first), Some(last), Some((label, value))) => {
            format!("{first} to {last}, most in {label}: {}", Grouped(*value))
        }
        _ => "nothing".to_owned(),
    };
    html! {
        svg.spark viewBox="0 0 120 22" width="120" height="22" role="img" aria-label=(told) {
            title { (told) }
            @if let [point] = &points[..] {
                path d=(format!("M{point}h1")) {}
            } @else {
                path d=(format!("M{}", points.join("L"))) {}
            }
        }
    }
}

/// The bar of a row in a ranked table.
pub fn ranked_bar(value: i64, highest: i64) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    let width = 200.0 * value.max(0) as f64 / highest.max(1) as f64;
    html! {
        svg.ranked viewBox="0 0 200 10" width="200" height="10" preserveAspectRatio="none" aria-hidden="true" {
            rect.bar width=(unit(width.max(if value > 0 { 1.0 } else { 0.0 }))) height="10" rx="1.5" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_logarithmic_only_where_values_differ_much() {
        assert!(!Scale::of(&[0, 1, 1000]).is_logarithmic);
        let scale = Scale::of(&[0, 1, 1001, 5_000_000]);
        assert!(scale.is_logarithmic);
        assert!(scale.height(1) > 0.0 && scale.height(1) < scale.height(1001));
        assert!((scale.height(5_000_000) - 1.0).abs() < 1e-9);
        assert_eq!(scale.height(-5).total_cmp(&0.0), std::cmp::Ordering::Equal);
        assert_eq!(scale.ticks(), [1_000_000, 10_000, 100, 1]);
        assert_eq!(Scale::of(&[]).ticks(), [1]);
    }

    fn axis(labels: &[&str]) -> Axis {
        Axis {
            step: "month",
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            parts: vec![None; labels.len()],
            marks: vec![None; labels.len()],
        }
    }

    #[test]
    fn each_value_has_a_bar_with_its_number_and_each_correction_a_mark() {
        let mut axis = axis(&["2020-01", "2020-02", "2020-03", "2020-04"]);
        axis.marks[1] = Some("2 corrections".to_owned());
        axis.parts[3] = Some("to 2020-04-02".to_owned());
        let chart = Bars {
            title: "Views",
            unit: "views",
            axis: &axis,
            values: &[1234, 0, -5, 7],
        };
        let svg = bars(&chart).into_string();
        for part in [
            "<title>2020-01: 1,234 views</title>",
            "<title>2020-02: 2 corrections</title>",
            "<title>2020-04 (to 2020-04-02): 7 views</title>",
            "Views, 2020-01 to 2020-04: 1,236 views in all, most in 2020-01 with 1,234",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        let number = |class| svg.matches(&format!("<rect class=\"{class}\"")).count();
        assert_eq!((number("bar"), number("part")), (1, 1));
    }

    #[test]
    fn nothing_makes_an_empty_chart() {
        let chart = Bars {
            title: "Views",
            unit: "views",
            axis: &axis(&[]),
            values: &[],
        };
        assert!(bars(&chart).into_string().contains("Views: nothing"));
        assert!(sparkline(&[], &[]).into_string().contains("nothing"));
        assert!(
            sparkline(&["2020".to_owned()], &[7])
                .into_string()
                .contains("most in 2020: 7")
        );
    }
}
