//! Bytes in, bytes out, through the real protocol code over a pipe; time is the tests' own.
//!
//! What stands behind the front is a stand-in that says what reached it.

mod bodies;
mod deadlines;
mod detached;
mod heads;
mod http2;
mod upgrade;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, channel::Channel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    arrival::Arrival,
    dispatch::{Admission, Destination, Seat},
    door::Door,
    metrics::{Failed, Metrics},
};
use crate::{
    config::{self, Mode},
    exchange::{BodyError, Failure, Request, Response, Scheme, empty, full},
    router::{Route, Router},
    shutdown::Tasks,
    tls,
};

const CONFIG: &str = r#"
[[listener]]
address = "127.0.0.1:0"
tls = false
[[site]]
name = "site"
hosts = ["site.example"]
[site.upstream]
address = "http://127.0.0.1:8080"
"#;

/// What the stand-in tells its test.
#[derive(Debug, Eq, PartialEq)]
enum Event {
    Started,
    Finished,
    /// The request's future, or its response's body, was dropped before it was finished.
    Dropped,
    /// The response's body was read to its end.
    ReadToTheEnd,
}

/// Stands in for everything behind the front; its path says how a request is answered.
struct StandIn {
    events: mpsc::UnboundedSender<Event>,
    release: Arc<Notify>,
    tasks: Tasks,
    seats: mpsc::UnboundedSender<(DuplexStream, Bytes)>,
}

/// What became of an upgraded connection.
struct Taken(mpsc::UnboundedSender<(DuplexStream, Bytes)>);

impl Seat<DuplexStream> for Taken {
    fn open(self, stream: DuplexStream, read_ahead: Bytes) {
        self.0.send((stream, read_ahead)).unwrap();
    }
}

impl Seat<TcpStream> for Taken {
    fn open(self, _: TcpStream, _: Bytes) {
        panic!("nothing is upgraded over TCP here");
    }
}

struct Guard(mpsc::UnboundedSender<Event>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.1 {
            let _ = self.0.send(Event::Dropped);
        }
    }
}

impl Destination for StandIn {
    type Seat = Taken;

    fn admit(&self, site: usize, request: &Request) -> Result<Admission<Taken>, Failure> {
        assert_eq!(site, 0);
        let headers = &request.head.headers;
        if headers
            .get("upgrade")
            .is_none_or(|value| value != "websocket")
        {
            return Ok(Admission::Answer(match request.head.uri.query() {
                Some(_) => quiet(&self.tasks),
                None => full("no upgrade").into_response(),
            }));
        }
        let mut response = empty().into_response();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        let seat = Taken(self.seats.clone());
        Ok(Admission::Upgrade { response, seat })
    }

    async fn answer(&self, _route: Route, request: Request) -> Result<Response, Failure> {
        match request.head.uri.path() {
            "/wait" | "/wp-cron.php" => {
                let mut guard = Guard(self.events.clone(), false);
                self.events.send(Event::Started).unwrap();
                self.release.notified().await;
                guard.1 = true;
                self.events.send(Event::Finished).unwrap();
                Ok(full("done").into_response())
            }
            "/endless" => Ok(pieces(None, self.events.clone())),
            "/long" => Ok(pieces(Some(64), self.events.clone())),
            "/large" => {
                let large = Bytes::from(vec![b'x'; 256 << 10]);
                let body = FromFn(move |n| (n < 4).then(|| Ok(large.clone())), 0);
                Ok(body.boxed_unsync().into_response())
            }
            "/cut" => Ok(cut(&self.tasks)),
            "/unasked" => {
                let mut response = empty().into_response();
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok(response)
            }
            "/busy" => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Err(Failure::upstream(status, "busy", "/secret/path"))
            }
            _ => seen(request).await,
        }
    }
}

trait IntoResponse {
    fn into_response(self) -> Response;
}

impl IntoResponse for crate::exchange::Body {
    fn into_response(self) -> Response {
        http::Response::new(self)
    }
}

/// Answers with what reached the back end: target, fields, body, origin.
async fn seen(request: Request) -> Result<Response, Failure> {
    let Request { head, body, origin } = request;
    let length = body.size_hint_exact();
    let body = body
        .collect()
        .await
        .map_err(|error| Failure::upstream(StatusCode::BAD_GATEWAY, "stand_in_body", error))?;
    let mut text = format!("{} {}\n", head.method, head.uri);
    let fields = head.headers.iter();
    let mut fields: Vec<String> = fields
        .map(|(name, value)| format!("{name}: {}\n", value.as_bytes().escape_ascii()))
        .collect();
    fields.sort();
    text += &fields.concat();
    let body = body.to_bytes();
    text += &format!("length {length:?} body {}\n", body.escape_ascii());
    text += &format!(
        "origin {} {} {}\n",
        origin.scheme.as_str(),
        origin.authority(),
        origin.client
    );
    Ok(full(text).into_response())
}

trait SizeHintExact {
    fn size_hint_exact(&self) -> Option<u64>;
}

impl<B: http_body::Body> SizeHintExact for B {
    fn size_hint_exact(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

/// A body of `count` pieces of 16 KiB, or one without end.
fn pieces(count: Option<usize>, events: mpsc::UnboundedSender<Event>) -> Response {
    let mut guard = Guard(events, false);
    let body = FromFn(
        move |n| {
            if count.is_some_and(|count| n >= count) {
                guard.1 = true;
                let _ = guard.0.send(Event::ReadToTheEnd);
                return None;
            }
            Some(Ok(Bytes::from_static(&[b'x'; 16 << 10])))
        },
        0,
    );
    body.boxed_unsync().into_response()
}

/// A body that fails a second after its first piece.
fn cut(tasks: &Tasks) -> Response {
    let (mut sender, body) = Channel::<Bytes, BodyError>::new(1);
    tasks.spawn(async move {
        let half = Bytes::from_static(b"half of it");
        sender.send_data(half).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        sender.abort("cut".into());
    });
    body.boxed_unsync().into_response()
}

/// A stream of two events, the second of which comes after 50 quiet minutes.
fn quiet(tasks: &Tasks) -> Response {
    let (mut sender, body) = Channel::<Bytes, BodyError>::new(1);
    tasks.spawn(async move {
        for event in ["first", "second"] {
            sender.send_data(Bytes::from(event)).await.unwrap();
            sleep(Duration::from_secs(3000)).await;
        }
    });
    body.boxed_unsync().into_response()
}

/// A body made by a function of the number of the piece.
struct FromFn<F>(F, usize);

impl<F> http_body::Body for FromFn<F>
where
    F: FnMut(usize) -> Option<Result<Bytes, BodyError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let piece = (this.0)(this.1);
        this.1 += 1;
        std::task::Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}

/// A front with a stand-in behind it.
struct Bench {
    door: Arc<Door<StandIn>>,
    tasks: Tasks,
    events: mpsc::UnboundedReceiver<Event>,
    release: Arc<Notify>,
    seats: mpsc::UnboundedReceiver<(DuplexStream, Bytes)>,
    mode: Mode,
}

impl Bench {
    fn new() -> Self {
        Self::with("")
    }

    /// `front` is what stands in `[front]`.
    fn with(front: &str) -> Self {
        let config = config::parse(&format!("{CONFIG}\n[front]\n{front}")).unwrap();
        let (events, told) = mpsc::unbounded_channel();
        let (seats, taken) = mpsc::unbounded_channel();
        let release = Arc::new(Notify::new());
        let tasks = Tasks::new();
        let door = Door {
            router: Router::new(&config.sites, "/realtime"),
            destination: StandIn {
                events,
                release: Arc::clone(&release),
                tasks: tasks.clone(),
                seats,
            },
            certificates: tls::Certificates::load(&[], tls::Metrics::default()).0,
            detached: Arc::new(Semaphore::new(config.front.detached_max)),
            config: config.front,
            tasks: tasks.clone(),
            metrics: Metrics::default(),
        };
        Self {
            door: Arc::new(door),
            tasks,
            events: told,
            release,
            seats: taken,
            mode: Mode::Serve,
        }
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            client: SocketAddr::from(([192, 0, 2, 7], 5000)),
            local: SocketAddr::from(([192, 0, 2, 1], 443)),
            scheme: Scheme::Https,
            mode: self.mode,
            server_name: None,
        }
    }

    /// Opens an HTTP/1.1 connection through a pipe that holds `capacity` bytes each way.
    fn http1(&self, capacity: usize) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(capacity);
        let served = Arc::clone(&self.door).http1(server, self.arrival());
        (client, self.tasks.spawn(served))
    }

    /// Sends `raw` and reads until the connection closes; says how long that took.
    async fn exchange(&self, raw: impl AsRef<[u8]>) -> (String, Duration) {
        let began = Instant::now();
        let (mut client, _served) = self.http1(1 << 20);
        client.write_all(raw.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        soon(client.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer, began.elapsed())
    }

    /// How many requests failed for `reason`.
    fn failures(&self, reason: &'static str) -> u64 {
        let failures = &self.door.metrics.failures;
        failures.get_or_create(&Failed { reason }).get()
    }
}

/// Waits for what must happen: an hour of the tests' time is for ever.
async fn soon<F: Future>(awaited: F) -> F::Output {
    let hour = Duration::from_secs(3600);
    timeout(hour, awaited).await.expect("it never happened")
}

fn status(answer: &str) -> u16 {
    let number = answer.strip_prefix("HTTP/1.").and_then(|a| a.get(2..5));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
