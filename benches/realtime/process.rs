//! A server's processes: started in a group of their own, measured as one, ended by their id.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// A tick of `/proc/PID/stat`, in µs of CPU time.
pub(crate) const TICK: f64 = 10_000.0;

/// The groups that run now, for a benchmark that is interrupted.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A process group that this run has started.
pub(crate) struct Group {
    child: Child,
    id: Pid,
    errors: PathBuf,
}

impl Group {
    /// Starts `program`; what it says on standard error goes to a file in `directory`.
    ///
    /// It ends with this thread even if that is killed: to be called on the main thread.
    pub(crate) fn start(program: &Path, arguments: &[&str], directory: &Path) -> Self {
        let errors = directory.join("errors");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors).unwrap())
            .process_group(0)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("setpriv {}: {error}", program.display()));
        let id = Pid::from_child(&child);
        RUNNING.lock().unwrap().push(id);
        Self { child, id, errors }
    }

    /// The lines that it prints until one fulfils `last`; the rest is read and dropped.
    pub(crate) fn lines(&mut self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let done = last(&line);
            seen.push(line);
            if done {
                thread::spawn(move || lines.for_each(drop));
                return seen;
            }
        }
        panic!(
            "a server ended before it was ready: {}{}",
            seen.join("\n"),
            self.errors()
        )
    }

    /// What it said on standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// User and system time of all its processes so far, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        self.sum(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
            let user: u64 = fields.next()?.parse().ok()?;
            Some(user + fields.next()?.parse::<u64>().ok()?)
        })
    }

    /// The proportional set size of all its processes, in KiB.
    pub(crate) fn pss(&self) -> u64 {
        self.sum(|id| {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse().ok()
        })
    }

    fn sum(&self, figure: impl Fn(u32) -> Option<u64>) -> u64 {
        let members = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let group = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(2)?
                .parse()
                .ok()?;
            (Pid::from_raw(group) == Some(self.id)).then_some(id)
        });
        members.filter_map(figure).sum()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = kill_process_group(self.id, Signal::KILL);
        let _status = self.child.wait();
        RUNNING.lock().unwrap().retain(|id| *id != self.id);
    }
}

/// When this process is interrupted: ends what runs, removes `directory`, and goes.
pub(crate) fn end_on_signals(directory: PathBuf) {
    use tokio::signal::unix::{SignalKind, signal};
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        for id in &*RUNNING.lock().unwrap() {
            let _ended = kill_process_group(*id, Signal::KILL);
        }
        // What can't be removed is in the temporary directory, where it is looked for.
        drop(fs::remove_dir_all(directory));
        std::process::exit(130);
    });
}

/// As many open files as this user may have; returns how many.
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}
