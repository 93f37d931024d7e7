//! `[publish]` and `[admin]`: the Unix sockets that PHP and the machine's owner speak to.

use std::{path::PathBuf, time::Duration};

use super::{Bytes, section::Section};

/// The socket that PHP publishes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publish {
    /// Mode 0660.
    pub socket: PathBuf,
    /// The group that may connect, by name; the process's own where none is said.
    pub group: Option<String>,
    /// Connections at the same time; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Bytes of a request body.
    pub body_max: Bytes,
    /// Bytes of the large bodies that are being received, all together; at least one of them.
    pub bodies_max: Bytes,
    /// Bytes of the `data` of one publication.
    pub data_max: Bytes,
    /// Commands of one batch, and channels of one broadcast.
    pub batch_max: usize,
    /// How far a request's timestamp may be from our clock, either way.
    pub timestamp_window: Duration,
    /// Requests whose ids are remembered.
    pub ids_max: usize,
    /// Bytes of their replies together.
    pub replies_max: Bytes,
    /// Bytes of one reply.
    pub reply_max: Bytes,
    /// Idempotency keys of publications that are remembered, for 5 minutes each.
    pub idempotency_keys_max: usize,
    /// From the first byte of a request to its last, between two requests, and for a reply to be
    /// taken.
    pub read_timeout: Duration,
    /// The only users, by number, who are answered; empty: whoever may open the socket.
    pub peer_uids: Vec<u32>,
}

/// The socket that tells how we are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Mode 0660.
    pub socket: PathBuf,
    /// The group that may connect, by name; the process's own where none is said.
    pub group: Option<String>,
}

impl Publish {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let seconds = Duration::from_secs;
        let socket = section.required("socket", "such as \"/run/sidewire/publish.sock\"");
        let group = section.optional("group");
        let connections_max = section.count("connections_max", 1_024, 1..=100_000);
        let body_max = section.within(
            "body_max",
            Bytes(1 << 20),
            Bytes(1 << 10)..=Bytes(256 << 20),
        );
        let bodies_max = section.within(
            "bodies_max",
            Bytes(64 << 20),
            Bytes(1 << 10)..=Bytes(1 << 40),
        );
        let data_max = section.within(
            "data_max",
            Bytes(64 << 10),
            Bytes(1 << 10)..=Bytes(16 << 20),
        );
        let batch_max = section.count("batch_max", 1_000, 1..=100_000);
        let timestamp_window = section.within(
            "timestamp_window",
            seconds(300),
            seconds(1)..=seconds(3_600),
        );
        let ids_max = section.count("ids_max", 500_000, 1..=100_000_000);
        let replies_max = section.within(
            "replies_max",
            Bytes(64 << 20),
            Bytes(1 << 20)..=Bytes(1 << 40),
        );
        let reply_max = section.within(
            "reply_max",
            Bytes(8 << 20),
            Bytes(64 << 10)..=Bytes(1 << 30),
        );
        let idempotency_keys_max = section.count("idempotency_keys_max", 100_000, 1..=100_000_000);
        let read_timeout = section.within("read_timeout", seconds(30), seconds(1)..=seconds(3_600));
        let peer_uids = section.or("peer_uids", Vec::new());
        section.finish();
        Some(Self {
            socket: socket?,
            group,
            connections_max,
            body_max,
            bodies_max,
            data_max,
            batch_max,
            timestamp_window,
            ids_max,
            replies_max,
            reply_max,
            idempotency_keys_max,
            read_timeout,
            peer_uids,
        })
    }
}

impl Admin {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let socket = section.required("socket", "such as \"/run/sidewire/admin.sock\"");
        let group = section.optional("group");
        section.finish();
        Some(Self {
            socket: socket?,
            group,
        })
    }
}
