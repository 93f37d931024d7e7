//! The stress program: dozens of scenarios at once against built sidecars, over TLS and real
//! sockets, each checking that what it is owed arrives exactly once, in order and nowhere else.
//!
//! `STRESS_SECONDS` (20) is about how long it takes, `STRESS_SEED` has the dice fall as they did;
//! `STRESS=certificates` runs the one of ten thousand sockets instead. Arguments choose scenarios
//! by parts of their names. What a single exchange must look like is tested in `tests/sidecar`.

mod browser;
mod certificates;
mod churn;
mod deadlines;
mod dice;
mod ending;
mod fan_out;
mod feed;
mod frames;
#[path = "../sidecar/harness/mod.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod harness;
mod ledger;
mod limits;
mod presence;
mod publishing;
mod races;
mod recovery;
mod slow;
mod streams;
mod users;
mod world;

use std::{
    env,
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::{JoinError, JoinSet};

use dice::Dice;
use world::World;

/// One thing that is done, and what must hold while and after it is.
pub(crate) struct Scenario {
    name: &'static str,
    run: Run,
}

type Run = fn(Arc<World>, Dice) -> Pin<Box<dyn Future<Output = String> + Send>>;

/// What became of a scenario.
struct Outcome {
    name: &'static str,
    took: Duration,
    /// Its counters, or what went wrong.
    result: Result<String, String>,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str, run: Run) -> Self {
        Self { name, run }
    }
}

fn main() -> ExitCode {
    if let Ok(request) = env::var(publishing::CHILD) {
        return publishing::child(&request);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        eprintln!("stress: no runtime");
        return ExitCode::FAILURE;
    };
    raise_open_files();
    // Where and why; what led there tells nothing more.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let chosen: Vec<String> = env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let failed = runtime.block_on(run(&chosen));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs what was chosen; how many failed.
async fn run(chosen: &[String]) -> usize {
    let is_chosen = |scenario: &Scenario| {
        let mut parts = chosen.iter();
        chosen.is_empty() || parts.any(|part| scenario.name.contains(part.as_str()))
    };
    let swaps = env::var("STRESS").is_ok_and(|run| run == "certificates");
    let mut together = if swaps {
        certificates::scenarios()
    } else {
        together()
    };
    let mut alone = if swaps { Vec::new() } else { users::measured() };
    together.retain(is_chosen);
    alone.retain(is_chosen);
    if together.is_empty() && alone.is_empty() {
        return 0;
    }
    let seconds = number("STRESS_SECONDS").unwrap_or(20).max(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("STRESS_SEED").unwrap_or_else(|| now.map_or(0, |n| n.as_secs()));
    println!("stress: STRESS_SECONDS={seconds} STRESS_SEED={seed}");
    let began = Instant::now();
    let world = Arc::new(World::start(Duration::from_secs(seconds)).await);
    let mut failed = 0;
    let mut passed = 0;
    let mut count = |outcome: Outcome| {
        let took = outcome.took.as_secs_f32();
        match outcome.result {
            Ok(counters) => {
                passed += 1;
                println!("ok    {:<44} {took:>5.1} s  {counters}", outcome.name);
            }
            Err(wrong) => {
                failed += 1;
                println!("FAIL  {:<44} {took:>5.1} s  {wrong}", outcome.name);
            }
        }
    };
    let mut running = JoinSet::new();
    for scenario in together {
        running.spawn(one(scenario, Arc::clone(&world), seed));
    }
    while let Some(outcome) = running.join_next().await {
        outcome.into_iter().for_each(&mut count);
    }
    for scenario in alone {
        count(one(scenario, Arc::clone(&world), seed).await);
    }
    if !swaps {
        let last = Scenario::new("nothing_leaks", |world, _| Box::pin(ending::leaks(world)));
        count(one(last, world, seed).await);
    }
    let took = began.elapsed().as_secs_f32();
    println!("stress: {passed} passed, {failed} failed in {took:.1} s (STRESS_SEED={seed})");
    failed
}

fn together() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(fan_out::scenarios());
    all.extend(churn::scenarios());
    all.extend(races::scenarios());
    all.extend(recovery::scenarios());
    all.extend(slow::scenarios());
    all.extend(deadlines::scenarios());
    all.extend(frames::scenarios());
    all.extend(limits::scenarios());
    all.extend(publishing::scenarios());
    all.extend(presence::scenarios());
    all.extend(users::scenarios());
    all.extend(streams::scenarios());
    all.extend(ending::scenarios());
    all
}

async fn one(scenario: Scenario, world: Arc<World>, seed: u64) -> Outcome {
    let Scenario { name, run } = scenario;
    let began = Instant::now();
    let mut task = JoinSet::new();
    task.spawn(run(world, Dice::new(seed, name)));
    let ended = task.join_next().await;
    let result = ended.map(|ended| ended.map_err(words));
    Outcome {
        name,
        took: began.elapsed(),
        result: result.unwrap_or_else(|| Err("did not run".into())),
    }
}

/// What a scenario said when it stopped.
fn words(error: JoinError) -> String {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    text.unwrap_or_else(|| "stopped without a word".into())
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Each browser is an open file.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Too few show where they run out.
    let _ = setrlimit(Resource::Nofile, raised);
}
