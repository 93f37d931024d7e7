//! HTTP as it stands on the wire: an HTTP/1.1 client of raw bytes, and hyper's for HTTP/2.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::io;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
};

use super::within;

/// Anything that bytes go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One HTTP/1.1 connection.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    /// Read, and not yet taken.
    pub(crate) read: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// How much of a body is still to come.
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    Close,
}

impl Head {
    /// The value of a field, named in lower case, that stands once at most.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice");
        value
    }

    pub(crate) fn framing(&self) -> Framing {
        if self.status == 204 || self.status == 304 || self.status < 200 {
            return Framing::Length(0);
        }
        match (
            self.field("transfer-encoding"),
            self.field("content-length"),
        ) {
            (Some("chunked"), None) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap()),
            (None, None) => Framing::Close,
            both => panic!("framing: {both:?}"),
        }
    }
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Client {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", async {
            self.stream.write_all(bytes.as_ref()).await.unwrap();
            self.stream.flush().await.unwrap();
        })
        .await;
    }

    /// Reads once; 0 at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        let read = self.stream.read_buf(&mut self.read);
        within("bytes of the peer", read).await
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8(line).unwrap());
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        let status = self.line().await?;
        let (version, status) = status.split_once(' ').unwrap();
        assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{version}");
        let status = status.get(..3).unwrap();
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Head {
                    status: status.parse().unwrap(),
                    fields,
                });
            }
            let (name, value) = line.split_once(':').unwrap();
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next piece of a body, `None` at its regular end, an error where it was cut.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        match framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.take(*left).await?;
                *left -= piece.len();
                if piece.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Some(piece))
            }
            Framing::Close => {
                let piece = self.take(usize::MAX).await?;
                Ok((!piece.is_empty()).then_some(piece))
            }
            Framing::Chunked => self.chunk().await,
        }
    }

    /// What is there of the next `most` bytes; empty at the end.
    async fn take(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.read.is_empty() {
            self.fill().await?;
        }
        let taken = self.read.len().min(most);
        Ok(self.read.drain(..taken).collect())
    }

    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).unwrap();
        while self.read.len() < size + 2 {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let chunk: Vec<u8> = self.read.drain(..size).collect();
        assert_eq!(self.line().await?, "", "after a chunk");
        Ok((size > 0).then_some(chunk))
    }

    /// The rest of a body, or as much as came of one that was cut.
    pub(crate) async fn rest(&mut self, mut framing: Framing) -> Result<Vec<u8>, Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match self.piece(&mut framing).await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok(body),
                Err(_) => return Err(body),
            }
        }
    }

    /// A whole response.
    pub(crate) async fn response(&mut self) -> Response {
        let head = self.head().await.unwrap();
        let body = self.rest(head.framing()).await;
        let body = body.unwrap_or_else(|cut| panic!("{head:?} was cut after {} bytes", cut.len()));
        Response { head, body }
    }

    /// Sends and waits for the response.
    pub(crate) async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).await;
        self.response().await
    }
}

/// One HTTP/2 connection.
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Http2 {
    pub(crate) async fn new(stream: impl Stream + 'static) -> Self {
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever waits for a response hears of the failure.
            let _ = connection.await;
        });
        Self {
            sender,
            _driver: driver,
        }
    }

    /// The response of `request`; its body is still to come.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    /// The response of `request`, unless the stream is reset before it.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        within("the response", self.sender.send_request(request)).await
    }
}

/// The next piece of an HTTP/2 body; `None` at its regular end, an error where it was cut.
pub(crate) async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    let frame = within("a piece of the body", body.frame()).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Reads an HTTP/2 body to its end; the error where it was cut.
pub(crate) async fn cut(mut body: Incoming) -> Option<hyper::Error> {
    loop {
        match piece(&mut body).await {
            Some(Ok(_)) => {}
            end => return end.and_then(Result::err),
        }
    }
}
