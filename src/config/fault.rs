//! A fault of the configuration: which key, what stands there, what was expected, what to do.

use std::{fmt, path::PathBuf};

/// One thing wrong with the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The key with its tables, such as `site[0].fastcgi.root`; empty for the file as a whole.
    pub key: String,
    /// What stands there, as TOML; `None` where the key is missing.
    pub value: Option<String>,
    /// What was expected, and what to do, in one line.
    pub remedy: String,
}

/// Everything wrong with one file. Its `Display` is what a person reads.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Faults {
    /// The file as it was named on the command line.
    pub file: PathBuf,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let plural = if count == 1 { "fault" } else { "faults" };
        write!(f, "{}: {count} {plural}", self.file.display())?;
        let named: Vec<(String, &str)> = self
            .faults
            .iter()
            .map(|fault| (fault.subject(), fault.remedy.as_str()))
            .collect();
        let width = named.iter().map(|(s, _)| s.chars().count()).max();
        let width = width.unwrap_or_default().min(56);
        for (subject, remedy) in named {
            write!(f, "\n  {subject:<width$}  {remedy}")?;
        }
        Ok(())
    }
}

impl Fault {
    fn subject(&self) -> String {
        match &self.value {
            Some(value) => format!("{} = {value}", self.key),
            None => self.key.clone(),
        }
    }
}
