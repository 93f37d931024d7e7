//! Which connection a request takes, and what happens when that one was dead.

use super::*;

const OK_CLOSE: Step = Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");

async fn fetch(client: &Upstream, request: exchange::Request) -> String {
    text(answer(client, request).await.unwrap()).await
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let server = Server::start([&[OK, OK, OK]]).await;
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(fetch(&client, get("/")).await, "ok");
    }
    assert_eq!(server.connections(), [0, 0, 0]);
    assert_eq!(client.metrics.connections.get(), 1);
    assert_eq!(client.metrics.reused.get(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_only_once_its_response_has_been_read() {
    let server = Server::start([&[OK, OK], &[OK, OK]]).await;
    let client = server.client();
    let first = answer(&client, get("/1")).await.unwrap();
    let second = answer(&client, get("/2")).await.unwrap();
    assert_eq!(text(first).await, "ok");
    assert_eq!(text(second).await, "ok");
    assert_eq!(server.connections(), [0, 1]);
    assert_eq!(client.pool.len(), 2);
}

#[tokio::test]
async fn the_connection_of_an_abandoned_response_is_closed() {
    let server = Server::start([
        &[
            Send("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nsome"),
            Silence,
        ],
        &[OK],
    ])
    .await;
    let client = server.client();
    drop(answer(&client, get("/1")).await.unwrap());
    assert_eq!(fetch(&client, get("/2")).await, "ok");
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn a_connection_with_a_request_still_on_its_way_is_closed_at_the_end_of_the_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let client = Upstream::new(&settings(address), Tasks::new(), Metrics::default());
    let (_unfinished, body) = streamed();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(response).await.unwrap();
        stream
    };
    let request = request(Method::POST, "/", body);
    let (text, mut stream) = tokio::join!(fetch(&client, request), serve);
    assert_eq!(text, "ok");
    assert_eq!(client.pool.len(), 0);
    let end = timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = Upstream::new(
        &settings(Address::Tcp(address)),
        Tasks::new(),
        Metrics::default(),
    );
    let mut stream = {
        let mut answer = std::pin::pin!(client.answer(get("/")));
        tokio::select! {
            _ = &mut answer => panic!("nobody has answered"),
            accepted = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await.unwrap();
                stream
            } => accepted,
        }
    };
    let end = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0)), "{end:?}");
}

#[tokio::test]
async fn a_server_that_closes_after_its_response_costs_nothing() {
    let server = Server::start([&[OK_CLOSE], &[OK_CLOSE]]).await;
    let client = server.client();
    fetch(&client, get("/")).await;
    fetch(&client, post("x")).await;
    assert_eq!(server.connections(), [0, 1]);
    assert_eq!(
        client
            .metrics
            .retries
            .get_or_create(&[("after", "reset")])
            .get(),
        0
    );
}

#[tokio::test]
async fn a_get_on_a_kept_connection_that_dies_is_sent_once_more() {
    let server = Server::start([&[OK, Close], &[OK]]).await;
    let client = server.client();
    fetch(&client, get("/1")).await;
    assert_eq!(fetch(&client, get("/2")).await, "ok");
    assert_eq!(server.connections(), [0, 0, 1]);
    let second = &server.requests()[1..];
    assert_eq!(second[0].1, second[1].1, "the same request");
    assert_eq!(
        client
            .metrics
            .retries
            .get_or_create(&[("after", "reset")])
            .get(),
        1
    );
}

#[tokio::test]
async fn a_get_that_dies_on_the_fresh_connection_as_well_is_a_502() {
    let server = Server::start([&[OK, Close], &[Close], &[OK]]).await;
    let client = server.client();
    fetch(&client, get("/1")).await;
    assert_eq!(reason(&client, get("/2")).await, (502, "upstream_reset"));
    assert_eq!(server.connections(), [0, 0, 1]);
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once() {
    let delete = || request(Method::DELETE, "/", exchange::empty());
    let get_with_body = || request(Method::GET, "/", exchange::full("x"));
    for request in [post("x"), post(""), delete(), get_with_body()] {
        let server = Server::start([&[OK, Close], &[OK]]).await;
        let client = server.client();
        fetch(&client, get("/1")).await;
        assert_eq!(reason(&client, request).await, (502, "upstream_reset"));
        assert_eq!(server.connections(), [0, 0]);
    }
}

#[tokio::test]
async fn a_response_that_had_begun_is_not_asked_for_again() {
    let server = Server::start([&[OK, Send("HTTP/1.1 200")], &[OK]]).await;
    let client = server.client();
    fetch(&client, get("/1")).await;
    assert_eq!(reason(&client, get("/2")).await, (502, "upstream_reset"));
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_post_prefers_a_fresh_connection_to_one_that_was_idle_for_long() {
    let server = Server::start([&[OK, OK], &[OK]]).await;
    let client = server.client();
    fetch(&client, get("/")).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    fetch(&client, post("x")).await;
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn a_connection_is_closed_once_it_was_idle_for_too_long() {
    let server = Server::start([&[OK, OK], &[OK]]).await;
    let client = server.client();
    fetch(&client, get("/")).await;
    assert_eq!(client.pool.len(), 1);
    // Lets the task that closes it see that there is one.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(4)).await;
    tokio::time::resume();
    while client.pool.len() > 0 {
        tokio::task::yield_now().await;
    }
    fetch(&client, get("/")).await;
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    let server = Server::start([&[OK, OK], &[OK, OK]]).await;
    let client = server.client_with(|settings| settings.pool_max = 1);
    let first = answer(&client, get("/1")).await.unwrap();
    let second = answer(&client, get("/2")).await.unwrap();
    text(first).await;
    text(second).await;
    assert_eq!(client.pool.len(), 1);
}

#[tokio::test]
async fn a_stop_closes_what_is_kept_and_lets_what_is_under_way_end() {
    let server = Server::start([&[OK], &[OK]]).await;
    let tasks = Tasks::new();
    let address = Address::Tcp(server.address.clone());
    let client = Upstream::new(&settings(address), tasks.clone(), Metrics::default());
    let under_way = answer(&client, get("/1")).await.unwrap();
    fetch(&client, get("/2")).await;
    tasks.stop();
    assert_eq!(text(under_way).await, "ok");
    tasks.finish(SOON).await.unwrap();
    assert_eq!(client.pool.len(), 0);
}

#[tokio::test]
async fn a_dropped_client_leaves_no_task() {
    let server = Server::start([&[OK]]).await;
    let tasks = Tasks::new();
    let address = Address::Tcp(server.address.clone());
    let client = Upstream::new(&settings(address), tasks.clone(), Metrics::default());
    fetch(&client, get("/")).await;
    drop(client);
    let end = Instant::now() + SOON;
    while tasks.running() > 0 {
        assert!(Instant::now() < end, "{} tasks", tasks.running());
        tokio::task::yield_now().await;
    }
}
