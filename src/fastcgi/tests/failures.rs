//! What becomes of a request when PHP-FPM fails, is away, or is no PHP-FPM.

use std::{net::TcpListener, time::Duration};

use http::StatusCode;
use http_body_util::BodyExt;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    time::{Instant, sleep},
};

use super::{
    config, failures, fastcgi, get, reason,
    responder::{Responder, end, receive, stderr, stdout},
    script, whole,
};
use crate::config::Address;
use crate::fastcgi::{FastCgi, Metrics};
use crate::shutdown::Tasks;

#[tokio::test]
async fn a_broken_head_is_an_error_of_the_gateway_with_its_own_reason() {
    let cut = stdout("Content-type: text/html\r\n\r\n");
    let other_request = vec![1, 6, 0, 9, 0, 0, 0, 0];
    for (answer, status, reason) in [
        (vec![], 502, "fastcgi_closed_early"),
        (cut[..20].to_vec(), 502, "fastcgi_closed_early"),
        (
            stdout("Content-type: text/html\r\n"),
            502,
            "fastcgi_closed_early",
        ),
        (
            [stdout("A: b\r\n"), end(0)].concat(),
            502,
            "fastcgi_invalid_header",
        ),
        (end(0), 502, "fastcgi_empty"),
        (
            [stderr("Primary script unknown\n"), end(0)].concat(),
            502,
            "fastcgi_empty",
        ),
        (end(1), 503, "fastcgi_overloaded"),
        (end(2), 503, "fastcgi_overloaded"),
        (end(3), 502, "fastcgi_protocol"),
        (stdout("Status: 99\r\n\r\n"), 502, "fastcgi_invalid_header"),
        (stdout("Status: 101\r\n\r\n"), 502, "fastcgi_invalid_header"),
        (stdout("no header\r\n\r\n"), 502, "fastcgi_invalid_header"),
        (stdout(vec![b'x'; 1 << 20]), 502, "fastcgi_invalid_header"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            502,
            "fastcgi_protocol",
        ),
        (other_request, 502, "fastcgi_protocol"),
        (
            vec![1, 3, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0],
            502,
            "fastcgi_protocol",
        ),
    ] {
        let responder = Responder::sending(answer);
        let fastcgi = fastcgi(responder.address());
        let failure = fastcgi.answer(get("/"), script("")).await.unwrap_err();
        assert_eq!((failure.status.as_u16(), failure.reason), (status, reason));
        assert_eq!(failures(&fastcgi, reason), 1, "{failure}");
    }
}

#[tokio::test]
async fn a_body_that_was_cut_never_ends_cleanly() {
    let head = |head: &str| stdout(format!("{head}\r\n\r\nsome of it"));
    let half = stdout("more of it");
    for (answer, expected) in [
        (head("A: b"), "fastcgi_closed_early"),
        (
            [head("A: b"), half[..12].to_vec()].concat(),
            "fastcgi_closed_early",
        ),
        (
            [head("A: b"), end(0)[..12].to_vec()].concat(),
            "fastcgi_closed_early",
        ),
        ([head("A: b"), end(2)].concat(), "fastcgi_overloaded"),
        (
            [head("A: b"), b"garbage!".to_vec()].concat(),
            "fastcgi_protocol",
        ),
        (
            [head("Content-Length: 11"), end(0)].concat(),
            "fastcgi_body_short",
        ),
    ] {
        let responder = Responder::sending(answer);
        let fastcgi = fastcgi(responder.address());
        let response = fastcgi.answer(get("/"), script("")).await.unwrap();
        let mut body = response.into_body();
        let error = loop {
            match body.frame().await.expect("the body ended cleanly") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(reason(error), expected);
        assert!(body.frame().await.is_none());
        assert_eq!(failures(&fastcgi, expected), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_of_the_gateway() {
    for output in ["", "Status: 200\r\n"] {
        let responder = Responder::start(move |mut stream: UnixStream| async move {
            receive(&mut stream).await;
            stream.write_all(&stdout(output)).await.unwrap();
            std::future::pending::<()>().await;
        });
        let fastcgi = fastcgi(responder.address());
        let begun = Instant::now();
        let failure = fastcgi.answer(get("/"), script("")).await.unwrap_err();
        assert_eq!(failure.status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(failure.reason, "fastcgi_response_timeout");
        assert_eq!(begun.elapsed().as_secs(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_inside_the_body_cuts_it() {
    let responder = Responder::start(|mut stream: UnixStream| async move {
        receive(&mut stream).await;
        // Near the end of the head's time, which the body's has nothing to do with.
        sleep(Duration::from_secs(25)).await;
        for text in ["A: b\r\n\r\n1", "2", "3"] {
            stream.write_all(&stdout(text)).await.unwrap();
            sleep(Duration::from_secs(15)).await;
        }
        std::future::pending::<()>().await;
    });
    let fastcgi = fastcgi(responder.address());
    let response = fastcgi.answer(get("/"), script("")).await.unwrap();
    let begun = Instant::now();
    let error = whole(response).await.unwrap_err();
    assert_eq!(reason(error), "fastcgi_idle_timeout");
    assert_eq!(begun.elapsed().as_secs(), 30 + 20);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_more_of_the_body_is_a_timeout() {
    let responder = Responder::start(|stream: UnixStream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let asked = super::request(
        http::Request::post("/"),
        crate::exchange::full(vec![0; 8 << 20]),
    );
    let failure = fastcgi(responder.address()).answer(asked, script("")).await;
    assert_eq!(failure.unwrap_err().reason, "fastcgi_response_timeout");
}

#[tokio::test]
async fn a_flood_of_errors_is_no_answer() {
    let responder = Responder::start(|mut stream: UnixStream| async move {
        receive(&mut stream).await;
        let flood = stderr("x\n".repeat(30_000));
        while stream.write_all(&flood).await.is_ok() {}
    });
    let mut config = config(responder.address());
    config.response_timeout = Duration::from_millis(50);
    let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
    let failure = fastcgi.answer(get("/"), script("")).await.unwrap_err();
    assert_eq!(failure.reason, "fastcgi_response_timeout");
    assert!(fastcgi.metrics.stderr_lines.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn an_absent_server_is_waited_for_and_then_named() {
    let directory = TempDir::new().unwrap();
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap();
    drop(closed);
    for (address, reason) in [
        (
            Address::Unix(directory.path().join("none.sock")),
            "fastcgi_no_socket",
        ),
        (Address::Unix(stale), "fastcgi_refused"),
        (Address::Tcp(port.to_string()), "fastcgi_refused"),
    ] {
        let fastcgi = fastcgi(address);
        let begun = Instant::now();
        let failure = fastcgi.answer(get("/"), script("")).await.unwrap_err();
        assert_eq!(failure.status, StatusCode::BAD_GATEWAY);
        assert_eq!(failure.reason, reason);
        assert_eq!(begun.elapsed().as_millis() / 10, 85);
        assert_eq!(failures(&fastcgi, reason), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_in_time_answers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("fpm.sock");
    let fastcgi = fastcgi(Address::Unix(path.clone()));
    let tasks = Tasks::new();
    tasks.spawn(async move {
        sleep(Duration::from_millis(700)).await;
        let listener = UnixListener::bind(path).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        receive(&mut stream).await;
        let answer = [stdout("A: b\r\n\r\nback"), end(0)].concat();
        stream.write_all(&answer).await.unwrap();
    });
    let response = fastcgi.answer(get("/"), script("")).await.unwrap();
    assert_eq!(whole(response).await.unwrap(), "back");
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_is_told_from_an_absent_server() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("fpm.sock");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _waiting = UnixStream::connect(&path).await.unwrap();
    let failure = fastcgi(Address::Unix(path))
        .answer(get("/"), script(""))
        .await;
    assert_eq!(failure.unwrap_err().reason, "fastcgi_backlog_full");
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_a_timeout() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // The kernel drops what comes once its queue of one is full.
    let mut waiting = Vec::new();
    while let Ok(stream) =
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100))
    {
        waiting.push(stream);
    }
    let mut config = config(Address::Tcp(address.to_string()));
    config.connect_timeout = Duration::from_millis(50);
    let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
    let failure = fastcgi.answer(get("/"), script("")).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(failure.reason, "fastcgi_connect_timeout");
}
