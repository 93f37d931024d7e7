//! One connection's bytes → requests, by hyper, under every deadline that hyper leaves to us.
//!
//! The protocol is known from ALPN. hyper-util's own choice by the first bytes would hold a
//! client that sends none for ever.

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    activity::{Activity, Patience, Quiet},
    arrival::Arrival,
    dispatch::{Destination, Seat},
    door::Door,
    metrics::{Connection, Metrics, Protocol},
    stall::{self, Noticed},
    watched::Watched,
};
use crate::{config, shutdown::Tasks};

/// What hyper may read ahead and write behind, a connection of HTTP/1.1 or a stream of HTTP/2.
const BUFFER: usize = 64 << 10;

/// How long an idle HTTP/2 connection has to close once it was asked to.
const GOODBYE: Duration = Duration::from_secs(5);

/// The request line's method, version and line ends.
const REQUEST_LINE: usize = 1 << 10;

/// A stream that can be served.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

impl<D: Destination> Door<D> {
    /// Serves HTTP/1.1 until the connection ends or is upgraded.
    pub(super) async fn http1<S: Stream>(self: Arc<Self>, stream: S, arrival: Arrival)
    where
        D::Seat: Seat<S>,
    {
        let client = arrival.client;
        let _open = Open::new(&self.metrics, Protocol::Http1);
        let upgrade = Arc::new(Mutex::new(None));
        let service = service_fn({
            let door = Arc::clone(&self);
            let slot = Arc::clone(&upgrade);
            move |request| {
                let answer = Arc::clone(&door).request(request, arrival.clone());
                let slot = Arc::clone(&slot);
                async move {
                    let answered = answer.await;
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = answered.upgrade;
                    Ok::<_, Infallible>(answered.response)
                }
            }
        });
        let io = TokioIo::new(Watched::new(stream, self.config.write_stall_timeout));
        let mut connection = pin!(
            http1_builder(&self.config)
                .serve_connection(io, service)
                .with_upgrades()
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.tasks.stopping() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%client, %error, "connection ended early");
            return;
        }
        let taken = upgrade
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((on_upgrade, seat)) = taken {
            hand_over::<S, D::Seat>(on_upgrade, seat).await;
        }
    }

    /// Serves HTTP/2 until the connection ends, or nothing has gone on for too long.
    pub(super) async fn http2<S: Stream>(self: Arc<Self>, stream: S, arrival: Arrival) {
        let client = arrival.client;
        let _open = Open::new(&self.metrics, Protocol::Http2);
        let activity = Arc::new(Activity::new());
        let service = service_fn({
            let door = Arc::clone(&self);
            let activity = Arc::clone(&activity);
            move |request| {
                let busy = activity.begin();
                let answer = Arc::clone(&door).request(request, arrival.clone());
                async move {
                    let response = answer.await.response;
                    let noticed = |body| Noticed::new(body, busy).boxed_unsync();
                    Ok::<_, Infallible>(response.map(noticed))
                }
            }
        });
        let watched = Watched::new(stream, self.config.write_stall_timeout);
        let io = TokioIo::new(watched.with_activity(Arc::clone(&activity)));
        let streams = Spawner {
            tasks: self.tasks.clone(),
            stall_timeout: self.config.write_stall_timeout,
            metrics: self.metrics.clone(),
        };
        let mut connection =
            pin!(http2_builder(&self.config, streams).serve_connection(io, service));
        let mut patience = Patience {
            preface: self.config.header_timeout,
            idle: self.config.http2_idle_timeout,
        };
        let mut closing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%client, %error, "connection ended early");
                    }
                    return;
                }
                () = self.tasks.stopping(), if !closing => {}
                quiet = activity.quiet(patience) => {
                    if closing || quiet != Quiet::Idle {
                        tracing::debug!(%client, ?quiet, "connection given up");
                        return;
                    }
                }
            }
            closing = true;
            patience.idle += GOODBYE;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Gives the stream of an upgraded connection to `seat`, with what hyper has read of it already.
async fn hand_over<S: Stream, T: Seat<S>>(on_upgrade: OnUpgrade, seat: T) {
    // The connection has ended, so this does not wait.
    let Ok(upgraded) = on_upgrade.await else {
        return;
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<Watched<S>>>() else {
        tracing::error!("an upgraded connection is not the one that was served");
        return;
    };
    // Copied: even empty it would hold on to hyper's whole buffer.
    let read_ahead = Bytes::copy_from_slice(&parts.read_buf);
    seat.open(parts.io.into_inner().into_inner(), read_ahead);
}

fn http1_builder(config: &config::Front) -> http1::Builder {
    let head = config.target_max.as_usize() + config.header_bytes_max.as_usize() + REQUEST_LINE;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_headers(config.headers_max)
        .max_buf_size(head.max(BUFFER));
    builder
}

fn http2_builder(config: &config::Front, streams: Spawner) -> http2::Builder<Spawner> {
    let header_list = u32::try_from(config.header_bytes_max.0).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.http2_streams_max)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .max_header_list_size(header_list)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_frame_size(16 << 10)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Starts the tasks of HTTP/2 streams in the stage that the connection belongs to, each until its
/// client takes nothing of the response for too long.
#[derive(Clone, Debug)]
struct Spawner {
    tasks: Tasks,
    stall_timeout: Duration,
    metrics: Metrics,
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        let watched = stall::watch(future, self.stall_timeout);
        let metrics = self.metrics.clone();
        self.tasks.spawn(async move {
            if !watched.await {
                tracing::debug!("a stream was reset: its client takes nothing of the response");
                metrics.stalled.inc();
            }
        });
    }
}

/// A connection, counted while it is open.
struct Open<'a>(&'a Metrics, Protocol);

impl<'a> Open<'a> {
    fn new(metrics: &'a Metrics, protocol: Protocol) -> Self {
        metrics
            .connections
            .get_or_create(&Connection { protocol })
            .inc();
        Self(metrics, protocol)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let protocol = self.1;
        let gauge = self.0.connections.get_or_create(&Connection { protocol });
        gauge.dec();
    }
}
