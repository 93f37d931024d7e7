//! Real connections to servers made of raw bytes, on loopback.

mod failures;
mod framing;
mod headers;
mod reuse;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;

use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::config::Address;
use crate::exchange::{Origin, RequestId, Scheme};

const SOON: Duration = Duration::from_secs(5);

/// What a server does once it has read one request.
#[derive(Clone, Copy)]
enum Step {
    /// Sends these bytes.
    Send(&'static str),
    /// Sends these bytes without waiting for a request.
    SendAtOnce(&'static str),
    /// Sends nothing and closes.
    Close,
    /// Reads on, and says nothing more.
    Silence,
}

use Step::{Close, Send, SendAtOnce, Silence};

const OK: Step = Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

/// A server with a script for each connection, in the order in which they come. After its script
/// a connection is closed.
struct Server {
    address: String,
    /// Every request, with the number of the connection that it came on.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    tasks: Tasks,
}

impl Server {
    async fn start<const N: usize>(scripts: [&'static [Step]; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let tasks = Tasks::new();
        let (spawner, log) = (tasks.clone(), Arc::clone(&seen));
        tasks.spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                spawner.spawn(play(number, stream, script, Arc::clone(&log)));
            }
        });
        Self {
            address,
            seen,
            tasks,
        }
    }

    /// A client with deadlines that no test waits for unless it wants to.
    fn client(&self) -> Upstream {
        self.client_with(|_| {})
    }

    fn client_with(&self, change: impl FnOnce(&mut config::Upstream)) -> Upstream {
        let mut settings = settings(Address::Tcp(self.address.clone()));
        change(&mut settings);
        Upstream::new(&settings, self.tasks.clone(), Metrics::default())
    }

    fn requests(&self) -> Vec<(usize, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request.
    fn request(&self) -> String {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0).1
    }

    /// Which connection each request came on.
    fn connections(&self) -> Vec<usize> {
        self.requests().iter().map(|(number, _)| *number).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn play(
    number: usize,
    mut stream: TcpStream,
    script: &'static [Step],
    seen: Arc<Mutex<Vec<(usize, String)>>>,
) {
    for step in script {
        if let SendAtOnce(bytes) = step {
            stream.write_all(bytes.as_bytes()).await.unwrap();
            continue;
        }
        let Some(request) = read_request(&mut stream).await else {
            return;
        };
        seen.lock().unwrap().push((number, request));
        match step {
            Send(bytes) | SendAtOnce(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Close => return,
            Silence => drop(stream.read_to_end(&mut Vec::new()).await),
        }
    }
}

/// One whole request as it came.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .split_once("content-length: ")
                .and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok())
                .unwrap_or(0);
            let chunked = head.contains("transfer-encoding: chunked");
            if body.len() >= length && (!chunked || body.ends_with("0\r\n\r\n")) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.push_str(str::from_utf8(&piece[..read]).unwrap()),
        }
    }
}

fn settings(address: Address) -> config::Upstream {
    config::Upstream {
        address,
        connect_timeout: SOON,
        response_timeout: SOON,
        idle_timeout: SOON,
        pool_max: 4,
        pool_idle_timeout: Duration::from_secs(4),
    }
}

fn request(method: Method, target: &str, body: exchange::Body) -> exchange::Request {
    let request = http::Request::builder().method(method).uri(target);
    let (head, ()) = request.body(()).unwrap().into_parts();
    exchange::Request {
        head,
        body,
        origin: Origin {
            client: "203.0.113.9:50000".parse().unwrap(),
            local: "192.0.2.1:8443".parse().unwrap(),
            scheme: Scheme::Https,
            host: "example.org".into(),
            port: None,
            id: RequestId(1),
        },
    }
}

fn get(target: &str) -> exchange::Request {
    request(Method::GET, target, exchange::empty())
}

fn post(body: &'static str) -> exchange::Request {
    request(Method::POST, "/", exchange::full(body))
}

/// A body without a known length, and what feeds it.
fn streamed() -> (
    http_body_util::channel::Sender<Bytes, exchange::BodyError>,
    exchange::Body,
) {
    let (sender, body) = http_body_util::channel::Channel::new(4);
    (sender, body.boxed_unsync())
}

/// The response, waited for as long as a test may take.
async fn answer(
    client: &Upstream,
    request: exchange::Request,
) -> Result<exchange::Response, Failure> {
    timeout(SOON, client.answer(request)).await.unwrap()
}

async fn text(response: exchange::Response) -> String {
    let body = timeout(SOON, response.into_body().collect()).await.unwrap();
    String::from_utf8(body.unwrap().to_bytes().into()).unwrap()
}

async fn reason(client: &Upstream, request: exchange::Request) -> (u16, &'static str) {
    let failure = answer(client, request).await.unwrap_err();
    (failure.status.as_u16(), failure.reason)
}
