//! Bound Unix sockets: the twin of the TCP listener for those who are on the machine.
//!
//! The file belongs to the process that bound it: what is stale is removed, what lives is left
//! alone. One that vanishes is made anew, since nobody could come in any more. It knows no peer's
//! user; that is for whoever is given the connection.

use std::{
    fs,
    future::{Future, poll_fn},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use nix::unistd::Group;
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

use super::{
    BACKLOG, accept,
    permits::{Permit, Permits},
};
use crate::shutdown::Tasks;

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// How long nobody may come before it is looked whether the file is still there.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// One connection from this machine.
#[derive(Debug)]
pub struct Accepted {
    /// Never blocks. No runtime knows of it yet: what a peer has to say is mostly there already.
    pub stream: UnixStream,
    /// Counts the connection while it is held.
    pub permit: Permit,
}

/// A bound Unix socket that accepts nothing yet. Its file goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<Socket>,
    file: File,
    group: Option<String>,
}

/// A bound socket whose file is looked after.
#[derive(Debug)]
struct Kept(Mutex<State>);

#[derive(Debug)]
struct State {
    listener: Listener,
    /// Whether it was told that the file can't be had back.
    told: bool,
}

/// The file of a socket, removed when dropped, if it is still the one that was bound.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why a path could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be used.
    #[error("the directory of socket {path}: {remedy}")]
    Directory {
        /// The socket's path.
        path: PathBuf,
        /// What is wrong, and what to do.
        remedy: &'static str,
    },
    /// Another process answers there.
    #[error("socket {path} is in use by a living process; stop that one or choose another path")]
    Living {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that we did not make.
    #[error("{path} exists and is no socket; remove it or choose another path")]
    Occupied {
        /// The socket's path.
        path: PathBuf,
    },
    /// Longer than the kernel's address.
    #[error("the path of socket {path} is too long; it may have 107 bytes")]
    TooLong {
        /// The socket's path.
        path: PathBuf,
    },
    /// No group of that name.
    #[error("there is no group {group:?} on this machine, which socket {path} should belong to")]
    NoSuchGroup {
        /// The socket's path.
        path: PathBuf,
        /// As configured.
        group: String,
    },
    /// The group may not be given.
    #[error(
        "no right to give socket {path} to group {group:?}; make the user that runs sidewire a \
         member of it: `usermod -a -G {group} USER`"
    )]
    Group {
        /// The socket's path.
        path: PathBuf,
        /// As configured.
        group: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("cannot bind socket {path}")]
    Bind {
        /// The socket's path.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
}

impl Listener {
    /// Binds `path` with mode 0660, given to `group` where one is named. Must be called inside
    /// the runtime.
    ///
    /// A file that is left of a process that ended is removed: only a socket, and only after it
    /// refused a connection.
    ///
    /// # Errors
    ///
    /// The socket cannot be had; each message names the path and the remedy.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, Error> {
        let gid = group.map(|name| find_group(path, name)).transpose()?;
        check_directory(path)?;
        let address = SockAddr::unix(path).map_err(|_| Error::TooLong { path: path.into() })?;
        clear(path, &address)?;

        let failed = |source| Error::Bind {
            path: path.into(),
            source,
        };
        let socket = bind(&address).map_err(failed)?;
        // At once: who probes it meanwhile would take it for what a dead process left.
        socket.listen(BACKLOG).map_err(failed)?;
        let file = File::of(path).map_err(failed)?;
        if let (Some(gid), Some(group)) = (gid, group) {
            lchown(path, None, Some(gid)).map_err(|source| Error::Group {
                path: path.into(),
                group: group.into(),
                source,
            })?;
        }
        // The mode that it was born with went through the umask.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        let socket = watch(socket, Interest::READABLE).map_err(failed)?;
        let group = group.map(str::to_owned);
        Ok(Self {
            socket,
            file,
            group,
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let accepted = ready.try_io(|socket| Ok(accept_with(socket, flags)?));
            // Without one to accept, the next one is waited for.
            if let Ok(accepted) = accepted {
                return Poll::Ready(accepted.map(UnixStream::from));
            }
        }
    }

    /// The bound path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Hands every accepted connection to `serve`, as a task of `tasks`, until the stage is told
    /// to stop; the socket is closed and its file removed then.
    ///
    /// Connections beyond `permits` wait in the kernel's backlog.
    pub async fn run<F, Fut>(self, permits: impl Into<Permits>, tasks: Tasks, serve: F)
    where
        F: Fn(Accepted) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let serve = |stream, permit| serve(Accepted { stream, permit });
        let kept = Kept(Mutex::new(State {
            listener: self,
            told: false,
        }));
        accept::run(&kept, permits.into(), &tasks, serve).await;
    }
}

impl accept::Source for Kept {
    type Connection = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let accepted = poll_fn(|cx| self.lock().listener.poll_accept(cx));
            match timeout(LOOK_AFTER, accepted).await {
                Ok(accepted) => return accepted,
                // Whoever can find the file has been let in by now.
                Err(_) => self.lock().look(),
            }
        }
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Binds anew where the file has vanished. Another's file is left alone.
    fn look(&mut self) {
        let file = &self.listener.file;
        match file.fate() {
            Fate::Ours => self.told = false,
            Fate::Gone => match Listener::bind(&file.path, self.listener.group.as_deref()) {
                Ok(listener) => {
                    let socket = listener.file.path.display();
                    tracing::warn!(%socket, "the file of a socket was removed: bound anew");
                    self.listener = listener;
                    self.told = false;
                }
                Err(error) => self.tell(&error),
            },
            Fate::Replaced => {
                let path = file.path.clone();
                self.tell(&Error::Living { path });
            }
        }
    }

    /// Once, until it is well again.
    fn tell(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(%error, "the file of a socket is not ours any more: nobody can connect");
        }
    }
}

fn bind(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    // The file takes its mode from the socket: it is never wider than wanted, not even between
    // bind and chmod.
    let inode = fs::File::from(std::os::fd::OwnedFd::from(socket.try_clone()?));
    inode.set_permissions(fs::Permissions::from_mode(MODE))?;
    socket.bind(address)?;
    Ok(socket)
}

/// Has the caller's runtime watch a socket for `interest` alone.
///
/// # Errors
///
/// The kernel has no room for it.
#[expect(
    deprecated,
    reason = "sound for whatever owns its descriptor, as each of ours does; the other way is unsafe code"
)]
pub fn watch<T: AsFd + AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// Whether the machine has a group called `name`.
#[must_use]
pub fn is_group(name: &str) -> bool {
    find_group(Path::new(""), name).is_ok()
}

fn find_group(path: &Path, name: &str) -> Result<u32, Error> {
    let found = Group::from_name(name).map_err(|errno| Error::Bind {
        path: path.into(),
        source: errno.into(),
    })?;
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| Error::NoSuchGroup {
            path: path.into(),
            group: name.into(),
        })
}

/// Refuses a directory in which anybody could put a socket of their own in our place.
fn check_directory(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let remedy = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "does not exist; make it, or RuntimeDirectory= in the systemd unit does"
        }
        Err(_) => "cannot be entered by the user that runs sidewire",
        Ok(found) if !found.is_dir() => "is no directory",
        Ok(found) if found.mode() & 0o1002 == 0o002 => {
            "is writable by everybody, who could then replace the socket; `chmod o-w` it"
        }
        Ok(_) => return Ok(()),
    };
    Err(Error::Directory {
        path: path.into(),
        remedy,
    })
}

/// Makes way for a new socket at `path`, if nothing lives there.
fn clear(path: &Path, address: &SockAddr) -> Result<(), Error> {
    let path_buf = || PathBuf::from(path);
    let failed = |source| Error::Bind {
        path: path_buf(),
        source,
    };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    if !found.file_type().is_socket() {
        return Err(Error::Occupied { path: path_buf() });
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            drop(File {
                path: path_buf(),
                identity: (found.dev(), found.ino()),
            });
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog is a sign of life as well.
        Ok(()) => Err(Error::Living { path: path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(Error::Living { path: path_buf() })
        }
        Err(source) => Err(failed(source)),
    }
}

impl File {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.into(),
            identity: (found.dev(), found.ino()),
        })
    }

    fn fate(&self) -> Fate {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => Fate::Ours,
            Ok(_) => Fate::Replaced,
            Err(_) => Fate::Gone,
        }
    }
}

/// What has become of a socket's file.
enum Fate {
    Ours,
    Gone,
    Replaced,
}

impl Drop for File {
    fn drop(&mut self) {
        if matches!(self.fate(), Fate::Ours) {
            // It may go between the look and the removal: gone is what we want.
            let _ = fs::remove_file(&self.path);
        }
    }
}
