//! The server side of FastCGI, as far as the tests need it.

use std::{collections::BTreeMap, future::Future, path::PathBuf};

use bytes::{Buf, BytesMut};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::config::Address;
use crate::fastcgi::record::{self, Header};
use crate::shutdown::Tasks;

/// Serves every connection as the test says, on a Unix socket that is gone afterwards.
pub(super) struct Responder {
    pub(super) tasks: Tasks,
    directory: TempDir,
}

/// A request as the wire had it.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) params: BTreeMap<String, Vec<u8>>,
    pub(super) stdin: Vec<u8>,
    /// Type and length of the content of each record.
    pub(super) records: Vec<(u8, usize)>,
}

impl Responder {
    pub(super) fn start<S, F>(serve: S) -> Self
    where
        S: Fn(UnixStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("fpm.sock")).unwrap();
        let tasks = Tasks::new();
        let connections = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { tasks, directory }
    }

    /// Reads each request and sends these bytes, then closes.
    pub(super) fn sending(answer: Vec<u8>) -> Self {
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                receive(&mut stream).await;
                // The client may have seen enough and gone.
                let _ = stream.write_all(&answer).await;
            }
        })
    }

    pub(super) fn address(&self) -> Address {
        Address::Unix(self.socket())
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("fpm.sock")
    }
}

/// Reads one request to the end of its body.
pub(super) async fn receive(stream: &mut UnixStream) -> Received {
    receive_until(stream, record::STDIN).await
}

/// Reads one request to the empty record that ends the stream `last`.
pub(super) async fn receive_until(stream: &mut UnixStream, last: u8) -> Received {
    let mut received = Received::default();
    loop {
        let mut header = [0; record::HEADER_LEN];
        stream.read_exact(&mut header).await.unwrap();
        let header = Header::parse(header).unwrap();
        let mut content = vec![0; header.content + header.padding];
        stream.read_exact(&mut content).await.unwrap();
        content.truncate(header.content);
        received.records.push((header.kind, header.content));
        match header.kind {
            record::PARAMS => received.params.extend(pairs(&content)),
            record::STDIN => received.stdin.extend(content),
            _ => {}
        }
        if header.kind == last && header.content == 0 {
            return received;
        }
    }
}

/// Decodes the pairs of one record, which must hold whole ones.
pub(super) fn pairs(mut content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut pairs = Vec::new();
    while content.has_remaining() {
        let name = length(&mut content);
        let value = length(&mut content);
        let name = String::from_utf8(content.copy_to_bytes(name).to_vec()).unwrap();
        pairs.push((name, content.copy_to_bytes(value).to_vec()));
    }
    pairs
}

fn length(content: &mut &[u8]) -> usize {
    match content[0] {
        0..128 => usize::from(content.get_u8()),
        _ => (content.get_u32() & 0x7fff_ffff) as usize,
    }
}

pub(super) fn stdout(text: impl AsRef<[u8]>) -> Vec<u8> {
    stream(record::STDOUT, text.as_ref())
}

pub(super) fn stderr(text: impl AsRef<[u8]>) -> Vec<u8> {
    stream(record::STDERR, text.as_ref())
}

fn stream(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for piece in content.chunks(record::CONTENT_MAX) {
        record::push(&mut bytes, kind, piece);
    }
    bytes.to_vec()
}

pub(super) fn end(protocol_status: u8) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let content = [0, 0, 0, 0, protocol_status, 0, 0, 0];
    record::push(&mut bytes, record::END_REQUEST, &content);
    bytes.to_vec()
}
