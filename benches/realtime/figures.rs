//! What comes out: latencies, medians with their range, and the table with its goals.

use std::fmt::Write;

use crate::peers::Kind;

/// Latencies in buckets, each at most 3 % wide.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
}

const STEPS: u64 = 32;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; 64 * 32],
        }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        let value = nanoseconds.max(STEPS);
        let octave = u64::from(value.ilog2()) - 5;
        let bucket = octave * STEPS + ((value >> octave) - STEPS);
        self.counts[usize::try_from(bucket).unwrap()] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
    }

    /// The `share` quantile in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in (0_u64..).zip(&self.counts) {
            seen += count;
            if seen >= wanted {
                let (octave, step) = (bucket / STEPS, bucket % STEPS);
                return ((STEPS + step) << octave) as f64 / 1e6;
            }
        }
        f64::NAN
    }
}

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times what that server needs in the same round.
    Ratio(Kind, f64),
    AtMost(f64),
    AtLeast(f64),
    /// Printed, nothing asked.
    None,
}

/// One line of the table: the rounds' figures by server.
pub(crate) struct Row {
    pub(crate) figure: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    pub(crate) values: Vec<(Kind, Vec<f64>)>,
    /// Whether one of its figures stands on fewer ticks of CPU time than it should.
    pub(crate) coarse: bool,
}

impl Row {
    pub(crate) fn new(figure: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self {
            figure,
            unit,
            goal,
            values: Vec::new(),
            coarse: false,
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, value: f64) {
        match self.values.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, values)) => values.push(value),
            None => self.values.push((kind, vec![value])),
        }
    }

    fn of(&self, kind: Kind) -> Option<&[f64]> {
        let found = self.values.iter().find(|(known, _)| *known == kind);
        found.map(|(_, values)| &values[..])
    }

    /// Sidewire's figure by the peer's, round by round.
    fn ratio(&self, peer: Kind) -> Option<f64> {
        let ours = self.of(Kind::Sidewire)?.iter();
        let mut ratios: Vec<f64> = ours.zip(self.of(peer)?).map(|(a, b)| a / b).collect();
        Some(median(&mut ratios))
    }

    /// The goal in words, and whether it is reached where that can be said.
    fn verdict(&self) -> (String, Option<String>, Option<bool>) {
        let ours = self
            .of(Kind::Sidewire)
            .map(|values| median(&mut values.to_vec()));
        let unit = self.unit;
        match self.goal {
            Goal::Ratio(peer, max) => {
                let ratio = self.ratio(peer);
                let text = ratio.map(|ratio| format!("{ratio:.3}× {}", peer.name()));
                let goal = format!("≤ {max}× {}", peer.name());
                (goal, text, ratio.map(|ratio| ratio <= max))
            }
            Goal::AtMost(max) => {
                let reached = ours.map(|ours| ours <= max);
                (
                    format!("≤ {} {unit}", number(max)).trim_end().into(),
                    None,
                    reached,
                )
            }
            Goal::AtLeast(min) => {
                let reached = ours.map(|ours| ours >= min);
                (
                    format!("≥ {} {unit}", number(min)).trim_end().into(),
                    None,
                    reached,
                )
            }
            Goal::None => ("–".into(), None, None),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let spread = |kind: Kind| self.of(kind).map(spread);
        let peers = self
            .values
            .iter()
            .filter(|(kind, _)| *kind != Kind::Sidewire);
        let mut peers: Vec<String> = peers
            .map(|(kind, values)| format!("{} {}", kind.name(), self::spread(values)))
            .collect();
        if peers.is_empty() {
            peers.push("–".into());
        }
        let (goal, ratio, reached) = self.verdict();
        let reached = match reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let unit = self.unit;
        let coarse = if self.coarse { " ¹" } else { "" };
        format!(
            "| {}{}{coarse} | {} | {} | {} | {goal} | {reached} |",
            self.figure,
            if unit.is_empty() {
                String::new()
            } else {
                format!(", {unit}")
            },
            peers.join("; "),
            spread(Kind::Sidewire).unwrap_or_else(|| "–".into()),
            ratio.unwrap_or_else(|| "–".into()),
        )
    }
}

/// The whole table, in Markdown.
pub(crate) fn table(rows: &[(&'static str, Vec<Row>)]) -> String {
    let mut text = String::from(
        "| figure | peers | Sidewire | ratio | goal | reached |\n|---|---|---|---|---|---|\n",
    );
    for (case, rows) in rows {
        writeln!(text, "| **{case}** | | | | | |").unwrap();
        for row in rows {
            writeln!(text, "{}", row.markdown()).unwrap();
        }
    }
    let coarse = rows
        .iter()
        .any(|(_, rows)| rows.iter().any(|row| row.coarse));
    if coarse {
        text.push_str("\n¹ a figure of this row stands on fewer than 200 ticks of CPU time.\n");
    }
    text
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median, with the range where there is one.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    let middle = median(&mut sorted);
    match (sorted.first(), sorted.last()) {
        (Some(low), Some(high)) if sorted.len() > 1 => {
            format!("{} ({}–{})", number(middle), number(*low), number(*high))
        }
        _ => number(middle),
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
