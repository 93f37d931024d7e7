//! The client against a small FastCGI server that does what a test tells it to.

mod answers;
mod failures;
mod requests;
mod responder;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;

use super::{FastCgi, Metrics, Reason};
use crate::config::{self, Address, Bytes as Size};
use crate::exchange::{
    self, Body, BodyError, Failure, Origin, Request, RequestId, Response, Scheme, Script,
};
use crate::shutdown::Tasks;

fn config(address: Address) -> config::FastCgi {
    config::FastCgi {
        address,
        root: PathBuf::from("/"),
        extra_roots: Vec::new(),
        script_root: None,
        connect_timeout: Duration::from_secs(3),
        response_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(20),
        body_memory_max: Size(64 << 10),
        spool_max: Size(1 << 30),
    }
}

fn fastcgi(address: Address) -> FastCgi {
    FastCgi::new(&config(address), Tasks::new(), Metrics::default())
}

fn script(path_info: &str) -> Script {
    Script {
        file: "/srv/site/index.php".into(),
        name: "/index.php".into(),
        path_info: path_info.into(),
    }
}

fn origin() -> Origin {
    Origin {
        client: SocketAddr::from(([192, 0, 2, 7], 40_001)),
        local: SocketAddr::from(([198, 51, 100, 1], 443)),
        scheme: Scheme::Https,
        host: "blog.test".into(),
        port: None,
        id: RequestId(7),
    }
}

fn request(head: http::request::Builder, body: Body) -> Request {
    let (head, ()) = head.body(()).unwrap().into_parts();
    Request {
        head,
        body,
        origin: origin(),
    }
}

fn get(target: &str) -> Request {
    request(http::Request::get(target), exchange::empty())
}

/// A body whose length nobody knows beforehand, as with chunks or HTTP/2.
fn unsized_body(pieces: Vec<Bytes>, tasks: &Tasks) -> Body {
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
    tasks.spawn(async move {
        for piece in pieces {
            sender.send_data(piece).await.unwrap();
        }
    });
    body.boxed_unsync()
}

async fn whole(response: Response) -> Result<Bytes, BodyError> {
    Ok(response.into_body().collect().await?.to_bytes())
}

fn failures(fastcgi: &FastCgi, reason: &'static str) -> u64 {
    let counter = fastcgi.metrics.failures.get_or_create(&Reason { reason });
    counter.get()
}

/// The reason that a body's error carries.
fn reason(error: BodyError) -> &'static str {
    error.downcast::<Failure>().unwrap().reason
}
