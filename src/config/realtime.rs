//! `[realtime]` and `[broker]`: what browsers may hold, and what is remembered for them.

use std::time::Duration;

use super::{Bytes, section::Section};

/// The WebSocket side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Realtime {
    /// The path that is answered here and never reaches WordPress.
    pub path: String,
    /// Tasks that fan out; each owns a part of the connections.
    pub shards: usize,
    /// Browsers at the same time; the next one is answered 503 before the upgrade.
    pub connections_max: usize,
    /// Connections of one user at the same time, as its tokens name it.
    pub connections_per_user_max: usize,
    /// Browsers at the same time of one client address, an IPv6 one counted by its /64. The
    /// machine's own addresses are not counted.
    pub connections_per_address_max: usize,
    /// Streams that may open in a second, and in a burst; the next one is answered 503.
    pub upgrades_per_second_max: u32,
    /// How long a connection may live; each ends at a random 80–100 % of it and is told to come
    /// back. Zero: as long as it likes.
    pub connection_age_max: Duration,
    /// Channels that one connection may be subscribed to.
    pub channels_per_connection_max: usize,
    /// Subscriptions of all connections together.
    pub subscriptions_max: usize,
    /// Bytes of a message from a browser, all fragments together.
    pub message_max: Bytes,
    /// Commands a second from one browser, and the burst above that rate it may use.
    pub commands_per_second_max: u32,
    /// Bytes that may wait for a slow browser before it is disconnected. Browsers that wait for
    /// the same publications share their memory.
    pub backlog_bytes_max: Bytes,
    /// Messages that may wait for a slow browser before it is disconnected.
    pub backlog_messages_max: usize,
    /// Publications that one recovery or one page of history may hold; beyond, there is a gap.
    pub recovery_messages_max: usize,
    /// Bytes that one recovery or one page of history may hold.
    pub recovery_bytes_max: Bytes,
    /// Revocations in force at the same time, for each site.
    pub revocations_max: usize,
    /// From the upgrade to the connect command.
    pub connect_timeout: Duration,
    /// Between two pings of ours.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub pong_timeout: Duration,
    /// How long a browser may take no byte of what waits for it.
    pub write_stall_timeout: Duration,
}

/// Order and history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broker {
    /// Channels with history at the same time; the one published to longest ago makes room.
    pub channels_max: usize,
    /// Bytes of all history and remembered versions; the channel published to longest ago makes
    /// room.
    pub history_bytes_max: Bytes,
    /// Keys per channel whose versions are remembered.
    pub versions_max: usize,
    /// Channels whose end is remembered, 8 bytes each.
    pub fingerprints_max: usize,
}

impl Realtime {
    pub(super) fn read(mut section: Section) -> Self {
        let seconds = Duration::from_secs;
        let deadline = seconds(1)..=seconds(3_600);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let path = read_path(&mut section);
        let shards = match section.count("shards", 0, 0..=64) {
            // Pages and PHP keep the others; a shard with a core to itself joins more.
            0 => (cores / 2).clamp(1, 64),
            chosen => chosen,
        };
        let realtime = Self {
            path,
            shards,
            connections_max: section.count("connections_max", 20_000, 1..=10_000_000),
            connections_per_user_max: section.count("connections_per_user_max", 64, 1..=1_000_000),
            connections_per_address_max: section.count(
                "connections_per_address_max",
                500,
                1..=10_000_000,
            ),
            upgrades_per_second_max: per_second(&mut section, "upgrades_per_second_max", 1_000),
            connection_age_max: section.within(
                "connection_age_max",
                seconds(0),
                seconds(0)..=seconds(366 * 86_400),
            ),
            subscriptions_max: section.count("subscriptions_max", 1_000_000, 1..=1_000_000_000),
            channels_per_connection_max: section.count(
                "channels_per_connection_max",
                128,
                1..=100_000,
            ),
            message_max: section.within(
                "message_max",
                Bytes(64 << 10),
                Bytes(1 << 10)..=Bytes(16 << 20),
            ),
            commands_per_second_max: per_second(&mut section, "commands_per_second_max", 50),
            backlog_bytes_max: section.within(
                "backlog_bytes_max",
                Bytes(4 << 20),
                Bytes(16 << 10)..=Bytes(1 << 30),
            ),
            backlog_messages_max: section.count("backlog_messages_max", 4_000, 1..=1_000_000),
            recovery_messages_max: section.count("recovery_messages_max", 1_000, 1..=1_000_000),
            recovery_bytes_max: section.within(
                "recovery_bytes_max",
                Bytes(1 << 20),
                Bytes(1 << 10)..=Bytes(1 << 30),
            ),
            revocations_max: section.count("revocations_max", 100_000, 1..=10_000_000),
            connect_timeout: section.within("connect_timeout", seconds(10), deadline.clone()),
            ping_interval: section.within("ping_interval", seconds(25), deadline.clone()),
            pong_timeout: section.within("pong_timeout", seconds(10), deadline.clone()),
            write_stall_timeout: section.within("write_stall_timeout", seconds(30), deadline),
        };
        realtime.check(&section);
        section.finish();
        realtime
    }

    /// The rules between keys, and those that are no range.
    fn check(&self, section: &Section) {
        if self.pong_timeout >= self.ping_interval {
            section.fault("pong_timeout", "expected less than `ping_interval`");
        }
        let age = self.connection_age_max;
        if !age.is_zero() && age < Duration::from_secs(1) {
            let remedy = "expected \"0s\" for no limit, or \"1s\" at least: hours are usual";
            section.fault("connection_age_max", remedy);
        }
    }
}

/// A rate of one to a hundred thousand.
fn per_second(section: &mut Section, key: &'static str, default: u32) -> u32 {
    let rate = section.count(key, default.into(), 1..=100_000);
    u32::try_from(rate).unwrap_or(default)
}

fn read_path(section: &mut Section) -> String {
    let path = section.or("path", "/realtime".to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || path.len() < 2 || !path.chars().all(plain) {
        section.fault("path", "expected an absolute path such as \"/realtime\"");
    }
    path
}

impl Broker {
    pub(super) fn read(mut section: Section) -> Self {
        let broker = Self {
            channels_max: section.count("channels_max", 100_000, 1..=100_000_000),
            history_bytes_max: section.within(
                "history_bytes_max",
                Bytes(64 << 20),
                Bytes(1 << 20)..=Bytes(1 << 40),
            ),
            versions_max: section.count("versions_max", 1_000, 1..=1_000_000),
            fingerprints_max: section.count("fingerprints_max", 1_000_000, 1_000..=1_000_000_000),
        };
        section.finish();
        broker
    }
}
