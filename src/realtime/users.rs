//! The connections of a site by client, user and session, and the revocations that hold against
//! them.
//!
//! One lock guards both, so that a connection which enters while its user is revoked is either
//! found by the revocation or sees it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::connection::{ClientId, Connection, Identity};

/// Whom a command of the publish API means: all that is set must fit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    /// The user, as tokens name it in `sub`.
    pub user: Option<String>,
    /// One connection, by the id that its connect reply gave.
    pub client: Option<String>,
    /// The WordPress session, as tokens name it in `sid`.
    pub sid: Option<String>,
}

/// Why a connection may not enter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// Its token was revoked.
    Revoked,
    /// Its user has `realtime.connections_per_user_max` connections.
    TooMany,
}

/// `realtime.revocations_max` revocations are in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

/// The connections and revocations of one site.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    clients: HashMap<ClientId, Weak<Connection>>,
    users: HashMap<Arc<str>, Vec<ClientId>>,
    revocations: HashMap<Revoked, Revocation>,
    /// Each revocation once, by the Unix second at which no token can be left that it holds
    /// against.
    ends: BTreeSet<(u64, Revoked)>,
}

/// What was revoked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Revoked {
    User(Box<str>),
    Session(Box<str>),
    UserOfChannel(Box<str>, Box<str>),
    SessionOfChannel(Box<str>, Box<str>),
    Channel(Box<str>),
}

#[derive(Clone, Copy, Debug)]
struct Revocation {
    /// Tokens issued in this second or before don't hold.
    until: u64,
    ends: u64,
}

/// What a revocation is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bearer<'a> {
    pub(super) user: &'a str,
    pub(super) sid: Option<&'a str>,
    /// When the token was issued; 0 where that is not known.
    pub(super) issued: u64,
}

impl Users {
    /// Takes in a connection that has told who it is; a refused one stays nobody.
    pub(super) fn enter(
        &self,
        connection: &Arc<Connection>,
        identity: Identity,
        per_user_max: usize,
    ) -> Result<(), Denied> {
        let mut state = self.lock();
        if state.revokes(identity.bearer(), None) {
            return Err(Denied::Revoked);
        }
        if !identity.is_anonymous() {
            let of_user = state.users.entry(Arc::clone(&identity.user)).or_default();
            if of_user.len() >= per_user_max {
                return Err(Denied::TooMany);
            }
            of_user.push(identity.client);
        }
        let weak = Arc::downgrade(connection);
        state.clients.insert(identity.client, weak);
        connection.identify(identity);
        Ok(())
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&self, connection: &Connection) {
        let Some(identity) = connection.identity() else {
            return;
        };
        let mut state = self.lock();
        if state.clients.remove(&identity.client).is_none() {
            return;
        }
        let Some(of_user) = state.users.get_mut(&identity.user) else {
            return;
        };
        of_user.retain(|client| *client != identity.client);
        if of_user.is_empty() {
            state.users.remove(&identity.user);
        }
    }

    /// The connections that `target` means.
    pub(super) fn find(&self, target: &Target) -> Vec<Arc<Connection>> {
        self.lock().find(target)
    }

    /// Has no token hold any more that was issued to `target`'s user in the second `now` or
    /// before, or that belongs to its session: for `channel`, or for all. The connections that
    /// are there.
    ///
    /// A target that names a connection alone revokes nothing: its token isn't known by it.
    pub(super) fn revoke(
        &self,
        target: &Target,
        channel: Option<&str>,
        (now, life): (u64, Duration),
        revocations_max: usize,
    ) -> Result<Vec<Arc<Connection>>, Full> {
        let mut state = self.lock();
        state.expire(now);
        if let Some(revoked) = Revoked::of(target, channel) {
            state.enter(revoked, (now, life), revocations_max)?;
        }
        if *target == Target::default() {
            // Who follows the channel, the shards know.
            return Ok(Vec::new());
        }
        Ok(state.find(target))
    }

    /// Whether a token of `bearer` was revoked: for `channel`, or for all.
    pub(super) fn revokes(&self, bearer: Bearer<'_>, channel: Option<&str>) -> bool {
        self.lock().revokes(bearer, channel)
    }

    /// Revocations in force in the Unix second `now`.
    pub(super) fn revocations(&self, now: u64) -> usize {
        let mut state = self.lock();
        state.expire(now);
        state.revocations.len()
    }

    /// Users that are connected; whoever has no name is not among them.
    pub(super) fn count(&self) -> usize {
        self.lock().users.len()
    }

    /// Whether nobody is there.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.clients.is_empty() && state.users.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, target: &Target) -> Vec<Arc<Connection>> {
        let one;
        let candidates: &[ClientId] = match (&target.user, &target.client) {
            (_, Some(client)) => match ClientId::parse(client) {
                Some(client) => {
                    one = [client];
                    &one
                }
                None => &[],
            },
            (Some(user), None) => self.users.get(user.as_str()).map_or(&[], Vec::as_slice),
            (None, None) => return self.fitting(self.clients.keys(), target),
        };
        self.fitting(candidates.iter(), target)
    }

    fn fitting<'a>(
        &self,
        candidates: impl Iterator<Item = &'a ClientId>,
        target: &Target,
    ) -> Vec<Arc<Connection>> {
        let connections = candidates.filter_map(|client| self.clients.get(client)?.upgrade());
        let fits = |identity: &Identity| {
            let user = target.user.as_deref();
            let sid = target.sid.as_deref();
            user.is_none_or(|user| user == &*identity.user)
                && sid.is_none_or(|sid| identity.sid.as_deref() == Some(sid))
        };
        connections
            .filter(|connection| connection.identity().is_some_and(fits))
            .collect()
    }

    fn revokes(&self, bearer: Bearer<'_>, channel: Option<&str>) -> bool {
        let target = Target {
            user: (!bearer.user.is_empty()).then(|| bearer.user.to_owned()),
            sid: bearer.sid.map(str::to_owned),
            client: None,
        };
        let holds = |revoked: &Revoked| {
            let revocation = self.revocations.get(revoked);
            revocation.is_some_and(|revocation| bearer.issued <= revocation.until)
        };
        // Nearly always there is none, and nothing to be looked up.
        !self.revocations.is_empty() && Revoked::of_bearer(&target, channel).iter().any(holds)
    }

    fn enter(
        &mut self,
        revoked: Revoked,
        (now, life): (u64, Duration),
        revocations_max: usize,
    ) -> Result<(), Full> {
        let known = self.revocations.get(&revoked).map(|known| known.ends);
        if known.is_none() && self.revocations.len() >= revocations_max {
            return Err(Full);
        }
        let until = match revoked {
            Revoked::User(_) | Revoked::UserOfChannel(..) | Revoked::Channel(_) => now,
            // A session that has ended never comes back.
            Revoked::Session(_) | Revoked::SessionOfChannel(..) => u64::MAX,
        };
        let ends = now.saturating_add(life.as_secs()).saturating_add(1);
        if let Some(before) = known {
            self.ends.remove(&(before, revoked.clone()));
        }
        self.ends.insert((ends, revoked.clone()));
        self.revocations.insert(revoked, Revocation { until, ends });
        Ok(())
    }

    fn expire(&mut self, now: u64) {
        while let Some((ends, _)) = self.ends.first() {
            if *ends > now {
                return;
            }
            if let Some((_, revoked)) = self.ends.pop_first() {
                self.revocations.remove(&revoked);
            }
        }
    }
}

impl Revoked {
    /// What `target` revokes: its session where it names one, else its user; nobody named means
    /// everybody of the channel.
    fn of(target: &Target, channel: Option<&str>) -> Option<Self> {
        let channel = channel.map(Box::<str>::from);
        if target.client.is_some() {
            return None;
        }
        match (&target.sid, &target.user, channel) {
            (Some(sid), _, None) => Some(Self::Session(sid.as_str().into())),
            (Some(sid), _, Some(channel)) => {
                Some(Self::SessionOfChannel(sid.as_str().into(), channel))
            }
            (None, Some(user), None) => Some(Self::User(user.as_str().into())),
            (None, Some(user), Some(channel)) => {
                Some(Self::UserOfChannel(user.as_str().into(), channel))
            }
            (None, None, channel) => channel.map(Self::Channel),
        }
    }

    /// Everything that could hold against a bearer.
    fn of_bearer(bearer: &Target, channel: Option<&str>) -> Vec<Self> {
        let user = Target {
            user: bearer.user.clone(),
            ..Target::default()
        };
        let sid = Target {
            sid: bearer.sid.clone(),
            ..Target::default()
        };
        let everybody = channel.map(|channel| Self::Channel(channel.into()));
        let mut all: Vec<Self> = everybody.into_iter().collect();
        for target in [user, sid] {
            if target != Target::default() {
                all.extend(Self::of(&target, None));
                all.extend(channel.and_then(|channel| Self::of(&target, Some(channel))));
            }
        }
        all
    }
}

impl Identity {
    /// What a revocation is checked against.
    pub(super) fn bearer(&self) -> Bearer<'_> {
        Bearer {
            user: &self.user,
            sid: self.sid.as_deref(),
            issued: self.issued(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_that_is_repeated_takes_the_memory_of_one_and_lasts_from_the_last_time() {
        let users = Users::default();
        let target = Target {
            user: Some("7".into()),
            ..Target::default()
        };
        let life = Duration::from_secs(100);
        for now in 1_000..1_050 {
            users.revoke(&target, None, (now, life), 10).unwrap();
        }
        let state = users.lock();
        assert_eq!((state.revocations.len(), state.ends.len()), (1, 1));
        drop(state);
        assert_eq!(users.revocations(1_149), 1);
        assert_eq!(users.revocations(1_150), 0);
        assert!(users.lock().ends.is_empty());
    }
}
