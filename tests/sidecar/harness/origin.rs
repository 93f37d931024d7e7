//! A server behind the sidecar that hears and says raw bytes, over TCP or a Unix socket.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{future::Future, path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

use super::{http::Stream, within};

/// A server; its connections end with it.
pub(crate) struct Origin {
    /// As `site.upstream.address` takes it.
    pub(crate) address: String,
    _serving: JoinSet<()>,
}

/// One connection of the sidecar to the server.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Origin {
    /// Serves on a free port; each connection is `serve`'s.
    pub(crate) async fn tcp<F, Fut>(serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Connection::new(stream)));
            }
        });
        Self {
            address,
            _serving: serving,
        }
    }

    /// As [`Origin::tcp`], on a Unix socket.
    pub(crate) fn unix<F, Fut>(path: &Path, serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = UnixListener::bind(path).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Connection::new(stream)));
            }
        });
        Self {
            address: format!("unix:{}", path.display()),
            _serving: serving,
        }
    }

    /// The table of a site that this server is the back end of.
    pub(crate) fn backend(&self) -> String {
        format!("[site.upstream]\naddress = {:?}", self.address)
    }
}

/// A server's connection handler that answers every request with its own head.
pub(crate) async fn echo(mut connection: Connection) {
    while let Some(head) = connection.head().await {
        let length = head.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
        connection.say(answer).await;
    }
}

/// A handler that says `answer` to whatever is asked and closes the connection.
pub(crate) fn say(
    answer: impl Into<String>,
) -> impl Fn(Connection) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static
{
    let answer: Arc<str> = answer.into().into();
    move |mut connection| {
        let answer = Arc::clone(&answer);
        Box::pin(async move {
            if connection.head().await.is_some() {
                connection.say(answer.as_bytes()).await;
            }
        })
    }
}

impl Connection {
    fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    /// The next request's head as it stands on the wire, or nothing once the sidecar has left.
    pub(crate) async fn head(&mut self) -> Option<String> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if let Some(at) = self.read.windows(END.len()).position(|w| w == END) {
                let head = self.read.drain(..at + END.len()).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads until what came since the head ends with `end`.
    pub(crate) async fn body_until(&mut self, end: &str) -> String {
        within("the request's body", async {
            while !self.read.ends_with(end.as_bytes()) {
                assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0);
            }
        })
        .await;
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Says `bytes`, unless the sidecar has left.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }
}
