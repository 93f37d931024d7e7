//! What a run is told by its environment: which cases, how many rounds, how long, beside whom.

use std::{env, path::PathBuf, str::FromStr};

use crate::peers::Kind;

/// The settings of a run; what is not given is the case's own.
pub(crate) struct Settings {
    pub(crate) cases: Vec<String>,
    pub(crate) rounds: Option<usize>,
    /// Of measuring, exactly; otherwise until the CPU time is read off finely enough.
    pub(crate) seconds: Option<u64>,
    pub(crate) browsers: Option<usize>,
    peers: Option<Vec<Kind>>,
    pub(crate) program: PathBuf,
}

impl Settings {
    pub(crate) fn read() -> Self {
        Self {
            cases: list("CASE"),
            rounds: number("ROUNDS"),
            seconds: number("SECONDS"),
            browsers: number("BROWSERS"),
            peers: word("PEERS")
                .map(|_| list("PEERS").iter().filter_map(|name| peer(name)).collect()),
            program: word("SIDEWIRE")
                .map_or_else(|| env!("CARGO_BIN_EXE_sidewire").into(), PathBuf::from),
        }
    }

    /// What replaces the cases' own numbers, in words.
    pub(crate) fn text(&self) -> String {
        let numbers = [
            ("browsers", self.browsers.map(|number| number as u64)),
            ("rounds", self.rounds.map(|number| number as u64)),
            ("seconds", self.seconds),
        ];
        let given = numbers
            .iter()
            .filter_map(|(name, number)| Some(format!(" {}: {}.", name, (*number)?)));
        given.collect()
    }

    /// Those of `peers` that this run is to measure, Sidewire before them.
    pub(crate) fn servers(&self, peers: &[Kind]) -> Vec<Kind> {
        let wanted = |kind: &&Kind| {
            self.peers
                .as_ref()
                .is_none_or(|chosen| chosen.contains(kind))
        };
        let chosen = peers.iter().filter(wanted).copied();
        [Kind::Sidewire].into_iter().chain(chosen).collect()
    }
}

fn word(name: &str) -> Option<String> {
    env::var(name).ok().filter(|word| !word.is_empty())
}

fn list(name: &str) -> Vec<String> {
    let words = word(name).unwrap_or_default();
    let words = words.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let word = word(name)?;
    let Ok(number) = word.parse() else {
        panic!("{name}: found {word:?}, expected a number; such as {name}=3");
    };
    Some(number)
}

fn peer(name: &str) -> Option<Kind> {
    let known = Kind::ALL.into_iter().find(|kind| kind.key() == name);
    assert!(
        known.is_some() || name == "none",
        "PEERS: found {name:?}, expected {} or none",
        Kind::ALL.map(Kind::key).join(", ")
    );
    known
}
