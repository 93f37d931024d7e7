//! Thousands of interleavings of the hub, each decided by a seed: publishers, clients, slow
//! readers, cuts, revocations and the passing of time, with the clock paused and no socket.
//!
//! `SIMULATION_RUNS` says how many, `SIMULATION_SEED` where to begin: a failure names its seed.

mod browser;
mod random;
mod truth;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use truth::Truth;
use world::World;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn run(seed: u64) -> Truth {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step().await;
        }
        world.end().await
    })
}

#[test]
fn no_interleaving_loses_doubles_disorders_or_misroutes_anything_unsaid() {
    let (first, runs) = (
        setting("SIMULATION_SEED", 1),
        setting("SIMULATION_RUNS", 1_000),
    );
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for seed in first..first + runs {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(truth) => {
                for (what, count) in truth.counts {
                    *counts.entry(what).or_default() += count;
                }
            }
            Err(_) => {
                panic!("run again: SIMULATION_SEED={seed} SIMULATION_RUNS=1 cargo test simulation")
            }
        }
    }
    println!("simulation: {runs} runs from seed {first}: {counts:?}");
    if runs < 1_000 {
        return;
    }
    for what in [
        "announcements",
        "conflations",
        "deliveries",
        "disconnections",
        "evictions",
        "expiries",
        "gaps told",
        "interruptions",
        "newest given",
        "outside the stream",
        "publications",
        "reconnections",
        "recoveries",
        "refusals",
        "revocations",
        "slow",
        "unsubscriptions",
    ] {
        assert!(
            counts.get(what).is_some_and(|count| *count > 0),
            "{what} never happened"
        );
    }
}
