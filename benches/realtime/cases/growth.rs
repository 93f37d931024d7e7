//! How the cost of a delivery grows with the crowd, beside a loop of `write(2)`: and whether 19,000
//! browsers get everything.

use super::{Context, Plan, turns};
use crate::{
    figures::{Goal, Row},
    load::{Load, TICKS},
    peers::Kind,
};

const FEW: usize = 100;

/// The program and each server may have 20,000 files open on a machine as it comes.
const MANY: usize = 19_000;

pub(crate) fn run(context: &mut Context) -> Vec<Row> {
    let mut few = Row::new("CPU a delivery, 100 browsers", "µs", Goal::None);
    let mut many = Row::new("CPU a delivery, 19,000 browsers", "µs", Goal::None);
    let mut growth = Row::new("growth", "×", Goal::Ratio(Kind::Bare, 1.2));
    let mut wrong = Row::new(
        "lost, doubled, out of order or misrouted, and connections ended, 19,000 browsers",
        "",
        Goal::AtMost(0.0),
    );
    let plan = Plan {
        channels: 1,
        each: 1,
        load: Load::Flat {
            channels: 1,
            window: 1,
        },
        keeps: true,
        length: context.length(3),
    };
    let crowd = context.browsers(MANY);
    turns(context, &[Kind::Bare], |context, kind| {
        let small = context.measured(kind, FEW, &plan);
        let large = context.measured(kind, crowd, &plan);
        few.add_cost(kind, &small, small.delivered);
        many.add_cost(kind, &large, large.delivered);
        growth.add(
            kind,
            large.cost(large.delivered) / small.cost(small.delivered),
        );
        growth.coarse |= small.ticks.min(large.ticks) < TICKS;
        wrong.add(kind, large.faults.total() as f64);
    });
    vec![few, many, growth, wrong]
}
