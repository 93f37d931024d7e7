//! Sidewire's configuration for the benchmark: as shipped, but for limits that stand in the way of a
//! load that no site has. Which ones were lifted is printed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{certificate::Pair, peers::SECRET};

/// A key that is set, and why.
struct Lifted {
    table: &'static str,
    key: &'static str,
    value: &'static str,
    why: &'static str,
}

const LIFTED: [Lifted; 5] = [
    Lifted {
        table: "listener",
        key: "connections_max",
        value: "25_000",
        why: "19,000 browsers at once",
    },
    Lifted {
        table: "realtime",
        key: "connections_max",
        value: "25_000",
        why: "19,000 browsers at once",
    },
    Lifted {
        table: "realtime",
        key: "upgrades_per_second_max",
        value: "100_000",
        why: "browsers come as fast as they can",
    },
    Lifted {
        table: "publish",
        key: "ids_max",
        value: "4_000_000",
        why: "publishing as fast as it goes for longer than the window of timestamps",
    },
    Lifted {
        table: "publish",
        key: "replies_max",
        value: "\"1GiB\"",
        why: "the replies to those",
    },
];

/// The keys of [`LIFTED`] that this program knows.
pub(crate) struct Lifts(Vec<&'static Lifted>);

impl Lifts {
    /// Asks `program` about each key: one that it doesn't know is left out, one that it knows is lifted.
    pub(crate) fn find(program: &Path, pair: &Pair, directory: &Path) -> Self {
        let none = Self(Vec::new());
        let refusal = none.refusal(program, pair, directory);
        assert!(refusal.is_none(), "sidewire check: {}", refusal.unwrap());
        let accepted = |lifted: &&'static Lifted| {
            let refusal = Self(vec![*lifted]).refusal(program, pair, directory);
            let other = refusal
                .as_ref()
                .filter(|text| !text.contains("unknown key"));
            assert!(other.is_none(), "sidewire check: {}", other.unwrap());
            refusal.is_none()
        };
        Self(LIFTED.iter().filter(accepted).collect())
    }

    /// In words, for the output.
    pub(crate) fn text(&self) -> String {
        let words = self.0.iter().map(|lifted| {
            let Lifted {
                table,
                key,
                value,
                why,
            } = lifted;
            format!("`{table}.{key} = {value}` ({why})")
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn refusal(&self, program: &Path, pair: &Pair, directory: &Path) -> Option<String> {
        let file = directory.join("check.toml");
        fs::write(&file, self.config(pair, directory, None)).unwrap();
        let checked = Command::new(program)
            .args(["check", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .output();
        let checked = checked.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let faults = [&checked.stderr[..], &checked.stdout[..]].concat();
        (!checked.status.success()).then(|| String::from_utf8_lossy(&faults).into_owned())
    }

    /// The whole file; pages come from the HTTP server at port `upstream`.
    pub(crate) fn config(&self, pair: &Pair, directory: &Path, upstream: Option<u16>) -> String {
        let lines = |table: &str| {
            let own = self.0.iter().filter(|lifted| lifted.table == table);
            let own = own.map(|lifted| format!("{} = {}\n", lifted.key, lifted.value));
            own.collect::<String>()
        };
        let (certificate, key) = (pair.certificate.display(), pair.key.display());
        let directory = directory.display();
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{}\
             [[certificate]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
             [realtime]\n{}\
             [publish]\nsocket = \"{directory}/publish.sock\"\n{}\
             [admin]\nsocket = \"{directory}/admin.sock\"\n\
             [log]\nfilter = \"warn\"\n\
             [[site]]\nname = \"bench\"\nhosts = [\"localhost\"]\n\
             [site.upstream]\naddress = \"http://127.0.0.1:{}\"\n\
             [[site.publish_key]]\nsecret = \"{SECRET}\"\n",
            lines("listener"),
            lines("realtime"),
            lines("publish"),
            upstream.unwrap_or(1),
        )
    }
}
