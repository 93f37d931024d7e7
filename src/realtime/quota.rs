//! How many subscriptions all connections together may have.
//!
//! It only counts: which they are is the shards' knowledge.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

use super::{connection::Connection, notice::Notice};

/// The places for subscriptions, shared by all shards.
#[derive(Debug)]
pub(super) struct Quota {
    most: usize,
    taken: AtomicUsize,
    notice: Mutex<Notice>,
}

impl Quota {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
            notice: Mutex::new(Notice::new()),
        }
    }

    /// Takes a place, to be given back when the subscription ends; `false` when there is none.
    fn take(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let order = Ordering::Relaxed;
        let taken = self.taken.fetch_update(order, order, more).is_ok();
        if !taken {
            self.warn();
        }
        taken
    }

    /// As [`Quota::take`]; a plain `connection` is closed when there is none.
    pub(super) fn take_for(&self, connection: &Connection) -> bool {
        let taken = self.take();
        if !taken {
            connection.lacks_subscription();
        }
        taken
    }

    /// Gives a place back that was taken.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there would be room for `more`; nothing is taken.
    pub(super) fn has_room(&self, more: usize) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        let room = taken.saturating_add(more) <= self.most;
        if !room {
            self.warn();
        }
        room
    }

    fn warn(&self) {
        let mut notice = self.notice.lock().unwrap_or_else(PoisonError::into_inner);
        let due = notice.note(Instant::now());
        drop(notice);
        if let Some(refused) = due {
            tracing::warn!(
                refused,
                "realtime.subscriptions_max is reached: subscriptions are refused; raise it if \
                 memory allows"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
        runtime::Handle,
        time::timeout,
    };

    use super::{
        super::{Admission, Metrics, Realtime, Seat, Socket},
        *,
    };
    use crate::{
        auth::token::{self, Keys},
        broker::{
            Draft, SiteId,
            memory::{self, Memory},
        },
        config,
        exchange::{Origin, Request, RequestId, Scheme, empty},
        shutdown::Tasks,
    };

    const SOON: Duration = Duration::from_secs(5);

    /// A realtime side with one place for a subscription.
    fn realtime(tasks: &Tasks) -> Realtime {
        let text = "[realtime]\nsubscriptions_max = 1\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntls = false\n\
             [[site]]\nname = \"main\"\nhosts = [\"localhost\"]\n\
             [site.upstream]\naddress = \"http://127.0.0.1:1\"\n";
        let config = config::parse(text).unwrap();
        let broker = Arc::new(Memory::new(&config.broker, 1, memory::Metrics::default()));
        let (metrics, tasks) = (Metrics::default(), tasks.clone());
        let rules = token::Rules {
            life_max: SOON,
            audience: String::new(),
            issuer: String::new(),
        };
        let keys = Keys::new(rules, [], None).unwrap();
        let sites = vec![(&config.sites[0], keys)];
        Realtime::start(
            &config.realtime,
            sites,
            &broker,
            (tasks, &[Handle::current()]),
            metrics,
        )
    }

    /// A page that asks for the plain stream of `site`.
    fn page() -> Request {
        let request = http::Request::get("/realtime?channel=site")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let address = "127.0.0.1:443".parse().unwrap();
        Request {
            head: request.body(()).unwrap().into_parts().0,
            body: empty(),
            origin: Origin {
                client: address,
                local: address,
                scheme: Scheme::Https,
                host: "localhost".into(),
                port: None,
                id: RequestId(1),
            },
        }
    }

    fn seat(realtime: &Realtime) -> Seat {
        match realtime.admit(0, &page()).unwrap() {
            Admission::Upgrade { seat, .. } => seat,
            other => panic!("{other:?}"),
        }
    }

    /// Opens `seat`; the browser's end of its socket.
    async fn open(seat: Seat) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let browser = TcpStream::connect(listener.local_addr().unwrap());
        let browser = browser.await.unwrap();
        seat.open(
            Socket::Plain(listener.accept().await.unwrap().0),
            [][..].into(),
        );
        browser
    }

    #[tokio::test]
    async fn of_two_plain_streams_let_in_for_one_place_one_is_closed_and_does_not_wait_in_vain() {
        let tasks = Tasks::new();
        let realtime = realtime(&tasks);
        let (one, other) = (seat(&realtime), seat(&realtime));
        let (one, other) = (open(one).await, open(other).await);
        let mut stays = timeout(SOON, async {
            let (mut closed, stays) = tokio::select! {
                biased;
                _ = one.readable() => (one, other),
                _ = other.readable() => (other, one),
            };
            let mut frame = [0; 18];
            closed.read_exact(&mut frame).await.unwrap();
            assert_eq!(&frame, b"\x88\x10\x03\xf5limit exceeded");
            stays
        })
        .await
        .unwrap();
        let draft = Draft {
            data: Bytes::from_static(b"1"),
            ..Draft::default()
        };
        realtime.publish(SiteId(0), "site", draft).await.unwrap();
        let mut frame = [0; 3];
        let read = stays.read_exact(&mut frame);
        timeout(SOON, read).await.unwrap().unwrap();
        assert_eq!(&frame, b"\x81\x011");
        // One that is connected would be waited for.
        drop(stays);
        tasks.finish(SOON).await.unwrap();
    }

    #[test]
    fn no_more_than_the_most_are_taken_and_a_place_given_back_can_be_taken_again() {
        let places = Quota::new(2);
        assert!(places.has_room(2) && !places.has_room(3));
        assert!(places.take());
        assert!(places.has_room(1) && !places.has_room(2));
        assert!(places.take());
        assert!(!places.take() && !places.take());
        assert!(places.has_room(0), "who asks for nothing is never refused");
        places.give_back();
        assert!(places.take());
        assert!(!places.take());
    }

    #[test]
    fn threads_that_take_at_once_get_no_more_than_there_are() {
        let places = Quota::new(1_000);
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = (0..500).filter(|_| places.take()).count();
                    taken.fetch_add(mine, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 1_000);
    }
}
