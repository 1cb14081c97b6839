//! What was measured, as JSON and as a table.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use sinew_agent::model::Time;
use sinew_bus::clock;
use sinew_server::engine::Durability;

use super::{
    machine::Machine,
    sample::{Rounds, Sample},
};

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    at: Time,
    version: &'static str,
    machine: Machine,
    rounds: usize,
    figures: Vec<Measured>,
}

/// A figure and the durability under which it was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    durability: Durability,
    #[serde(flatten)]
    figure: Figure,
}

/// Several ways of doing one thing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figure {
    name: String,
    unit: Unit,
    lines: Vec<Line>,
}

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Unit {
    /// Times: the less the better.
    #[serde(rename = "us")]
    Microseconds,
    /// A rate: the more the better.
    #[serde(rename = "perSecond")]
    PerSecond,
}

/// One way: the medians over the rounds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    way: String,
    #[serde(flatten)]
    median: Sample,
    lowest_per_second: f64,
    highest_per_second: f64,
    ratios: Vec<Ratio>,
}

/// How a way compares with another one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ratio {
    to: String,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<f64>,
}

impl Report {
    pub(super) fn new(machine: Machine, rounds: usize) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self { at: clock::now(), version, machine, rounds, figures: Vec::new() }
    }

    pub(super) fn add(&mut self, durability: Durability, figures: Vec<Figure>) {
        let measured = figures.into_iter().map(|figure| Measured { durability, figure });
        self.figures.extend(measured);
    }
}

impl Figure {
    pub(super) fn latency(name: impl Into<String>) -> Self {
        Self { name: name.into(), unit: Unit::Microseconds, lines: Vec::new() }
    }

    pub(super) fn rate(name: impl Into<String>) -> Self {
        Self { name: name.into(), unit: Unit::PerSecond, lines: Vec::new() }
    }

    pub(super) fn line(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }
}

impl Line {
    pub(super) fn new(way: impl Into<String>, rounds: &Rounds) -> Self {
        let (lowest_per_second, highest_per_second) = rounds.spread();
        let median = rounds.median();
        Self { way: way.into(), median, lowest_per_second, highest_per_second, ratios: Vec::new() }
    }

    /// Adds how it compares with `other`.
    pub(super) fn against(mut self, to: impl Into<String>, other: &Rounds) -> Self {
        let (own, other) = (self.median, other.median());
        let p50 = own.p50_us.zip(other.p50_us).map(|(own, other)| own / other);
        let per_second = own.per_second / other.per_second;
        self.ratios.push(Ratio { to: to.into(), per_second, p50 });
        self
    }
}

/// The durability in the words of the tables.
pub(super) const fn mode(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "fsync always",
        Durability::Interval => "fsync every 2 min",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, version, machine, rounds, figures } = self;
        let disk = &machine.fsync;
        writeln!(f, "sinew {version}, {at}")?;
        writeln!(f, "{} with {} cores; medians of {rounds} rounds", machine.system, machine.cores)?;
        writeln!(
            f,
            "512 B and fdatasync here: p50 {} p99 {} µs",
            whole(disk.p50_us),
            whole(disk.p99_us)
        )?;
        for Measured { durability, figure } in figures {
            writeln!(f, "\n{} ({})\n{}", figure.name, mode(*durability), figure.table())?;
        }
        Ok(())
    }
}

impl Figure {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let head = match self.unit {
            Unit::Microseconds => ["", "p50 µs", "p99 µs", "p99.9 µs", "ratio of p50"],
            Unit::PerSecond => ["", "per second", "lowest", "highest", "ratio"],
        };
        table.set_header(head);
        for line in &self.lines {
            table.add_row(line.cells(self.unit));
        }
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl Line {
    fn cells(&self, unit: Unit) -> Vec<String> {
        let Sample { per_second, p50_us, p99_us, p999_us } = self.median;
        let figures = match unit {
            Unit::Microseconds => [p50_us, p99_us, p999_us],
            Unit::PerSecond => {
                [Some(per_second), Some(self.lowest_per_second), Some(self.highest_per_second)]
            }
        };
        let ratio = |ratio: &Ratio| {
            let value = match unit {
                Unit::Microseconds => ratio.p50,
                Unit::PerSecond => Some(ratio.per_second),
            };
            format!("{:.2} of {}", value.unwrap_or(f64::NAN), ratio.to)
        };
        let ratios: Vec<String> = self.ratios.iter().map(ratio).collect();
        let mut cells = vec![self.way.clone()];
        cells.extend(figures.map(whole));
        cells.push(ratios.join("; "));
        cells
    }
}

/// A figure without decimals, its thousands apart.
fn whole(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return "-".to_owned() };
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn thousands_are_apart() {
        let check = |figure, expect| assert_eq!(whole(figure), expect);
        check(None, "-");
        check(Some(0.4), "0");
        check(Some(999.6), "1,000");
        check(Some(12_345.0), "12,345");
        check(Some(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_ratio_is_of_what_the_figure_is_about() {
        let rounds = |us: u64| {
            let mut spans = super::super::sample::Spans::new().unwrap();
            spans.add(Duration::from_micros(us));
            Rounds::of(spans.sample(Duration::from_micros(us * 2)))
        };
        let line = || Line::new("a", &rounds(100)).against("b", &rounds(200));
        let latency = Figure::latency("x").line(line()).table().to_string();
        assert!(latency.contains("0.50 of b") && latency.contains("100"), "{latency}");
        let rate = Figure::rate("x").line(line()).table().to_string();
        assert!(rate.contains("2.00 of b") && rate.contains("5,000"), "{rate}");
    }
}
