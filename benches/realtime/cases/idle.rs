//! What a browser costs that only listens. Servers take their 60 s at the same time, each with a
//! process of browsers of its own: this program again, called with `--idle SERVER`.

use std::{
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use super::Context;
use crate::{
    crowd::{Crowd, Faults},
    figures::{Goal, Row},
    peers::Kind,
    process::TICK,
};

const USUAL: usize = 10_000;

pub(crate) fn run(context: &mut Context) -> Vec<Row> {
    let mut memory = Row::new("PSS a connection", "KiB", Goal::AtMost(10.0));
    let mut cpu = Row::new("CPU a connection and second", "µs", Goal::AtMost(1.0));
    let peers = [
        Kind::Uws,
        Kind::Nchan,
        Kind::Mosquitto,
        Kind::SocketIo,
        Kind::Ws,
    ];
    let servers = context.settings.servers(&peers);
    for round in 1..=context.rounds() {
        eprintln!(
            "bench: round {round} of {}, all servers at once",
            context.rounds()
        );
        let mut running: Vec<Browsers> =
            servers.iter().map(|kind| Browsers::start(*kind)).collect();
        // Each stage is over at all servers before the next one begins at any: pages that two
        // processes share count half at each, so none may come or go between two readings.
        for _stage in [STARTED, FULL, READ] {
            running.iter_mut().for_each(Browsers::await_stage);
            running.iter_mut().for_each(Browsers::go_on);
        }
        for browsers in running {
            let kind = browsers.kind;
            let Some([pss, microseconds, lost, closed]) = browsers.figures() else {
                let failure = format!("idle: {}: its browsers ended", kind.name());
                context.failures.push(failure);
                continue;
            };
            if closed > 0.0 {
                let failure = format!("idle: {}: {closed} of its connections ended", kind.name());
                context.failures.push(failure);
            } else {
                memory.add(kind, pss);
                cpu.add(kind, microseconds);
            }
            let faults = Faults {
                lost: lost as u64,
                closed: closed as u64,
                ..Faults::default()
            };
            context.note(kind, faults);
        }
    }
    vec![memory, cpu]
}

/// The stages that all servers pass together, each told by a line.
const STARTED: &str = "started";
const FULL: &str = "full";
const READ: &str = "read";

/// The process that holds one server's browsers.
struct Browsers {
    kind: Kind,
    child: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Browsers {
    fn start(kind: Kind) -> Self {
        // It ends with this process, and its server with it.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--idle", kind.key()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            kind,
            child,
            output,
            said: String::new(),
        }
    }

    fn await_stage(&mut self) {
        self.said.clear();
        // Nothing if it has ended, which `figures` tells.
        self.output.read_line(&mut self.said).unwrap();
    }

    fn go_on(&mut self) {
        let _gone = writeln!(self.child.stdin.as_mut().unwrap());
    }

    /// What it said last, if it came so far.
    fn figures(mut self) -> Option<[f64; 4]> {
        let ended_well = self.child.wait().unwrap().success();
        let words = self.said.strip_prefix(READ)?.split_whitespace();
        let figures: Vec<f64> = words.map(|word| word.parse().unwrap()).collect();
        figures.try_into().ok().filter(|_| ended_well)
    }
}

/// The process of one server's browsers: prints PSS, CPU, and what was lost and closed.
pub(crate) fn measure(context: &Context, kind: Kind) {
    let browsers = context.browsers(USUAL);
    let server = context.bench.start(kind);
    stage(STARTED);
    let empty = server.group.pss() as f64;
    let crowd = Crowd::gather(&server.door(&context.bench, false), browsers, 1, |_| {
        vec![0]
    });
    server.publisher(true).publish(0, crowd.number(0));
    crowd.settle();
    stage(FULL);
    let before = server.group.ticks();
    // Two pings, of one every 25 s.
    let seconds = context.settings.seconds.unwrap_or(60);
    thread::sleep(Duration::from_secs(seconds));
    let ticks = server.group.ticks() - before;
    let memory = (server.group.pss() as f64 - empty) / browsers as f64;
    let cpu = ticks as f64 * TICK / seconds as f64 / browsers as f64;
    let faults = crowd.faults();
    eprintln!(
        "bench: {:>14}: {memory:.2} KiB, {ticks} ticks in {seconds} s",
        kind.name()
    );
    stage(&format!(
        "{READ} {memory} {cpu} {} {}",
        faults.lost, faults.closed
    ));
}

/// Says that a stage is reached, and waits for the others.
fn stage(name: &str) {
    println!("{name}");
    let read = stdin().read_line(&mut String::new()).unwrap();
    // The benchmark has gone: so must this process, and its server with it.
    assert!(read > 0, "interrupted");
}
