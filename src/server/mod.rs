//! Wiring: builds every part from the configuration, runs them, and stops them in order.
//!
//! It decides nothing about a request. Stop order: the TCP listeners close and connections are
//! told, requests drain, then the publish socket (a PHP request under way may still publish),
//! then the hub.

mod check;
mod reload;
mod signals;
mod threads;
mod tokens;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use reload::{Holders, Reload};
pub use reload::{Loaded, examine};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
pub use signals::Signals;
use threads::Threads;

use tokio::runtime::Handle;

use crate::{
    admin::{self, Admin, reload::Reloads},
    auth::token::Keys,
    broker::memory::{self, Memory},
    config::{self, Config},
    fastcgi::{self, FastCgi},
    front::{self, Backend, Front},
    listener::{self, Listener, unix},
    publish::{self, Publisher},
    realtime::{self, Realtime},
    router::Router,
    shutdown::Tasks,
    static_files::{self, StaticFiles},
    telemetry::{Filter, Registry, chain},
    tls::{self, Acceptor, Certificates, Stream},
    upstream::{self, Upstream},
};

pub use check::check;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A TCP address can't be bound.
    #[error(transparent)]
    Listener(#[from] listener::Error),
    /// A Unix socket can't be bound.
    #[error(transparent)]
    Unix(#[from] unix::Error),
    /// TLS can't be offered at all.
    #[error("TLS can't be set up")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// There is a TLS listener and no certificate loads.
    #[error("no certificate can be served: {0}")]
    NoCertificate(String),
    /// A document root can't be used.
    #[error(transparent)]
    Files(#[from] static_files::Error),
    /// There is no thread for the hub.
    #[error("a thread of the hub can't be started; does the machine allow more (`TasksMax=`)?")]
    Thread(#[source] std::io::Error),
    /// The keys of a site's tokens can't be used.
    #[error("tokens of site {site:?} can't be verified")]
    Tokens {
        /// Its name.
        site: String,
        /// Which key, and why.
        source: tokens::Error,
    },
}

/// A running process.
#[derive(Debug)]
pub struct Server {
    stop: config::Stop,
    addresses: Vec<String>,
    certificates: Arc<Certificates>,
    realtime: Realtime,
    reloads: Reloads,
    stages: Stages,
}

/// Tasks by the order in which they stop.
#[derive(Clone, Debug, Default)]
struct Stages {
    /// Listeners, HTTP connections and the requests on them.
    edge: Tasks,
    /// The publish and admin sockets.
    sockets: Tasks,
    /// Shards and WebSockets.
    realtime: Tasks,
    /// What watches.
    background: Tasks,
}

impl Server {
    /// Builds and starts everything that `loaded` says; must be called inside a Tokio runtime.
    /// `file` is what a reload reads, and `filter` what it may change.
    ///
    /// # Errors
    ///
    /// Nothing is served then, and what was bound is closed again.
    pub fn start(loaded: &Loaded, file: &Path, filter: Filter) -> Result<Self, Error> {
        raise_open_files();
        let config = &loaded.config;
        let registry = Registry::default();
        let stages = Stages::default();
        let tls_metrics = registry.add(tls::Metrics::register);
        let certificates = load_certificates(config, &tls_metrics)?;
        let keys = token_keys(config)?;
        let threads = Threads::start(config.realtime.shards, &stages.realtime);
        let threads = threads.map_err(Error::Thread)?;
        let realtime = start_realtime((config, keys), &registry, &stages, &threads);
        let front = build_front(config, &registry, &stages, (&realtime, &certificates))?;
        let (reloads, asked) = Reloads::channel();
        let mut server = Self {
            stop: config.stop.clone(),
            addresses: Vec::new(),
            certificates: Arc::clone(&certificates),
            realtime: realtime.clone(),
            reloads,
            stages,
        };
        let acceptor = Acceptor::new(&config.tls, Arc::clone(&certificates), tls_metrics)?;
        // Bound first and served afterwards, so that a fault stops all or nothing.
        let metrics = registry.add(listener::Metrics::register);
        let mut bound = Vec::new();
        for listener in &config.listeners {
            let socket = Listener::bind(listener, &metrics)?;
            let scheme = if listener.tls { "https" } else { "http" };
            server
                .addresses
                .push(format!("{scheme} {}", socket.address()));
            bound.push((socket, listener.clone()));
        }
        let publisher =
            server.open_publish(config, (&registry, &metrics), realtime, &threads.first())?;
        server.open_admin((config, file), &registry, publisher.clone())?;
        for (listener, config) in bound {
            server.open_listener(listener, &config, &front, &acceptor);
        }
        let background = &server.stages.background;
        let watch = Arc::clone(&certificates).watch(config.tls.poll_interval, background.clone());
        background.spawn(watch);
        let reload = Reload {
            file: file.to_owned(),
            started: loaded.clone(),
            current: loaded.clone(),
            sites: config.sites.clone(),
            holders: Holders {
                certificates,
                publisher,
                realtime: server.realtime.clone(),
                filter,
            },
            metrics: registry.add(reload::Metrics::register),
        };
        background.spawn(reload.run(asked, background.clone()));
        Ok(server)
    }

    /// What is listened on, a line each: `https 127.0.0.1:8443`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until SIGTERM or SIGINT, then stops in order. SIGHUP reads the configuration anew.
    pub async fn run_until(self, mut signals: Signals) {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hang_up.recv() => self.reloads.ask(),
            }
        }
        tokio::select! {
            () = self.stop() => {}
            _ = signals.terminate.recv() => tracing::warn!("told to stop twice: cut off"),
            _ = signals.interrupt.recv() => tracing::warn!("told to stop twice: cut off"),
        }
    }

    /// Stops everything in order, all stages under one deadline.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.stages.edge.stop();
        let stages = &self.stages;
        let deadline = Instant::now() + self.stop.drain_timeout;
        // Before the publish socket and the hub: what is published still reaches those who stay.
        let (realtime, spread) = (self.realtime.clone(), self.stop.close_spread);
        let closing = async move { realtime.close_all(spread).await };
        stages.edge.spawn(closing);
        for (stage, tasks) in [
            ("requests", &stages.edge),
            ("publish and admin sockets", &stages.sockets),
            ("realtime", &stages.realtime),
            ("background", &stages.background),
        ] {
            let left = deadline.saturating_duration_since(Instant::now());
            // What is told only now needs a moment, however long the stage before took.
            if let Err(unfinished) = tasks.finish(left.max(STAGE_MOMENT)).await {
                tracing::warn!(stage, %unfinished, "cut off at the end of stop.drain_timeout");
            }
        }
        tracing::info!("stopped");
    }

    fn open_listener(
        &self,
        listener: Listener,
        config: &config::Listener,
        front: &Front,
        acceptor: &Acceptor,
    ) {
        let (front, acceptor) = (front.clone(), config.tls.then(|| acceptor.clone()));
        let mode = config.mode;
        let edge = &self.stages.edge;
        edge.spawn(listener.run(edge.clone(), move |accepted| {
            let (front, acceptor) = (front.clone(), acceptor.clone());
            async move {
                let stream = match &acceptor {
                    Some(acceptor) => acceptor.handshake(accepted.stream).await.ok(),
                    None => Some(Stream::Plain(accepted.stream)),
                };
                // A failed handshake was counted and logged where it failed.
                if let Some(stream) = stream {
                    front
                        .serve(stream, accepted.peer, accepted.local, mode)
                        .await;
                }
                drop(accepted.permit);
            }
        }));
    }

    fn open_publish(
        &mut self,
        config: &Config,
        (registry, listeners): (&Registry, &listener::Metrics),
        realtime: Realtime,
        runtime: &Handle,
    ) -> Result<Option<Publisher>, Error> {
        let Some(publish) = &config.publish else {
            return Ok(None);
        };
        let socket = {
            let _inside = runtime.enter();
            unix::Listener::bind(&publish.socket, publish.group.as_deref())?
        };
        let path = publish.socket.display();
        let permits = listeners.permits(&path, publish.connections_max);
        self.addresses.push(format!("publish {path}"));
        let metrics = registry.add(publish::Metrics::register);
        let tasks = self.stages.sockets.clone();
        let publisher = Publisher::new(publish, &config.sites, realtime, tasks.clone(), metrics);
        let serving = publisher.clone();
        let run = socket.run(permits, tasks.clone(), move |accepted| {
            let publisher = serving.clone();
            async move {
                publisher.serve(accepted.stream).await;
                drop(accepted.permit);
            }
        });
        tasks.spawn_on(runtime, run);
        Ok(Some(publisher))
    }

    fn open_admin(
        &mut self,
        (config, file): (&Config, &Path),
        registry: &Registry,
        publisher: Option<Publisher>,
    ) -> Result<(), Error> {
        let Some(admin) = &config.admin else {
            return Ok(());
        };
        let socket = unix::Listener::bind(&admin.socket, admin.group.as_deref())?;
        self.addresses
            .push(format!("admin {}", admin.socket.display()));
        let tasks = self.stages.sockets.clone();
        let sites = config.sites.iter();
        let sites = sites.map(|site| (site.name.clone(), site.hosts.clone()));
        let api = Admin::new(admin::Parts {
            facts: admin::Facts {
                addresses: self.addresses.clone(),
                config_file: file.to_owned(),
                sites: sites.collect(),
                started: (SystemTime::now(), Instant::now()),
            },
            registry: registry.clone(),
            realtime: self.realtime.clone(),
            publisher,
            certificates: Arc::clone(&self.certificates),
            reloads: self.reloads.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(
            socket.run(ADMIN_CONNECTIONS, tasks.clone(), move |accepted| {
                let api = api.clone();
                async move {
                    api.serve(accepted.stream).await;
                    drop(accepted.permit);
                }
            }),
        );
        Ok(())
    }
}

/// For a stage to end whose turn comes at the end of the deadline.
const STAGE_MOMENT: Duration = Duration::from_secs(1);

/// Connections to the admin socket at the same time.
const ADMIN_CONNECTIONS: usize = 64;

fn load_certificates(config: &Config, metrics: &tls::Metrics) -> Result<Arc<Certificates>, Error> {
    let (certificates, faults) = Certificates::load(&config.certificates, metrics.clone());
    for fault in &faults {
        // The others are served all the same: one bad pair is not everybody's failure.
        tracing::error!(fault = chain(fault), "a certificate has a fault");
    }
    let needed = config.listeners.iter().any(|listener| listener.tls);
    if needed && certificates.names().is_empty() {
        let faults: Vec<String> = faults.iter().map(|fault| chain(fault)).collect();
        return Err(Error::NoCertificate(faults.join("; ")));
    }
    Ok(certificates)
}

/// The keys of every site's tokens, in the order of the sites.
fn token_keys(config: &Config) -> Result<Vec<Keys>, Error> {
    let keys = config.sites.iter().map(|site| {
        tokens::keys(site).map_err(|source| Error::Tokens {
            site: site.name.clone(),
            source,
        })
    });
    keys.collect()
}

fn start_realtime(
    (config, keys): (&Config, Vec<Keys>),
    registry: &Registry,
    stages: &Stages,
    threads: &Threads,
) -> Realtime {
    let metrics = registry.add(memory::Metrics::register);
    let mut broker = Memory::new(&config.broker, config.sites.len(), metrics);
    if let Some(publish) = &config.publish {
        broker = broker.idempotency_keys_max(publish.idempotency_keys_max);
    }
    let broker = Arc::new(broker);
    let metrics = registry.add(realtime::Metrics::register);
    let tasks = (stages.realtime.clone(), threads.handles());
    let sites = config.sites.iter().zip(keys).collect();
    Realtime::start(&config.realtime, sites, &broker, tasks, metrics)
}

fn build_front(
    config: &Config,
    registry: &Registry,
    stages: &Stages,
    (realtime, certificates): (&Realtime, &Arc<Certificates>),
) -> Result<Front, Error> {
    let fastcgi_metrics = registry.add(fastcgi::Metrics::register);
    let upstream_metrics = registry.add(upstream::Metrics::register);
    let mut backends = Vec::new();
    for site in &config.sites {
        let tasks = stages.edge.clone();
        backends.push(match &site.backend {
            config::Backend::FastCgi(fastcgi) => Backend::FastCgi {
                files: StaticFiles::new(fastcgi)?,
                fastcgi: FastCgi::new(fastcgi, tasks, fastcgi_metrics.clone()),
            },
            config::Backend::Upstream(upstream) => {
                Backend::Upstream(Upstream::new(upstream, tasks, upstream_metrics.clone()))
            }
        });
    }
    Ok(Front::new(front::Parts {
        config: config.front.clone(),
        router: Router::new(&config.sites, &config.realtime.path),
        backends,
        certificates: Arc::clone(certificates),
        realtime: realtime.clone(),
        tasks: stages.edge.clone(),
        metrics: registry.add(front::Metrics::register),
    }))
}

/// Raises the soft limit of open files to the hard one: each browser is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => tracing::info!(open_files = ?limit.maximum, "open files that may be used"),
        Err(error) => {
            tracing::warn!(%error, open_files = ?limit.current, "cannot raise open files")
        }
    }
}
