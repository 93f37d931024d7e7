//! Publishing to a crowd while the server's CPU time is read: one measurement.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    crowd::{Crowd, Faults},
    figures::Histogram,
    message::now,
    peers::Server,
    process::TICK,
};

/// Fewer ticks than this, and a figure is too coarse.
pub(crate) const TICKS: u64 = 200;

/// A measurement never takes longer, whatever its ticks.
const LONGEST: Duration = Duration::from_secs(75);

/// How messages are published.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// So many a second by one publisher, to `channels` in turn.
    Paced { rate: u32, channels: usize },
    /// As fast as it goes: a publisher for each of the `channels`, with at most `window` messages on
    /// their way to browsers.
    Flat { channels: usize, window: u64 },
}

/// How long is measured.
#[derive(Clone, Copy)]
pub(crate) struct Length {
    /// Exactly so long; otherwise until the ticks are enough.
    pub(crate) exactly: Option<u64>,
    pub(crate) at_least: u64,
    /// Whether the CPU time is of interest at all.
    pub(crate) ticks: u64,
}

/// What a measurement gave.
pub(crate) struct Measured {
    pub(crate) ticks: u64,
    pub(crate) seconds: f64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    /// From publishing to the browser.
    pub(crate) latency: Histogram,
    /// From publishing to the server's answer.
    pub(crate) answer: Histogram,
    /// Messages a write, of Sidewire.
    pub(crate) joined: Option<f64>,
    pub(crate) faults: Faults,
}

impl Measured {
    /// CPU-µs of the server for each of `operations`.
    pub(crate) fn cost(&self, operations: u64) -> f64 {
        self.ticks as f64 * TICK / operations as f64
    }
}

impl Length {
    pub(crate) fn is_over(self, started: Instant, server: &Server, before: u64) -> bool {
        let elapsed = started.elapsed();
        match self.exactly {
            Some(seconds) => elapsed >= Duration::from_secs(seconds),
            None if elapsed < Duration::from_secs(self.at_least) => false,
            None => elapsed >= LONGEST || server.group.ticks() - before >= self.ticks,
        }
    }
}

/// Runs `load` on `crowd`, first to warm up, then measured. With `keeps`, on kept connections.
pub(crate) fn measure(
    server: &Server,
    crowd: &Crowd,
    load: Load,
    keeps: bool,
    length: Length,
) -> Measured {
    let warm_up = Instant::now() + Duration::from_millis(500);
    run(server, crowd, load, keeps, &mut || {
        Instant::now() >= warm_up
    });
    crowd.settle();
    crowd.reset();
    let joining = server.joining();
    let before = server.group.ticks();
    let started = Instant::now();
    let (published, answer) = run(server, crowd, load, keeps, &mut || {
        length.is_over(started, server, before)
    });
    crowd.settle();
    let seconds = started.elapsed().as_secs_f64();
    let ticks = server.group.ticks() - before;
    let seen = crowd.seen();
    let joined = joining.zip(server.joining());
    Measured {
        ticks,
        seconds,
        published,
        delivered: seen.delivered,
        latency: seen.latency,
        answer,
        joined: joined.map(|(before, after)| (after.0 - before.0) / (after.1 - before.1)),
        faults: crowd.faults(),
    }
}

/// Publishes until `is_over`; says how many messages, and how fast they were answered.
fn run(
    server: &Server,
    crowd: &Crowd,
    load: Load,
    keeps: bool,
    is_over: &mut dyn FnMut() -> bool,
) -> (u64, Histogram) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let publishers: Vec<_> = match load {
            Load::Paced { rate, channels } => {
                vec![scope.spawn(move || paced(server, crowd, (rate, channels), keeps, stop))]
            }
            Load::Flat { channels, window } => (0..channels)
                .map(|channel| {
                    scope.spawn(move || flat(server, crowd, (channel, window), keeps, stop))
                })
                .collect(),
        };
        while !is_over() && !publishers.iter().any(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let mut total = (0, Histogram::default());
        for publisher in publishers {
            let (published, answer) = publisher.join().unwrap();
            total.0 += published;
            total.1.merge(&answer);
        }
        total
    })
}

fn paced(
    server: &Server,
    crowd: &Crowd,
    (rate, channels): (u32, usize),
    keeps: bool,
    stop: &AtomicBool,
) -> (u64, Histogram) {
    let mut publisher = server.publisher(keeps);
    let mut answer = Histogram::default();
    let started = Instant::now();
    let pause = Duration::from_secs(1) / rate;
    let mut published = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let due = started + pause * published;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let channel = usize::try_from(published).unwrap() % channels;
        let before = now();
        publisher.publish(channel, crowd.number(channel));
        answer.add(now() - before);
        published += 1;
    }
    (u64::from(published), answer)
}

fn flat(
    server: &Server,
    crowd: &Crowd,
    (channel, window): (usize, u64),
    keeps: bool,
    stop: &AtomicBool,
) -> (u64, Histogram) {
    let mut publisher = server.publisher(keeps);
    let mut answer = Histogram::default();
    let mut published = 0;
    while !stop.load(Ordering::Relaxed) && crowd.wait(channel, window, stop) {
        let before = now();
        publisher.publish(channel, crowd.number(channel));
        answer.add(now() - before);
        published += 1;
    }
    (published, answer)
}
