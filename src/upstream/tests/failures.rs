//! What is told apart when there is no response.

use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::exchange::Blame;

fn unix_client(path: &std::path::Path) -> Upstream {
    let settings = settings(Address::Unix(path.into()));
    Upstream::new(&settings, Tasks::new(), Metrics::default())
}

fn dial_retries(client: &Upstream) -> u64 {
    client
        .metrics
        .retries
        .get_or_create(&[("after", "dial")])
        .get()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_tried_again_for_two_seconds() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("apache.sock");
    drop(UnixListener::bind(&path).unwrap());
    let client = unix_client(&path);
    let start = tokio::time::Instant::now();
    let failure = client.answer(post("x")).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::BAD_GATEWAY);
    assert_eq!(failure.reason, "upstream_refused");
    assert_eq!(failure.blame, Blame::Upstream);
    assert_eq!(start.elapsed().as_millis(), 100 + 250 + 3 * 500);
    assert_eq!(dial_retries(&client), 5);
    let label = [("reason", "upstream_refused")];
    assert_eq!(client.metrics.failures.get_or_create(&label).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_socket_is_told_apart_and_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("none.sock");
    let failure = unix_client(&path).answer(get("/")).await.unwrap_err();
    assert_eq!(failure.reason, "upstream_no_socket");
    assert!(failure.detail.contains("none.sock"), "{failure}");
}

#[tokio::test]
async fn a_server_that_comes_back_within_the_retries_gets_the_request() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("apache.sock");
    let client = unix_client(&path);
    let serve = async {
        while dial_retries(&client) == 0 {
            tokio::task::yield_now().await;
        }
        let listener = UnixListener::bind(&path).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(response).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let ask = async { text(answer(&client, post("x")).await.unwrap()).await };
    tokio::select! {
        text = ask => assert_eq!(text, "ok"),
        () = serve => panic!("closed without the response being read"),
    }
}

#[tokio::test]
async fn a_server_that_closes_without_a_word_is_a_reset() {
    let server = Server::start([&[Close]]).await;
    let client = server.client();
    assert_eq!(reason(&client, get("/")).await, (502, "upstream_reset"));
    assert_eq!(
        server.connections(),
        [0],
        "a fresh connection is no reason to try again"
    );
}

#[tokio::test]
async fn a_silent_server_is_a_504() {
    let server = Server::start([&[Silence], &[OK]]).await;
    let client = server.client_with(|s| s.response_timeout = Duration::from_millis(50));
    assert_eq!(reason(&client, get("/")).await, (504, "upstream_timeout"));
    assert_eq!(server.connections(), [0]);
    assert_eq!(client.pool.len(), 0);
}

#[tokio::test]
async fn a_slow_client_is_no_silence_of_the_server() {
    let server = Server::start([&[OK]]).await;
    let client = server.client_with(|s| s.response_timeout = Duration::from_millis(50));
    let (mut sender, body) = streamed();
    let slow = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(80)).await;
            sender.send_data("x".into()).await.unwrap();
        }
        drop(sender);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer(&client, request(Method::POST, "/", body)) => {
            assert_eq!(text(answer.unwrap()).await, "ok");
        }
        () = slow => {}
    }
}

#[tokio::test]
async fn a_response_that_pauses_too_long_is_cut() {
    let server = Server::start([&[
        Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        Silence,
    ]])
    .await;
    let client = server.client_with(|s| s.idle_timeout = Duration::from_millis(50));
    let body = answer(&client, get("/")).await.unwrap().into_body();
    let error = timeout(SOON, body.collect()).await.unwrap().unwrap_err();
    let failure = error.downcast::<Failure>().unwrap();
    assert_eq!(failure.reason, "upstream_timeout");
    assert_eq!(client.metrics.cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_comes_in_small_pieces_may_take_any_time() {
    let (near, mut far) = tokio::io::duplex(4096);
    let tasks = Tasks::new();
    let (mut sender, driver) = http1::handshake(TokioIo::new(near)).await.unwrap();
    tasks.spawn(driver);
    tasks.spawn(async move {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        far.write_all(head).await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            far.write_all(b"x").await.unwrap();
        }
        far.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let (body, upload) = RequestBody::new(exchange::empty());
    let response = sender.send_request(http::Request::new(body)).await.unwrap();
    let lease = Lease {
        connection: Connection {
            sender,
            signs: Arc::default(),
            _close: CancellationToken::new().drop_guard(),
        },
        pool: Arc::new(Pool::new(1, SOON)),
        upload,
        reusable: true,
    };
    let idle = Duration::from_secs(5);
    let body = ResponseBody::new(response.into_body(), lease, idle, Metrics::default());
    assert_eq!(body.collect().await.unwrap().to_bytes(), "xxxxx");
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_the_clients_failure_and_never_whole_upstream() {
    let server = Server::start([&[OK]]).await;
    let client = server.client();
    let (mut sender, body) = streamed();
    sender.send_data("half".into()).await.unwrap();
    sender.abort("the client is gone".into());
    let request = request(Method::POST, "/", body);
    let failure = answer(&client, request).await.unwrap_err();
    assert_eq!(failure.blame, Blame::Client);
    assert_eq!(failure.reason, "request_cut");
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}

#[tokio::test]
async fn a_failure_that_the_request_body_names_is_the_answer() {
    let server = Server::start([&[OK]]).await;
    let (sender, body) = streamed();
    let too_large = Failure::client(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "257 MiB");
    sender.abort(Box::new(too_large));
    let request = request(Method::POST, "/", body);
    assert_eq!(
        reason(&server.client(), request).await,
        (413, "body_too_large")
    );
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_read_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let client = Upstream::new(&settings(address), Tasks::new(), Metrics::default());
    let (mut sender, body) = streamed();
    let refuse = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 8);
        let response = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
        stream.write_all(response).await.unwrap();
        // Closing with bytes unread resets the connection.
        drop(stream);
        while sender
            .send_data(Bytes::from_static(&[0; 16 << 10]))
            .await
            .is_ok()
        {}
        std::future::pending::<()>().await;
    };
    let request = request(Method::POST, "/", body);
    tokio::select! {
        answer = answer(&client, request) => {
            let response = answer.unwrap();
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(text(response).await, "no");
        }
        () = refuse => {}
    }
    assert_eq!(client.pool.len(), 0);
}

#[tokio::test]
async fn a_connection_whose_server_has_stopped_reading_is_not_kept() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("apache.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = unix_client(&path);
    let (mut sender, body) = streamed();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 8);
        let mut stream = stream.into_std().unwrap();
        stream.shutdown(std::net::Shutdown::Read).unwrap();
        sender.send_data("never read".into()).await.unwrap();
        drop(sender);
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        std::io::Write::write_all(&mut stream, response).unwrap();
        stream
    };
    let ask = async {
        text(
            answer(&client, request(Method::POST, "/", body))
                .await
                .unwrap(),
        )
        .await
    };
    let (text, _open) = tokio::join!(ask, serve);
    assert_eq!(text, "ok");
    assert_eq!(client.pool.len(), 0);
}

#[test]
fn an_answer_may_be_awaited_on_any_thread() {
    fn assert_send<T: core::marker::Send>(_: T) {}
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let client = unix_client(std::path::Path::new("/nowhere"));
    assert_send(client.answer(get("/")));
}
