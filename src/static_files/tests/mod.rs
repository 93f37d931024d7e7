//! A document root in a temporary directory, looked at and served.

mod answering;
mod finding;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{Found, StaticFiles};
use crate::config::{self, Address, Bytes};
use crate::exchange::{Failure, Script};

struct Site {
    directory: TempDir,
}

impl Site {
    /// A root with these files in it.
    fn with(files: &[&str]) -> Self {
        let site = Self {
            directory: TempDir::new().unwrap(),
        };
        fs::create_dir(site.path("root")).unwrap();
        for file in files {
            site.write(&format!("root/{file}"), file);
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.directory.path()).unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) {
        symlink(to, self.path(name)).unwrap();
    }

    fn config(&self) -> config::FastCgi {
        config::FastCgi {
            address: Address::Tcp("127.0.0.1:9000".into()),
            root: self.path("root"),
            extra_roots: Vec::new(),
            script_root: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            body_memory_max: Bytes(0),
            spool_max: Bytes(0),
        }
    }

    fn files(&self) -> StaticFiles {
        StaticFiles::new(&self.config()).unwrap()
    }
}

/// What a path means, in a line: `file TEXT`, `script NAME PATH_INFO`, `slash`, or the status and
/// reason of a refusal.
async fn meaning(files: &StaticFiles, path: impl AsRef<[u8]>) -> String {
    match files.find(path.as_ref()).await {
        Ok(Found::File(file)) => format!("file {}", std::io::read_to_string(&*file.file).unwrap()),
        Ok(Found::Script(Script {
            name, path_info, ..
        })) => format!("script {name} {path_info}").trim_end().into(),
        Ok(Found::DirectoryWithoutSlash) => "slash".into(),
        Err(Failure { status, reason, .. }) => format!("{} {reason}", status.as_u16()),
    }
}
