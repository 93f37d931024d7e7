//! What the program does besides serving: one file a command, each from its arguments to its end.
//!
//! `main` calls them. They read the configuration as any other process would, and share no state
//! with one that serves.

use std::io::{self, Write};

mod secret;
mod token;

pub use secret::new_secret;
pub use token::print_token;

/// An exit code, and what to say on standard error.
pub type Failed = (u8, String);

/// A line for whoever reads our standard output, if anyone does.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
