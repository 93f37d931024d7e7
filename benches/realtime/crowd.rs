//! Many browsers on one thread: they are read as fast as messages come, and what came is counted.

use std::{
    fmt, iter, mem,
    ops::AddAssign,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

use crate::{
    browser::{Arrival, Browser, Door},
    figures::Histogram,
    message::{Message, now},
};

/// Browsers that join at the same time.
const JOINERS: usize = 6;

/// Messages of a channel whose deliveries are counted one by one; a window is no larger.
const NEWEST: usize = 64;

/// What went wrong with the messages of a measurement; all zero, or the server has failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
    pub(crate) misrouted: u64,
    /// Browsers whose connection ended.
    pub(crate) closed: u64,
}

impl Faults {
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.doubled + self.out_of_order + self.misrouted + self.closed
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.misrouted += other.misrouted;
        self.closed += other.closed;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} lost, {} doubled, {} out of order, {} misrouted, {} connections ended",
            self.lost, self.doubled, self.out_of_order, self.misrouted, self.closed
        )
    }
}

/// What the browsers saw since the last [`Crowd::reset`].
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) delivered: u64,
    pub(crate) latency: Histogram,
    faults: Faults,
}

/// A channel as its publisher sees it.
struct Channel {
    receivers: u64,
    published: AtomicU64,
    delivered: AtomicU64,
    /// Deliveries of the newest messages, by number.
    newest: [AtomicU64; NEWEST],
    /// The number up to which every message has arrived at all.
    complete: AtomicU64,
    /// The one that the publisher waits for.
    wanted: AtomicU64,
    publisher: Mutex<Option<Thread>>,
}

struct Shared {
    channels: Vec<Channel>,
    seen: Mutex<Seen>,
    /// Browsers that have joined and are not yet read.
    arriving: Mutex<Vec<Browser>>,
    /// How many have been taken from there.
    reading: AtomicUsize,
    stop: AtomicBool,
}

/// Browsers that are in.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// `count` browsers; `channels_of` says which of the `channels` each one follows.
    pub(crate) fn gather(
        door: &Door,
        count: usize,
        channels: usize,
        channels_of: impl Fn(usize) -> Vec<usize> + Sync,
    ) -> Self {
        let mut receivers = vec![0; channels];
        for channel in (0..count).flat_map(&channels_of) {
            receivers[channel] += 1;
        }
        let shared = Arc::new(Shared {
            channels: receivers.into_iter().map(Channel::new).collect(),
            seen: Mutex::default(),
            arriving: Mutex::default(),
            reading: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("crowd".into());
        let crowd = Self {
            thread: Some(thread.spawn(move || own.read()).unwrap()),
            shared,
        };
        let next = AtomicUsize::new(0);
        let join = || {
            let numbers = || Some(next.fetch_add(1, Ordering::Relaxed));
            for number in iter::from_fn(numbers).take_while(|number| *number < count) {
                let browser = Browser::join(door, number, &channels_of(number));
                let browser = browser.unwrap_or_else(|error| {
                    panic!("{}: browser {number} of {count}: {error}", door.kind.name())
                });
                crowd.shared.arriving.lock().unwrap().push(browser);
            }
        };
        thread::scope(|scope| {
            for _ in 0..JOINERS {
                scope.spawn(join);
            }
        });
        while crowd.shared.reading.load(Ordering::Acquire) < count {
            let ended = crowd.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!ended, "the crowd's thread ended");
            thread::sleep(Duration::from_millis(1));
        }
        crowd
    }

    /// The number of the next message of `channel`, which has one publisher.
    pub(crate) fn number(&self, channel: usize) -> u64 {
        let channel = &self.shared.channels[channel];
        let number = channel.published.load(Ordering::Relaxed) + 1;
        channel.newest_of(number).store(0, Ordering::SeqCst);
        channel.published.store(number, Ordering::SeqCst);
        number
    }

    /// Waits until fewer than `window` messages of `channel` have yet to reach a browser; `false` if
    /// that takes too long.
    pub(crate) fn wait(&self, channel: usize, window: u64, stop: &AtomicBool) -> bool {
        let channel = &self.shared.channels[channel];
        let published = channel.published.load(Ordering::Relaxed);
        let Some(wanted) = (published + 1).checked_sub(window) else {
            return true;
        };
        if channel.receivers == 0 || channel.complete.load(Ordering::SeqCst) >= wanted {
            return true;
        }
        *channel.publisher.lock().unwrap() = Some(thread::current());
        channel.wanted.store(wanted, Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(10);
        while channel.complete.load(Ordering::SeqCst) < wanted {
            if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
                return false;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        true
    }

    /// Waits until all that was published has arrived everywhere, or nothing more comes for five seconds.
    pub(crate) fn settle(&self) {
        let mut last = (self.on_their_way(), Instant::now());
        while last.0 > 0 && last.1.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(1));
            let now = self.on_their_way();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }

    fn on_their_way(&self) -> u64 {
        let channels = self.shared.channels.iter();
        let open = channels.map(|channel| {
            let published = channel.published.load(Ordering::Relaxed);
            (published * channel.receivers)
                .saturating_sub(channel.delivered.load(Ordering::Relaxed))
        });
        open.sum()
    }

    /// Counts anew.
    pub(crate) fn reset(&self) {
        let mut seen = self.shared.seen.lock().unwrap();
        let faults = seen.faults;
        *seen = Seen {
            faults,
            ..Seen::default()
        };
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// All faults since the browsers came; what has not arrived by now is lost.
    pub(crate) fn faults(&self) -> Faults {
        let mut faults = self.shared.seen.lock().unwrap().faults;
        faults.lost = self.on_their_way();
        faults
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            drop(thread.join());
        }
    }
}

impl Channel {
    const fn new(receivers: u64) -> Self {
        Self {
            receivers,
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            newest: [const { AtomicU64::new(0) }; NEWEST],
            complete: AtomicU64::new(0),
            wanted: AtomicU64::new(u64::MAX),
            publisher: Mutex::new(None),
        }
    }

    fn newest_of(&self, number: u64) -> &AtomicU64 {
        &self.newest[usize::try_from(number).unwrap() % NEWEST]
    }

    /// A browser has message `number`; each has them in order, so all before are complete with it.
    fn arrived(&self, number: u64) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        let everywhere = self.newest_of(number).fetch_add(1, Ordering::SeqCst) + 1;
        if everywhere < self.receivers {
            return;
        }
        self.complete.fetch_max(number, Ordering::SeqCst);
        if number >= self.wanted.load(Ordering::SeqCst) {
            self.wanted.store(u64::MAX, Ordering::SeqCst);
            if let Some(publisher) = &*self.publisher.lock().unwrap() {
                publisher.unpark();
            }
        }
    }
}

impl Shared {
    /// The crowd's thread: browsers that joined are read at once, for they must answer pings.
    fn read(&self) {
        let mut browsers: Vec<Option<Browser>> = Vec::new();
        let mut scratch = Vec::new();
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut events = Vec::with_capacity(256);
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        while !self.stop.load(Ordering::Relaxed) {
            match epoll::wait(&poll, spare_capacity(&mut events), Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("epoll: {error}"),
            }
            self.receive(&mut events, &mut browsers, &mut scratch);
            let arrived = mem::take(&mut *self.arriving.lock().unwrap());
            for mut browser in arrived {
                browser.socket.set_nonblocking(true).unwrap();
                let data = epoll::EventData::new_u64(browsers.len() as u64);
                epoll::add(&poll, &browser.socket, data, epoll::EventFlags::IN).unwrap();
                // What came along with the last answer of the way in; nothing is published yet.
                let early = browser.take(&mut scratch, &mut |_, _| {});
                assert!(early.is_ok(), "a browser's connection ended at once");
                browsers.push(Some(browser));
                self.reading.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn receive(
        &self,
        events: &mut Vec<epoll::Event>,
        browsers: &mut [Option<Browser>],
        scratch: &mut Vec<u8>,
    ) {
        let mut seen = self.seen.lock().unwrap();
        for event in events.drain(..) {
            let place = &mut browsers[usize::try_from(event.data.u64()).unwrap()];
            let Some(browser) = place else { continue };
            let ended = browser.receive(scratch, &mut |arrival, message| {
                self.note(&mut seen, &arrival, message);
            });
            if ended.is_err() {
                // Dropping it takes it out of the set.
                *place = None;
                seen.faults.closed += 1;
            }
        }
    }

    fn note(&self, seen: &mut Seen, arrival: &Arrival, message: Message) {
        match arrival {
            Arrival::New => {}
            Arrival::Late => seen.faults.out_of_order += 1,
            Arrival::Again => {
                seen.faults.doubled += 1;
                return;
            }
            Arrival::Misrouted => {
                seen.faults.misrouted += 1;
                return;
            }
        }
        seen.delivered += 1;
        seen.latency.add(now().saturating_sub(message.sent));
        self.channels[message.channel].arrived(message.number);
    }
}
