//! A real PHP-FPM with a document root and a pool of its own.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::{directory, program::Process, sidecar::fastcgi, until};

/// A running PHP-FPM.
pub(crate) struct PhpFpm {
    directory: TempDir,
    process: Option<Process>,
}

/// The newest PHP-FPM of the machine.
fn program() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/sbin")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/php-fpm"))
        .collect();
    found.sort();
    found
        .pop()
        .expect("PHP-FPM is missing: run .ci/install test")
}

impl PhpFpm {
    /// Starts one whose scripts may write into `written` below its directory.
    pub(crate) async fn start() -> Self {
        let directory = directory();
        for name in ["root", "written"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        // PHP's user is another one than ours.
        let mode = Permissions::from_mode(0o777);
        fs::set_permissions(directory.path().join("written"), mode).unwrap();
        let mut fpm = Self {
            directory,
            process: None,
        };
        fpm.run().await;
        fpm
    }

    async fn run(&mut self) {
        let conf = self.path("fpm.conf");
        fs::write(&conf, self.conf()).unwrap();
        let child = Command::new(program())
            .args(["--nodaemonize", "--fpm-config"])
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        self.process = Some(Process::new(child));
        let socket = self.socket();
        until("PHP-FPM's socket", || async {
            UnixStream::connect(&socket).await.ok()
        })
        .await;
    }

    fn conf(&self) -> String {
        // Only root can give a pool another user than its own.
        let user = match geteuid().is_root() {
            true => "user = www-data\ngroup = www-data\n",
            false => "",
        };
        format!(
            "[global]\nerror_log = {log}\n[www]\n{user}listen = {socket}\nlisten.mode = 0666\n\
             pm = static\npm.max_children = 4\nphp_admin_value[post_max_size] = 64M\n",
            log = self.path("fpm.log").display(),
            socket = self.socket().display(),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("fpm.sock")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// Puts a file into the document root.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.root().join(name), content.as_ref());
    }

    /// The table of a site that this PHP-FPM is the back end of.
    pub(crate) fn backend(&self) -> String {
        fastcgi(&self.socket(), &self.root())
    }

    /// Stops PHP-FPM, its workers with it.
    pub(crate) async fn stop(&mut self) {
        let process = self.process.take().unwrap();
        process.signal(Signal::TERM);
        process.exit_code().await;
    }
}

impl Drop for PhpFpm {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // Killed at once it would leave its workers behind; it ends them and then itself.
            process.signal(Signal::TERM);
            process.wait();
        }
    }
}

fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
