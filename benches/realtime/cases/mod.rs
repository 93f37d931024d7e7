//! The cases: what each does to every server in turn, and what is asked of its figures.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    crowd::{Crowd, Faults},
    figures::{Goal, Row},
    load::{Length, Load, Measured, TICKS, measure},
    peers::{Bench, Kind, Server},
    settings::Settings,
};

mod connect;
mod growth;
pub(crate) mod idle;
mod page;

/// What all cases work with.
pub(crate) struct Context {
    pub(crate) bench: Bench,
    pub(crate) settings: Settings,
    /// Everything that went wrong with messages so far, by server.
    pub(crate) faults: Vec<(Kind, Faults)>,
    /// What could not be measured, in words.
    pub(crate) failures: Vec<String>,
}

type Run = fn(&mut Context) -> Vec<Row>;

/// A case of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: Run,
}

/// All cases, in the order of the table.
pub(crate) const ALL: [Case; 11] = [
    Case {
        name: "one_channel",
        title: "One channel, 1,000 browsers, 20 messages/s",
        run: one_channel,
    },
    Case {
        name: "flat_out",
        title: "One channel, 1,000 browsers, as fast as it goes, 16 in flight",
        run: flat_out,
    },
    Case {
        name: "burst",
        title: "Burst: 1,000 browsers with 4 channels each, 4 publishers as fast as they can",
        run: burst,
    },
    Case {
        name: "light",
        title: "Light: 100 browsers, 10 messages/s",
        run: light,
    },
    Case {
        name: "unicast",
        title: "Unicast: 1,000 channels, one browser each, 1,000 messages/s",
        run: unicast,
    },
    Case {
        name: "publish_php",
        title: "Publish as PHP does: a new connection each",
        run: publish_php,
    },
    Case {
        name: "publish_kept",
        title: "Publish on a kept connection",
        run: publish_kept,
    },
    Case {
        name: "idle",
        title: "Idle: 10,000 browsers, after one delivery and two pings, over 60 s",
        run: idle::run,
    },
    Case {
        name: "connect",
        title: "TLS, upgrade, connect, subscribe, close",
        run: connect::run,
    },
    Case {
        name: "page",
        title: "Page requests, 50/s, while 5,000 browsers get 5 messages/s each",
        run: page::run,
    },
    Case {
        name: "growth",
        title: "Cost of a delivery from 100 to 19,000 browsers, one message at a time",
        run: growth::run,
    },
];

impl Context {
    pub(crate) fn rounds(&self) -> usize {
        self.settings.rounds.unwrap_or(3)
    }

    pub(crate) fn browsers(&self, usual: usize) -> usize {
        self.settings.browsers.unwrap_or(usual)
    }

    /// Until the CPU time is read finely enough, and `at_least` so many seconds.
    pub(crate) fn length(&self, at_least: u64) -> Length {
        Length {
            exactly: self.settings.seconds,
            at_least,
            ticks: TICKS,
        }
    }

    /// For figures that need no CPU time: exactly so many seconds.
    pub(crate) fn seconds(&self, seconds: u64) -> Length {
        Length {
            exactly: Some(self.settings.seconds.unwrap_or(seconds)),
            at_least: seconds,
            ticks: 0,
        }
    }

    /// Notes what went wrong at `kind`, and says so at once.
    pub(crate) fn note(&mut self, kind: Kind, faults: Faults) {
        if faults.total() > 0 {
            eprintln!("bench: {}: {faults}", kind.name());
        }
        match self.faults.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, all)) => *all += faults,
            None => self.faults.push((kind, faults)),
        }
    }

    /// Does `work`; if it panics, that is noted, and the run goes on.
    pub(crate) fn attempt<T>(
        &mut self,
        what: &str,
        work: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(done) => Some(done),
            Err(fault) => {
                let text = fault.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| fault.downcast_ref::<&str>().copied());
                self.failures
                    .push(format!("{what}: {}", text.unwrap_or("failed")));
                None
            }
        }
    }

    /// One measurement on a server of its own.
    fn measured(&mut self, kind: Kind, browsers: usize, plan: &Plan) -> Measured {
        let server = self.bench.start(kind);
        let measured = self.measured_on(&server, browsers, plan);
        self.note(kind, measured.faults);
        measured
    }

    fn measured_on(&self, server: &Server, browsers: usize, plan: &Plan) -> Measured {
        let channels_of = |number: usize| {
            let first = number * plan.each % plan.channels;
            (first..first + plan.each).collect()
        };
        let door = server.door(&self.bench, false);
        let crowd = Crowd::gather(&door, browsers, plan.channels, channels_of);
        let measured = measure(server, &crowd, plan.load, plan.keeps, plan.length);
        eprintln!(
            "bench: {:>14}: {} published, {} delivered in {:.1} s, {} ticks",
            server.kind.name(),
            measured.published,
            measured.delivered,
            measured.seconds,
            measured.ticks,
        );
        measured
    }
}

/// A load, and whom it reaches.
struct Plan {
    channels: usize,
    /// Channels that a browser follows.
    each: usize,
    load: Load,
    keeps: bool,
    length: Length,
}

/// Every server in turn, round by round.
fn turns(context: &mut Context, peers: &[Kind], mut each: impl FnMut(&mut Context, Kind)) {
    let servers = context.settings.servers(peers);
    for round in 1..=context.rounds() {
        eprintln!("bench: round {round} of {}", context.rounds());
        for kind in &servers {
            context.attempt(kind.name(), |context| each(context, *kind));
        }
    }
}

fn one_channel(context: &mut Context) -> Vec<Row> {
    let mut cost = Row::new("CPU a delivery", "µs", Goal::Ratio(Kind::Uws, 1.0));
    let mut middle = Row::new(
        "published to received, p50",
        "ms",
        Goal::Ratio(Kind::Uws, 1.0),
    );
    let mut slow = Row::new(
        "published to received, p99",
        "ms",
        Goal::Ratio(Kind::Uws, 1.0),
    );
    let mut joined = Row::new("messages a write", "", Goal::None);
    let plan = Plan {
        channels: 1,
        each: 1,
        load: Load::Paced {
            rate: 20,
            channels: 1,
        },
        keeps: true,
        length: context.length(8),
    };
    let browsers = context.browsers(1_000);
    let peers = [
        Kind::Uws,
        Kind::Nchan,
        Kind::Mosquitto,
        Kind::SocketIo,
        Kind::Ws,
    ];
    turns(context, &peers, |context, kind| {
        let measured = context.measured(kind, browsers, &plan);
        cost.add_cost(kind, &measured, measured.delivered);
        middle.add(kind, measured.latency.quantile(0.5));
        slow.add(kind, measured.latency.quantile(0.99));
        joined.add_joined(kind, &measured);
    });
    vec![cost, middle, slow, joined]
}

fn flat_out(context: &mut Context) -> Vec<Row> {
    let load = Load::Flat {
        channels: 1,
        window: 16,
    };
    as_fast_as_it_goes(context, load, (1, 1), 0.3)
}

fn burst(context: &mut Context) -> Vec<Row> {
    let load = Load::Flat {
        channels: 4,
        window: 4,
    };
    as_fast_as_it_goes(context, load, (4, 4), 1.0)
}

fn as_fast_as_it_goes(
    context: &mut Context,
    load: Load,
    (channels, each): (usize, usize),
    goal: f64,
) -> Vec<Row> {
    let mut cost = Row::new("CPU a delivery", "µs", Goal::Ratio(Kind::Uws, goal));
    let mut rate = Row::new("deliveries", "thousand/s", Goal::None);
    let mut joined = Row::new("messages a write", "", Goal::None);
    let plan = Plan {
        channels,
        each,
        load,
        keeps: true,
        length: context.length(3),
    };
    let browsers = context.browsers(1_000);
    turns(context, &[Kind::Uws, Kind::Nchan], |context, kind| {
        let measured = context.measured(kind, browsers, &plan);
        cost.add_cost(kind, &measured, measured.delivered);
        rate.add(kind, measured.delivered as f64 / measured.seconds / 1e3);
        joined.add_joined(kind, &measured);
    });
    vec![cost, rate, joined]
}

fn light(context: &mut Context) -> Vec<Row> {
    let mut middle = Row::new(
        "published to received, p50",
        "ms",
        Goal::Ratio(Kind::Uws, 1.0),
    );
    let mut slow = Row::new("published to received, p99", "ms", Goal::None);
    let plan = Plan {
        channels: 1,
        each: 1,
        load: Load::Paced {
            rate: 10,
            channels: 1,
        },
        keeps: true,
        length: context.seconds(10),
    };
    let browsers = context.browsers(100);
    turns(context, &[Kind::Uws], |context, kind| {
        let measured = context.measured(kind, browsers, &plan);
        middle.add(kind, measured.latency.quantile(0.5));
        slow.add(kind, measured.latency.quantile(0.99));
    });
    vec![middle, slow]
}

fn unicast(context: &mut Context) -> Vec<Row> {
    let mut cost = Row::new(
        "CPU a publish and its delivery",
        "µs",
        Goal::Ratio(Kind::Nchan, 0.7),
    );
    let mut middle = Row::new("published to received, p50", "ms", Goal::None);
    let browsers = context.browsers(1_000);
    let plan = Plan {
        channels: browsers,
        each: 1,
        load: Load::Paced {
            rate: 1_000,
            channels: browsers,
        },
        keeps: true,
        length: context.length(10),
    };
    turns(context, &[Kind::Nchan], |context, kind| {
        let measured = context.measured(kind, browsers, &plan);
        cost.add_cost(kind, &measured, measured.delivered);
        middle.add(kind, measured.latency.quantile(0.5));
    });
    vec![cost, middle]
}

fn publish_php(context: &mut Context) -> Vec<Row> {
    publish(
        context,
        false,
        &[Kind::Nchan],
        Goal::Ratio(Kind::Nchan, 1.0),
    )
}

fn publish_kept(context: &mut Context) -> Vec<Row> {
    publish(context, true, &[Kind::Nchan], Goal::AtMost(30.0))
}

/// Publishing alone: nobody follows the channel, so that this is not the cost of a delivery.
fn publish(context: &mut Context, keeps: bool, peers: &[Kind], goal: Goal) -> Vec<Row> {
    let mut cost = Row::new("CPU a publish", "µs", goal);
    let mut middle = Row::new("published to answered, p50", "ms", Goal::None);
    let plan = Plan {
        channels: 1,
        each: 1,
        load: Load::Flat {
            channels: 1,
            window: 1,
        },
        keeps,
        length: context.length(3),
    };
    turns(context, peers, |context, kind| {
        let measured = context.measured(kind, 0, &plan);
        cost.add_cost(kind, &measured, measured.published);
        middle.add(kind, measured.answer.quantile(0.5));
    });
    vec![cost, middle]
}

impl Row {
    fn add_cost(&mut self, kind: Kind, measured: &Measured, operations: u64) {
        self.add(kind, measured.cost(operations));
        self.coarse |= measured.ticks < TICKS;
    }

    fn add_joined(&mut self, kind: Kind, measured: &Measured) {
        if let Some(joined) = measured.joined {
            self.add(kind, joined);
        }
    }
}
