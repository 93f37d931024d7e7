//! What of a head goes on, and what does not.

use super::*;

/// Sends a GET with `headers` and returns what the server saw.
async fn seen_with(headers: &[(&'static str, &'static str)]) -> String {
    let server = Server::start([&[OK]]).await;
    let mut request = get("/a%20b?x=1&y=%2F");
    for &(name, value) in headers {
        let value = HeaderValue::from_static(value);
        request.head.headers.append(name, value);
    }
    text(answer(&server.client(), request).await.unwrap()).await;
    server.request()
}

/// The head that is passed on of a response with `lines`.
async fn passed_on(response: &'static str) -> http::HeaderMap {
    let script: &'static [Step] = Box::leak(Box::new([Send(response)]));
    let server = Server::start([script]).await;
    let response = answer(&server.client(), get("/")).await.unwrap();
    response.headers().clone()
}

#[tokio::test]
async fn a_request_goes_on_in_origin_form_and_names_the_client() {
    let seen = seen_with(&[("accept", "text/html"), ("cookie", "a=1")]).await;
    let mut lines: Vec<&str> = seen.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /a%20b?x=1&y=%2F HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept: text/html",
            "cookie: a=1",
            "host: example.org",
            "x-forwarded-for: 203.0.113.9",
            "x-forwarded-host: example.org",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: 203.0.113.9",
        ]
    );
}

#[tokio::test]
async fn the_host_and_port_are_those_that_the_client_named() {
    let server = Server::start([&[OK]]).await;
    let mut request = get("https://elsewhere.example/x");
    request.origin.port = Some(8443);
    request.origin.scheme = Scheme::Http;
    request.origin.client = "[::ffff:198.51.100.7]:1".parse().unwrap();
    answer(&server.client(), request).await.unwrap();
    let seen = server.request();
    assert!(seen.starts_with("GET /x HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: example.org:8443\r\n",
        "x-forwarded-host: example.org:8443\r\n",
        "x-forwarded-port: 8443\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-for: 198.51.100.7\r\n",
    ] {
        assert!(seen.contains(line), "{line} not in {seen}");
    }
}

#[tokio::test]
async fn what_the_client_says_of_itself_is_replaced_even_when_nominated() {
    let seen = seen_with(&[
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("proxy", "http://evil"),
        ("host", "evil.example"),
        (
            "connection",
            "close, x-forwarded-for, X-Real-IP, host, cookie",
        ),
        ("cookie", "kept=1"),
    ])
    .await;
    assert_eq!(seen.matches("x-forwarded-for: 203.0.113.9\r\n").count(), 1);
    assert!(seen.contains("x-real-ip: 203.0.113.9\r\n"), "{seen}");
    assert!(seen.contains("cookie: kept=1\r\n"), "{seen}");
    for gone in ["1.2.3.4", "5.6.7.8", "evil", "forwarded: ", "connection"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_request_stop_here() {
    let seen = seen_with(&[
        ("connection", "keep-alive, X-One"),
        ("connection", " x-two "),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("upgrade", "h2c"),
        ("transfer-encoding", "gzip, chunked"),
        ("content-length", "7"),
        ("expect", "100-continue"),
    ])
    .await;
    assert!(seen.contains("x-three: 3\r\n"), "{seen}");
    for gone in [
        "connection",
        "x-one",
        "x-two",
        "keep-alive",
        "proxy-",
        "te:",
        "trailer",
        "upgrade",
        "transfer-encoding",
        "content-length",
        "expect",
    ] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_response_stop_here() {
    let headers = passed_on(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-One\r\nConnection: x-two\r\n\
         X-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nTrailer: x-sum\r\nUpgrade: h2c\r\nAlt-Svc: h3=\":443\"\r\n\
         X-Accel-Redirect: /x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "set-cookie", "x-three"]);
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn a_redirect_to_the_site_itself_keeps_https() {
    for (sent, passed) in [
        (
            "http://example.org/wp-admin/",
            "https://example.org/wp-admin/",
        ),
        ("http://EXAMPLE.org", "https://EXAMPLE.org"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("http://example.org.evil/", "http://example.org.evil/"),
        ("http://other.example/", "http://other.example/"),
        ("/relative", "/relative"),
    ] {
        let response =
            format!("HTTP/1.1 302 Found\r\nLocation: {sent}\r\nContent-Length: 0\r\n\r\n");
        let headers = passed_on(Box::leak(response.into_boxed_str())).await;
        assert_eq!(headers["location"], passed);
    }
}
