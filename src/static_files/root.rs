//! The document root: a path below it → what is there, if that is really inside.
//!
//! A path is opened first and judged afterwards, by where the kernel says the opened thing is. What
//! is judged is therefore what is served, whatever happens to names and links in between. Opening
//! with O_PATH touches nothing: a FIFO does not block, and no device wakes up.

use std::{
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use http::StatusCode;
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::Errno,
};

use super::Error;
use crate::config;
use crate::exchange::Failure;

/// What the kernel writes behind the name of an opened file that is gone.
const DELETED: &[u8] = b" (deleted)";

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    extra: Vec<PathBuf>,
    real: ArcSwap<Real>,
}

/// The roots with links resolved.
#[derive(Debug)]
struct Real {
    main: PathBuf,
    extra: Vec<PathBuf>,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Entry {
    /// Nothing, or nothing that a web server has to do with.
    Absent,
    Directory,
    File(Place),
}

/// A regular file inside the roots, not yet opened for reading.
#[derive(Debug)]
pub(super) struct Place {
    handle: OwnedFd,
    /// Where the file really is.
    pub(super) real: PathBuf,
    /// The same as seen from the document root; unchanged when the file is in an extra root.
    pub(super) inside: PathBuf,
}

impl Root {
    pub(super) fn new(config: &config::FastCgi) -> Result<Self, Error> {
        let (path, extra) = (config.root.clone(), config.extra_roots.clone());
        let real = Real::of(&path, &extra)?;
        let root = Self {
            path,
            extra,
            real: ArcSwap::from_pointee(real),
        };
        let seen = open(&root.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|handle| real_path(&handle));
        match seen {
            Ok(seen) if seen == root.real.load().main => Ok(root),
            Ok(_) => Err(Error::Proc(io::ErrorKind::InvalidData.into())),
            Err(error) => Err(Error::Proc(error)),
        }
    }

    /// What is at `path`, which begins with a slash and has no dot segments.
    ///
    /// # Errors
    ///
    /// 404 for what is outside the roots, 403 for what we may not enter.
    pub(super) fn look(&self, path: &[u8]) -> Result<Entry, Failure> {
        let full = [self.path.as_os_str().as_bytes(), path].concat();
        let full = PathBuf::from(OsString::from_vec(full));
        let handle = match open(&full, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(handle) => handle,
            Err(error) => return absent(&full, error),
        };
        let kind = fstat(&handle).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let kind = kind.map_err(|error| unreadable(&full, &error.into()))?;
        let real = real_path(&handle).map_err(|error| unreadable(&full, &error))?;
        if real.as_os_str().as_bytes().ends_with(DELETED) {
            return Ok(Entry::Absent);
        }
        let inside = self.inside(&real).ok_or_else(|| outside(&full, &real))?;
        Ok(match kind {
            FileType::Directory => Entry::Directory,
            FileType::RegularFile => Entry::File(Place {
                handle,
                real,
                inside,
            }),
            _ => Entry::Absent,
        })
    }

    /// None when `real` is in no root. The root may be a link that leads elsewhere by now, as with
    /// releases side by side; so before refusing, links are resolved anew.
    fn inside(&self, real: &Path) -> Option<PathBuf> {
        if let Some(inside) = self.real.load().inside(real) {
            return Some(inside);
        }
        let fresh = Arc::new(Real::of(&self.path, &self.extra).ok()?);
        self.real.store(Arc::clone(&fresh));
        fresh.inside(real)
    }
}

impl Real {
    fn of(path: &Path, extra: &[PathBuf]) -> Result<Self, Error> {
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|source| Error::Root {
                path: path.into(),
                source,
            })
        };
        Ok(Self {
            main: real(path)?,
            extra: extra
                .iter()
                .map(|path| real(path))
                .collect::<Result<_, _>>()?,
        })
    }

    fn inside(&self, real: &Path) -> Option<PathBuf> {
        if let Ok(inside) = real.strip_prefix(&self.main) {
            return Some(Path::new("/").join(inside));
        }
        let extra = self.extra.iter().any(|root| real.starts_with(root));
        extra.then(|| real.into())
    }
}

impl Place {
    /// Opens the very file that was judged.
    pub(super) fn open(&self) -> Result<fs::File, Failure> {
        fs::File::open(descriptor(&self.handle)).map_err(|error| unreadable(&self.real, &error))
    }
}

fn real_path(handle: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(descriptor(handle))
}

fn descriptor(handle: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

fn absent(path: &Path, error: Errno) -> Result<Entry, Failure> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL => {
            Ok(Entry::Absent)
        }
        error => Err(unreadable(path, &error.into())),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::upstream(
            StatusCode::FORBIDDEN,
            "file_denied",
            format_args!(
                "{path}: {error}; let our user or group read it and enter its directories"
            ),
        ),
        _ => Failure::ours("file_unreadable", format_args!("{path}: {error}")),
    }
}

fn outside(path: &Path, real: &Path) -> Failure {
    Failure::upstream(
        StatusCode::NOT_FOUND,
        "outside_root",
        format_args!(
            "{} leads to {}, outside site.fastcgi.root; name its directory in extra_roots if \
             it belongs to the site",
            path.display(),
            real.display()
        ),
    )
}
