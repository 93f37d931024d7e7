//! Where messages end: what is sent, what is believed, what stays cut.

use super::*;

/// The answer to a GET of a server that sends these bytes and closes.
async fn get_from(response: &'static str) -> Result<exchange::Response, Failure> {
    let script: &'static [Step] = Box::leak(Box::new([Send(response)]));
    let server = Server::start([script]).await;
    answer(&server.client(), get("/")).await
}

#[tokio::test]
async fn a_body_of_known_length_is_sent_with_it() {
    let server = Server::start([&[OK]]).await;
    answer(&server.client(), post("name=value")).await.unwrap();
    let seen = server.request();
    assert!(seen.contains("content-length: 10\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nname=value"), "{seen}");
}

#[tokio::test]
async fn an_empty_post_says_so() {
    let server = Server::start([&[OK]]).await;
    answer(&server.client(), post("")).await.unwrap();
    assert!(server.request().contains("content-length: 0\r\n"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks_whatever_the_method() {
    for method in [Method::POST, Method::GET] {
        let server = Server::start([&[OK]]).await;
        let (mut sender, body) = streamed();
        sender.send_data("hello".into()).await.unwrap();
        drop(sender);
        let request = request(method, "/", body);
        answer(&server.client(), request).await.unwrap();
        let seen = server.request();
        assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
        assert!(seen.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn a_response_streams_before_its_request_has_ended() {
    let server = Server::start([&[
        SendAtOnce("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"),
        Send("3\r\ntwo\r\n0\r\n\r\n"),
    ]])
    .await;
    let (mut sender, body) = streamed();
    sender.send_data("hello".into()).await.unwrap();
    let request = request(Method::POST, "/", body);
    let mut body = answer(&server.client(), request).await.unwrap().into_body();
    let first = timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");
    drop(sender);
    let rest = timeout(SOON, body.collect()).await.unwrap().unwrap();
    assert_eq!(rest.to_bytes(), "two");
}

#[tokio::test]
async fn an_older_server_is_answered_for_in_http_1_1() {
    let response = get_from("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end");
    let response = response.await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_11);
    assert_eq!(text(response).await, "to the end");
}

#[tokio::test]
async fn a_length_beside_chunks_is_dropped_and_the_connection_with_it() {
    let both = Send(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    );
    let script: &'static [Step] = Box::leak(Box::new([both, OK]));
    let server = Server::start([script, &[OK]]).await;
    let client = server.client();
    let response = answer(&client, get("/")).await.unwrap();
    assert!(response.headers().is_empty(), "{:?}", response.headers());
    assert_eq!(text(response).await, "hello");
    answer(&client, get("/")).await.unwrap();
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn equal_lengths_become_one() {
    for lengths in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let response = get_from(lengths).await.unwrap();
        let all: Vec<_> = response
            .headers()
            .get_all("content-length")
            .iter()
            .collect();
        assert_eq!(all, ["2"]);
        assert_eq!(text(response).await, "ok");
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_believed_is_a_502() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        let failure = get_from(response).await.unwrap_err();
        assert_eq!(failure.reason, "upstream_invalid", "{response}: {failure}");
        assert_eq!(failure.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn the_length_of_a_head_response_is_passed_on_without_a_body() {
    let server = Server::start([&[
        Send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        Send("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    ]])
    .await;
    let client = server.client();
    let request = request(Method::HEAD, "/", exchange::empty());
    let response = answer(&client, request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "1234");
    assert_eq!(text(response).await, "");
    let response = answer(&client, get("/")).await.unwrap();
    assert!(response.headers().is_empty());
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_cut_response_ends_with_an_error_and_is_counted() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    ] {
        let script: &'static [Step] = Box::leak(Box::new([Send(response)]));
        let server = Server::start([script]).await;
        let client = server.client();
        let mut body = answer(&client, get("/")).await.unwrap().into_body();
        let first = timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "half");
        let error = timeout(SOON, body.frame()).await.unwrap().unwrap();
        let error = error.unwrap_err().downcast::<Failure>().unwrap();
        assert_eq!(error.reason, "upstream_reset");
        assert_eq!(client.metrics.cut.get(), 1);
    }
}

#[tokio::test]
async fn trailers_stop_here() {
    let response = get_from(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: host\r\n\r\n\
         2\r\nok\r\n0\r\nhost: evil\r\n\r\n",
    );
    let mut body = response.await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(body.frame().await.is_none());
}
