//! `sidewire secret new`: a secret as Standard Webhooks writes them.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{CANNOT, Failed, say};

/// Of the owner alone, and not to be written again.
const MODE: u32 = 0o400;

/// Makes a secret of 32 bytes; prints it, or writes it to `out` and prints that name.
///
/// # Errors
///
/// `out` exists or can't be written; nothing was replaced.
pub fn new_secret(out: Option<&Path>) -> Result<(), Failed> {
    let mut bytes = [0; 32];
    let no_random = |_| {
        let told = "sidewire: the system gives no random bytes";
        (CANNOT, told.to_owned())
    };
    rand::fill(&mut bytes).map_err(no_random)?;
    let secret = format!("whsec_{}", STANDARD.encode(bytes));
    let Some(out) = out else {
        say(&secret);
        return Ok(());
    };
    write(out, &secret).map_err(|error| {
        let told = match error.kind() {
            ErrorKind::AlreadyExists => "exists, and a secret is never written over; \
                 choose another name, or remove the file if nothing uses it any more"
                .to_owned(),
            ErrorKind::NotFound => {
                "cannot be written: no such directory; make it with mkdir".to_owned()
            }
            _ => format!("cannot be written: {error}; choose a directory that you may write to"),
        };
        let told = format!("sidewire: --out = {:?}  {told}", out.display().to_string());
        (CANNOT, told)
    })?;
    say(&out.display().to_string());
    Ok(())
}

/// A name that exists is never opened, not even through a link.
fn write(out: &Path, secret: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(out)?;
    let written = writeln!(file, "{secret}").and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a secret is worse than none; why it was half is what gets told.
        let _ = fs::remove_file(out);
    }
    written
}
