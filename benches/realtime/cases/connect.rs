//! What a browser costs that comes, subscribes and goes, with a full and with a resumed handshake.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Context, turns};
use crate::{
    browser::{Browser, Door},
    figures::{Goal, Row},
    load::TICKS,
    peers::Kind,
    process::TICK,
};

/// Browsers that come and go at the same time.
const AT_ONCE: usize = 4;

struct Visits {
    count: u64,
    resumed: u64,
    ticks: u64,
}

impl Visits {
    /// CPU time a visit, in ms.
    fn cost(&self) -> f64 {
        self.ticks as f64 * TICK / 1e3 / self.count as f64
    }

    fn share_resumed(&self) -> f64 {
        100.0 * self.resumed as f64 / self.count as f64
    }
}

pub(crate) fn run(context: &mut Context) -> Vec<Row> {
    let mut full = Row::new(
        "CPU a visit, full handshake",
        "ms",
        Goal::Ratio(Kind::Uws, 1.2),
    );
    let mut resumed = Row::new("CPU a visit, resumed", "ms", Goal::None);
    let mut share = Row::new(
        "handshakes resumed, of those that asked",
        "%",
        Goal::AtLeast(100.0),
    );
    let mut dearer = Row::new("resumed by full", "", Goal::AtMost(1.0));
    turns(context, &[Kind::Uws, Kind::Nchan], |context, kind| {
        let first = visits(context, kind, false);
        assert_eq!(
            first.resumed, 0,
            "a handshake was resumed that should be full"
        );
        full.add(kind, first.cost());
        full.coarse |= first.ticks < TICKS;
        let second = visits(context, kind, true);
        share.add(kind, second.share_resumed());
        if second.resumed > 0 {
            resumed.add(kind, second.cost());
            dearer.add(kind, second.cost() / first.cost());
        }
    });
    vec![full, resumed, share, dearer]
}

fn visits(context: &Context, kind: Kind, resuming: bool) -> Visits {
    let server = context.bench.start(kind);
    let length = context.length(3);
    let (stop, count, resumed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let visits = thread::scope(|scope| {
        for place in 0..AT_ONCE {
            // A store of tickets each: one is good for one connection.
            let door = server.door(&context.bench, resuming);
            let (stop, count, resumed) = (&stop, &count, &resumed);
            scope.spawn(move || {
                let mut number = place;
                visit(&door, number);
                while !stop.load(Ordering::Relaxed) {
                    number += AT_ONCE;
                    let was = visit(&door, number);
                    resumed.fetch_add(u64::from(was), Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Warm, and past each place's first visit, which can't be resumed.
        thread::sleep(Duration::from_millis(500));
        let counts = || {
            (
                count.load(Ordering::Relaxed),
                resumed.load(Ordering::Relaxed),
            )
        };
        let (before, counted) = (server.group.ticks(), counts());
        let started = Instant::now();
        while !length.is_over(started, &server, before) {
            thread::sleep(Duration::from_millis(50));
        }
        let (ticks, after) = (server.group.ticks() - before, counts());
        stop.store(true, Ordering::Relaxed);
        Visits {
            count: after.0 - counted.0,
            resumed: after.1 - counted.1,
            ticks,
        }
    });
    eprintln!(
        "bench: {:>14}: {} visits, {} of them resumed, {} ticks",
        kind.name(),
        visits.count,
        visits.resumed,
        visits.ticks
    );
    visits
}

/// Comes and goes; says whether the handshake was resumed.
fn visit(door: &Door, number: usize) -> bool {
    let failed = |error| panic!("{}: a visit failed: {error}", door.kind.name());
    let browser = Browser::join(door, number, &[0]).unwrap_or_else(failed);
    let resumed = browser.resumed();
    browser
        .close()
        .unwrap_or_else(|error| panic!("{}: closing: {error}", door.kind.name()));
    resumed
}
