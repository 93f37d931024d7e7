//! What Sidewire's realtime side costs, beside other servers in the same run: `make bench-realtime`.
//!
//! The built programs, real TLS, real WebSockets; the browsers and publishers live in this process,
//! on the same machine. Prints a table with the goals, and asserts nothing of the figures: it fails if
//! something could not be measured, or if Sidewire lost, doubled or misrouted a message.
//!
//! `CASE` names cases, `PEERS` servers (`none`: Sidewire alone); `ROUNDS`, `SECONDS` and `BROWSERS`
//! replace what a case has of its own; `SIDEWIRE` is another program than the one built along.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a benchmark may stop at the first surprise, prints, and has threads that sleep"
)]

mod bare;
mod browser;
mod cases;
mod certificate;
mod crowd;
mod figures;
mod load;
mod message;
mod peers;
mod process;
mod protocols;
mod publisher;
mod settings;
mod sidewire_config;

use std::{env, fs, process::ExitCode, time::Instant};

use cases::{ALL, Case, Context};
use certificate::Pair;
use peers::{Bench, Kind};
use settings::Settings;
use sidewire_config::Lifts;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let files = process::raise_open_files();
    if let ["--bare", socket] = arguments[..] {
        bare::serve(socket);
        return ExitCode::SUCCESS;
    }
    let directory = tempfile::Builder::new()
        .prefix("sidewire-bench")
        .tempdir()
        .unwrap();
    process::end_on_signals(directory.path().to_owned());
    let context = prepare(directory.path());
    let mut kinds = Kind::ALL.into_iter();
    let good = match arguments[..] {
        ["--idle", key] => {
            cases::idle::measure(&context, kinds.find(|kind| kind.key() == key).unwrap());
            true
        }
        _ => measure(context, files),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn prepare(directory: &std::path::Path) -> Context {
    let settings = Settings::read();
    let pair = Pair::make(directory);
    let lifts = Lifts::find(&settings.program, &pair, directory);
    let bench = Bench {
        directory: directory.to_owned(),
        pair,
        program: settings.program.clone(),
        lifts,
    };
    Context {
        bench,
        settings,
        faults: Vec::new(),
        failures: Vec::new(),
    }
}

/// Measures and prints; whether all was measured, and every message of Sidewire's arrived as it should.
fn measure(mut context: Context, files: u64) -> bool {
    let chosen = chosen(&context.settings);
    eprintln!(
        "bench: {} of {} cases; {files} files may be open",
        chosen.len(),
        ALL.len()
    );
    let started = Instant::now();
    let mut rows = Vec::new();
    for case in &chosen {
        eprintln!(
            "bench: {}: {} ({} s so far)",
            case.name,
            case.title,
            started.elapsed().as_secs()
        );
        let done = context.attempt(case.name, case.run);
        rows.push((case.title, done.unwrap_or_default()));
    }
    println!("{}{}", machine(), context.settings.text());
    println!(
        "Lifted in Sidewire's configuration: {}.\n",
        context.bench.lifts.text()
    );
    println!("{}", figures::table(&rows));
    for (kind, faults) in &context.faults {
        println!("- {}, all cases: {faults}", kind.name());
    }
    for failure in &context.failures {
        println!("- Not measured: {failure}");
    }
    eprintln!("bench: {} s", started.elapsed().as_secs());
    let mut faults = context.faults.iter();
    let wrong = faults.any(|(kind, faults)| *kind == Kind::Sidewire && faults.total() > 0);
    !wrong && context.failures.is_empty()
}

fn chosen(settings: &Settings) -> Vec<&'static Case> {
    for name in &settings.cases {
        let known = ALL.iter().any(|case| case.name == name);
        let names = ALL.each_ref().map(|case| case.name);
        assert!(
            known,
            "CASE: found {name:?}, expected some of {}",
            names.join(", ")
        );
    }
    let wanted = |case: &&Case| {
        settings.cases.is_empty() || settings.cases.iter().any(|name| name == case.name)
    };
    ALL.iter().filter(wanted).collect()
}

/// What the figures were taken on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = processors
        .lines()
        .filter(|line| line.starts_with("model name"));
    let model = lines.next().and_then(|line| line.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), Linux {}, the load on the same cores.",
        model.map_or("unknown", |(_, model)| model),
        kernel.split('.').take(2).collect::<Vec<_>>().join(".")
    )
}
