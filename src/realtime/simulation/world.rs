//! One hub of two sites with everyone around it; the seed decides who does what next.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{task::yield_now, time::advance};

use super::{
    browser::{Browser, Position, is_private},
    random::Random,
    truth::{Accepted, Truth},
};
use crate::{
    auth::token,
    broker::{Draft, SiteId},
    realtime::{
        Metrics,
        api::{self, Disconnect},
        backlog::Limits,
        hub::Hub,
        test_hub,
        users::Target,
    },
    shutdown::Tasks,
};

const SECRET: &[u8] = b"the secret of a simulated site, x";
/// Seconds that a token lives.
const LIFE: u64 = 60;
/// What a connection keeps for a browser that does not read.
const LIMITS: Limits = Limits {
    bytes: 64 << 10,
    messages: 12,
};
const CHANNELS: &[&str] = &[
    "post:1", "post:2", "post:3", "meter:1", "newest:1", "room:1", "edit:1",
];
const USERS: &[&str] = &["7", "8", "9"];

const CONFIG: &str = "
[[listener]]
address = '127.0.0.1:0'
tls = false
[realtime]
shards = 2
commands_per_second_max = 100000
connections_per_user_max = 100
[broker]
channels_max = 3
fingerprints_max = 1000
[[site]]
name = 'a'
hosts = ['a']
[site.upstream]
address = 'unix:/a'
NAMESPACES
[[site]]
name = 'b'
hosts = ['b']
[site.upstream]
address = 'unix:/b'
NAMESPACES
";
const NAMESPACES: &str = "
[site.tokens]
life_max = '60s'
[[site.namespace]]
name = 'post'
subscribe = 'anyone'
history_size = 6
history_ttl = '30s'
[[site.namespace]]
name = 'meter'
subscribe = 'anyone'
history_size = 6
backlog = 'conflate'
[[site.namespace]]
name = 'newest'
subscribe = 'anyone'
history_size = 1
recovery = 'cache'
[[site.namespace]]
name = 'room'
subscribe = 'any_token'
join_leave = true
presence = true
";

pub(super) struct World {
    random: Random,
    truth: Truth,
    hub: Arc<Hub>,
    tasks: Tasks,
    metrics: Metrics,
    browsers: Vec<Browser>,
    /// Positions of those who were cut off, to come back with.
    memories: Vec<(usize, BTreeMap<&'static str, Position>)>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let config = CONFIG.replace("NAMESPACES", NAMESPACES);
        let (hub, tasks, metrics) = test_hub::start(&config, SECRET);
        Self {
            random: Random::new(seed),
            truth: Truth::default(),
            hub,
            tasks,
            metrics,
            browsers: Vec::new(),
            memories: Vec::new(),
        }
    }

    /// Someone does something; then the shards get as far as chance has it.
    pub(super) async fn step(&mut self) {
        match self.random.below(100) {
            0..28 => self.publish().await,
            28..48 => self.read(),
            48..68 => self.subscribe().await,
            68..71 => self.unsubscribe().await,
            71..84 => self.come().await,
            84..88 => self.cut(),
            88..91 => self.ask().await,
            91..95 => self.revoke().await,
            95..98 => self.burst().await,
            _ => self.pass_time().await,
        }
        for _ in 0..self.random.below(4) {
            yield_now().await;
        }
        self.forget_the_closed();
    }

    fn token(&self, user: &str, channel: Option<&str>) -> String {
        let now = self.hub.clock.now();
        let mut claims = json!({ "sub": user, "iat": now, "exp": now + LIFE });
        if let Some(channel) = channel {
            claims["channel"] = channel.into();
            claims["exp"] = (now + LIFE / 4).into();
        }
        token::mint("", SECRET, &claims.to_string())
    }

    fn somebody(&mut self) -> Option<usize> {
        let count = self.browsers.len();
        (count > 0).then(|| self.random.below(count))
    }

    async fn publish(&mut self) {
        let mut place = (self.random.below(2), self.random.pick(CHANNELS));
        // Rather where someone listens.
        if let Some(who) = self.somebody().filter(|_| self.random.chance(80)) {
            let browser = &self.browsers[who];
            let followed: Vec<_> = browser.subscribed.keys().copied().collect();
            if !followed.is_empty() {
                place = (browser.site, self.random.pick(&followed));
            }
        }
        self.publish_to(place.0, place.1).await;
    }

    async fn burst(&mut self) {
        let (site, channel) = (
            self.random.below(2),
            self.random.pick(&["post:1", "meter:1"]),
        );
        for _ in 0..self.random.below(20) {
            self.publish_to(site, channel).await;
        }
    }

    async fn publish_to(&mut self, site: usize, channel: &'static str) {
        let number = self.truth.draft();
        let key = self
            .random
            .chance(60)
            .then(|| self.random.below(3).to_string());
        let skip_history = self.random.chance(4);
        let known = self.hub.find(SiteId(site), channel).unwrap();
        // Written down before anyone can have it: nobody reads during the publish itself.
        let draft = Draft {
            data: Bytes::from(number.to_string()),
            key: key.as_deref().map(Box::from),
            skip_history,
            ..Draft::default()
        };
        let published = self.hub.publish(&known, draft).await.unwrap();
        let accepted = Accepted {
            name: (site, channel),
            key,
            epoch: published.position.epoch.to_string(),
            offset: if skip_history {
                0
            } else {
                published.position.offset
            },
        };
        self.truth.accept(number, accepted);
    }

    fn read(&mut self) {
        if let Some(who) = self.somebody() {
            self.browsers[who].read(&mut self.truth);
        }
    }

    async fn subscribe(&mut self) {
        let Some(who) = self.somebody() else { return };
        let channel = self.random.pick(CHANNELS);
        let (site, user) = (self.browsers[who].site, self.browsers[who].user.clone());
        let remembered = self
            .memories
            .iter()
            .find(|(of, positions)| *of == site && positions.contains_key(channel));
        let from = remembered.map(|(_, positions)| positions[channel].clone());
        let from = from.filter(|_| self.random.chance(70));
        let token = (channel == "edit:1").then(|| self.token(&user, Some(channel)));
        let browser = &mut self.browsers[who];
        browser.read(&mut self.truth);
        if browser.closed.is_some()
            || browser.subscribed.contains_key(channel)
            || browser.awaits(channel)
        {
            return;
        }
        // A newer token, or none at all, may be refused; one that is not must hold.
        browser
            .forbidden
            .retain(|name| *name != channel || is_private(name));
        browser.subscribe(channel, from, token).await;
    }

    async fn unsubscribe(&mut self) {
        let Some(who) = self.somebody() else { return };
        let browser = &mut self.browsers[who];
        browser.read(&mut self.truth);
        let Some(channel) = browser.subscribed.keys().next().copied() else {
            return;
        };
        browser
            .command("unsubscribe", json!({ "channel": channel }))
            .await;
        // Until the reply, what is on its way still comes.
        self.settle().await;
        let browser = &mut self.browsers[who];
        browser.read(&mut self.truth);
        browser.subscribed.remove(channel);
    }

    async fn ask(&mut self) {
        let Some(who) = self.somebody() else { return };
        let channel = self.random.pick(CHANNELS);
        let body = json!({ "channel": channel, "limit": 3 });
        let question = self.random.pick(&["history", "presence", "presence_stats"]);
        self.browsers[who].command(question, body).await;
    }

    async fn come(&mut self) {
        let (site, user) = (self.random.below(2), self.random.pick(USERS));
        let client = test_hub::client(&self.hub, site, LIMITS, &self.metrics).await;
        let leave = self.hub.leave(&client.connection);
        let mut browser = Browser::new(site, user.to_owned(), client, leave);
        let token = self.token(user, None);
        browser.command("connect", json!({ "token": token })).await;
        if !browser.client.connected {
            // Revoked in this very second: the token is not newer.
            self.truth.count("refusals");
            return;
        }
        // Back with what it knew.
        if let Some(place) = self.memories.iter().position(|(of, _)| *of == site) {
            self.truth.count("reconnections");
            for (channel, position) in self.memories.remove(place).1 {
                let token = (channel == "edit:1").then(|| self.token(user, Some(channel)));
                browser.subscribe(channel, Some(position), token).await;
            }
        }
        self.browsers.push(browser);
    }

    /// A connection breaks off; its client remembers where it stood.
    fn cut(&mut self) {
        let Some(who) = self.somebody() else { return };
        let mut browser = self.browsers.swap_remove(who);
        if self.random.chance(50) {
            browser.read(&mut self.truth);
        }
        self.memories.push((browser.site, browser.subscribed));
    }

    async fn revoke(&mut self) {
        let (site, user) = (self.random.below(2), self.random.pick(USERS));
        self.truth.count("revocations");
        let realtime = (&*self.hub, SiteId(site));
        let mut target = Target {
            user: Some(user.to_owned()),
            ..Target::default()
        };
        let everybody = self.random.chance(30);
        if everybody {
            target = Target::default();
        }
        if !everybody && self.random.chance(40) {
            let closed = api::disconnect(realtime, &target, &Disconnect::default()).unwrap();
            self.truth.count(if closed > 0 {
                "disconnections"
            } else {
                "idle revocations"
            });
            for browser in &mut self.browsers {
                if browser.site == site && browser.user == user {
                    browser.read(&mut self.truth);
                    assert!(browser.closed.is_some(), "still open after its disconnect");
                }
            }
            return;
        }
        let channel = self.random.pick(CHANNELS);
        // What was handed out before is not held against it.
        for browser in &mut self.browsers {
            browser.read(&mut self.truth);
        }
        api::unsubscribe(realtime, &target, channel).await.unwrap();
        for browser in &mut self.browsers {
            if browser.site == site && (everybody || browser.user == user) {
                browser.forbidden.push(channel);
                browser.read(&mut self.truth);
            }
        }
        self.settle().await;
        for browser in &mut self.browsers {
            browser.read(&mut self.truth);
            let ended = browser.closed.is_some() || !browser.subscribed.contains_key(channel);
            let meant = browser.site == site && (everybody || browser.user == user);
            assert!(ended || !meant || !is_private(channel), "{channel} goes on");
            // Open channels may be subscribed to again at once.
            browser.forbidden.retain(|name| is_private(name));
        }
    }

    async fn pass_time(&mut self) {
        let seconds = self.random.pick(&[1, 1, 2, 6, 31, 50, 90]);
        advance(Duration::from_secs(seconds)).await;
        for browser in &mut self.browsers {
            browser.client.on_time();
            browser.read(&mut self.truth);
            if browser.closed == Some(3005) {
                self.truth.count("expiries");
            }
            browser.forbidden.clear();
        }
    }

    fn forget_the_closed(&mut self) {
        for browser in std::mem::take(&mut self.browsers) {
            match browser.closed {
                None => self.browsers.push(browser),
                Some(code) => {
                    if code == 3008 {
                        self.truth.count("slow");
                    }
                    self.memories.push((browser.site, browser.subscribed));
                }
            }
        }
    }

    /// Until the shards have nothing left to do.
    async fn settle(&self) {
        for _ in 0..80 {
            yield_now().await;
        }
    }

    /// Everyone reads all, and nothing is missing; then everyone goes, and nothing is left.
    pub(super) async fn end(mut self) -> Truth {
        for _ in 0..2 {
            self.settle().await;
            for browser in &mut self.browsers {
                browser.read(&mut self.truth);
            }
        }
        self.forget_the_closed();
        for browser in &self.browsers {
            browser.check_complete(&self.truth);
        }
        self.browsers.clear();
        self.settle().await;
        advance(Duration::from_secs(10)).await;
        self.settle().await;
        assert_eq!(self.metrics.subscriptions.get(), 0);
        assert_eq!(self.metrics.connections.get(), 0);
        assert!(self.hub.presence.is_empty(), "someone is still there");
        for site in 0..2 {
            assert!(self.hub.users(SiteId(site)).unwrap().is_empty());
        }
        assert!(
            self.hub.quota.has_room(1_000_000),
            "a place was not given back"
        );
        let evicted = self.hub.broker.evictions();
        for _ in 0..evicted {
            self.truth.count("evictions");
        }
        self.tasks.stop();
        self.truth
    }
}
