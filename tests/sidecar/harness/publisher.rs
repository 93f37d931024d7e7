//! A publisher: requests on the Unix socket, signed right, or wrong in one thing.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};
use sidewire::{
    auth::signature::{self, Content},
    config::Secret,
};
use tokio::net::UnixStream;

use super::{
    http::{Client, Response},
    unix_now,
};

/// Who holds a site's secret.
#[derive(Clone)]
pub(crate) struct Publisher {
    socket: PathBuf,
    secret: Secret,
}

/// A request that can still be spoilt.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) timestamp: u64,
    pub(crate) body: Vec<u8>,
}

/// A signed request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) path: String,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A call of `method`, signed a second ahead of the clock: what is signed in the second in
    /// which the sidecar started is refused, and no test is to wait for that second to pass.
    pub(crate) fn new(method: &str, body: impl Into<Vec<u8>>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            path: format!("/api/{method}"),
            id: format!("{method}_{number:032}"),
            timestamp: unix_now() + 1,
            body: body.into(),
        }
    }

    pub(crate) fn publish(channel: &str, data: &Value) -> Self {
        let body = json!({ "channel": channel, "data": data });
        Self::new("publish", body.to_string())
    }

    /// A batch of publications.
    pub(crate) fn batch(messages: impl IntoIterator<Item = Value>) -> Self {
        let commands = messages.into_iter().map(|m| json!({ "publish": m }));
        let body = json!({ "commands": commands.collect::<Vec<_>>() });
        Self::new("batch", body.to_string())
    }
}

impl Signed {
    pub(crate) fn field(&self, name: &str) -> String {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| *known == name);
        found.unwrap().1.clone()
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| *known != name);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.fields.push((name, value.into()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", self.path);
        for (name, value) in &self.fields {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n\r\n"]);
        [head.into_bytes(), self.body.clone()].concat()
    }
}

impl Publisher {
    pub(crate) fn new(socket: PathBuf, secret: &str) -> Self {
        Self {
            socket,
            secret: Secret::parse(secret).unwrap(),
        }
    }

    pub(crate) fn sign(&self, request: Request) -> Signed {
        let timestamp = request.timestamp.to_string();
        let content = Content {
            id: &request.id,
            timestamp: &timestamp,
            body: &request.body,
        };
        let signature = signature::sign(self.secret.as_bytes(), content);
        let fields = vec![
            ("Content-Type", "application/json".to_owned()),
            ("webhook-id", request.id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ];
        Signed {
            path: request.path,
            fields,
            body: request.body,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::new(UnixStream::connect(&self.socket).await.unwrap())
    }

    /// The answer to a request on a connection of its own.
    pub(crate) async fn send(&self, request: &Signed) -> Response {
        self.connect().await.exchange(request.bytes()).await
    }

    /// Signs, sends, and returns the reply to a request that must succeed.
    pub(crate) async fn call(&self, request: Request) -> Value {
        let response = self.send(&self.sign(request)).await;
        assert_eq!(response.head.status, 200, "{}", response.text());
        response.json()
    }

    /// Publishes, and returns where the channel stands.
    pub(crate) async fn publish(&self, channel: &str, data: &Value) -> Value {
        self.call(Request::publish(channel, data)).await["result"].take()
    }
}
