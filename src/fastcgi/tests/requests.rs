//! What PHP is told about a request.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::mpsc};

use super::{
    config, failures, fastcgi, get, origin, request,
    responder::{Received, Responder, end, pairs, receive, stdout},
    script, unsized_body,
};
use crate::config::Address;
use crate::exchange::{self, Request, Scheme, Script};
use crate::fastcgi::{
    FastCgi, Metrics,
    params::{Location, Params},
    record::{self, Header},
};
use crate::shutdown::Tasks;

fn recording() -> (Responder, mpsc::UnboundedReceiver<Received>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let serve = move |mut stream: UnixStream| {
        let sender = sender.clone();
        async move {
            let received = receive(&mut stream).await;
            let answer = [stdout("Status: 204\r\n\r\n"), end(0)].concat();
            stream.write_all(&answer).await.unwrap();
            sender.send(received).unwrap();
        }
    };
    (Responder::start(serve), receiver)
}

fn variables(request: &Request, location: Location<'_>) -> BTreeMap<String, String> {
    let params = Params::of(&request.head, &request.origin, location).unwrap();
    let records = params.finish(0).unwrap();
    let header = Header::parse(records[..8].try_into().unwrap()).unwrap();
    let text = |value| String::from_utf8(value).unwrap();
    pairs(&records[8..8 + header.content])
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

fn of_index(request: &Request) -> BTreeMap<String, String> {
    let root = Path::new("/srv/site");
    let script = &script("");
    variables(request, Location { root, script })
}

#[test]
fn variables_are_those_that_php_and_wordpress_read() {
    let head = http::Request::get("/a//b%20c/?x=%2F&y").header("accept", "text/html");
    let expected = [
        ("CONTENT_LENGTH", ""),
        ("CONTENT_TYPE", ""),
        ("DOCUMENT_ROOT", "/srv/site"),
        ("DOCUMENT_URI", "/index.php"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("HTTPS", "on"),
        ("HTTP_ACCEPT", "text/html"),
        ("HTTP_HOST", "blog.test"),
        ("QUERY_STRING", "x=%2F&y"),
        ("REDIRECT_STATUS", "200"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "40001"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_SCHEME", "https"),
        ("REQUEST_URI", "/a//b%20c/?x=%2F&y"),
        ("SCRIPT_FILENAME", "/srv/site/index.php"),
        ("SCRIPT_NAME", "/index.php"),
        ("SERVER_ADDR", "198.51.100.1"),
        ("SERVER_NAME", "blog.test"),
        ("SERVER_PORT", "443"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        (
            "SERVER_SOFTWARE",
            concat!("sidewire/", env!("CARGO_PKG_VERSION")),
        ),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        of_index(&request(head, exchange::empty())),
        BTreeMap::from(expected)
    );
}

#[test]
fn path_info_stands_beside_the_script_and_only_when_there_is_some() {
    let (root, script) = (Path::new("/var/www/html"), &script("/2026/ä"));
    let found = variables(&get("/index.php/2026/%C3%A4"), Location { root, script });
    assert_eq!(found["PATH_INFO"], "/2026/ä");
    assert_eq!(found["PATH_TRANSLATED"], "/var/www/html/2026/ä");
    assert_eq!(found["SCRIPT_FILENAME"], "/var/www/html/index.php");
    assert_eq!(found["SCRIPT_NAME"], "/index.php");
    assert!(!of_index(&get("/")).contains_key("PATH_INFO"));
}

#[test]
fn the_client_s_host_port_and_protocol_are_told_as_they_were() {
    for (version, protocol) in [
        (Version::HTTP_10, "HTTP/1.0"),
        (Version::HTTP_11, "HTTP/1.1"),
        (Version::HTTP_2, "HTTP/2.0"),
    ] {
        let mut asked = get("/");
        asked.head.version = version;
        asked.origin.scheme = Scheme::Http;
        asked.origin.port = Some(8080);
        asked.origin.client = "[::ffff:203.0.113.9]:0".parse().unwrap();
        let found = of_index(&asked);
        assert_eq!(found["SERVER_PROTOCOL"], protocol);
        assert_eq!(found["HTTP_HOST"], "blog.test:8080");
        assert_eq!(found["SERVER_PORT"], "8080");
        assert_eq!(found["REMOTE_ADDR"], "203.0.113.9");
        assert_eq!(found["QUERY_STRING"], "");
        assert!(!found.contains_key("HTTPS") && !found.contains_key("REMOTE_PORT"));
    }
}

#[test]
fn headers_become_variables_but_never_under_another_s_name() {
    let head = http::Request::post("/")
        .header("authorization", "Basic YTpi")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("accept-language", "de")
        .header("accept-language", "en")
        .header("proxy", "http://evil.test")
        .header("x_forwarded_for", "1.2.3.4")
        .header("x.real.ip", "1.2.3.4")
        .header("php_value", "auto_prepend_file=/etc/passwd")
        .header("content-type", "text/plain")
        .header("content-length", "999")
        .header("host", "evil.test");
    let found = of_index(&request(head, exchange::empty()));
    assert_eq!(found["HTTP_AUTHORIZATION"], "Basic YTpi");
    assert_eq!(found["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(found["HTTP_ACCEPT_LANGUAGE"], "de, en");
    assert_eq!(found["HTTP_HOST"], "blog.test");
    assert_eq!(found["CONTENT_TYPE"], "text/plain");
    assert_eq!(found["CONTENT_LENGTH"], "");
    let mut headers: Vec<_> = found
        .keys()
        .filter(|name| name.starts_with("HTTP_"))
        .collect();
    headers.sort();
    let expected = [
        "HTTP_ACCEPT_LANGUAGE",
        "HTTP_AUTHORIZATION",
        "HTTP_COOKIE",
        "HTTP_HOST",
    ];
    assert_eq!(headers, expected);
    assert!(!found.keys().any(|name| name.contains("PHP")));
}

/// The records of a request whose variables take `total` bytes but for the content length's 16.
fn params_of(total: usize) -> Result<Bytes, exchange::Failure> {
    let filled = |padding: usize| {
        let head = http::Request::get("/").header("x-a", "a".repeat(200));
        let asked = request(head.header("x-b", "b".repeat(padding)), exchange::empty());
        let (root, script) = (Path::new("/srv/site"), &script(""));
        Params::of(&asked.head, &origin(), Location { root, script })?.finish(0)
    };
    let size = |records: &[u8]| {
        Header::parse(records[..8].try_into().unwrap())
            .unwrap()
            .content
    };
    let base = size(&filled(1_000).unwrap()) - 1_000;
    filled(total - base)
}

#[test]
fn variables_never_cross_from_one_record_into_the_next() {
    let whole = params_of(record::CONTENT_MAX).unwrap();
    assert_eq!(whole.len(), 8 + record::CONTENT_MAX + 8);
    let mut parts = params_of(64 << 10).unwrap();
    let mut total = 0;
    let mut records = 0;
    while !parts.is_empty() {
        let header = Header::parse(parts[..8].try_into().unwrap()).unwrap();
        let record = parts.split_to(8 + header.content + header.padding);
        pairs(&record[8..8 + header.content]);
        total += header.content;
        records += 1;
    }
    assert_eq!((total, records), (64 << 10, 3));
}

#[test]
fn variables_of_more_than_64_kib_are_refused() {
    let failure = params_of((64 << 10) + 1).unwrap_err();
    assert_eq!(failure.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    for length in [65_535, 65_536, 200_000] {
        let head = http::Request::get("/").header("x-a", "a".repeat(length));
        let asked = request(head, exchange::empty());
        let (root, script) = (Path::new("/"), &script(""));
        let refused = Params::of(&asked.head, &origin(), Location { root, script });
        assert_eq!(refused.unwrap_err().reason, "params_too_large");
    }
}

#[tokio::test]
async fn headers_too_long_are_refused_before_the_body_is_asked_for() {
    let tasks = Tasks::new();
    let (sender, body) = http_body_util::channel::Channel::new(1);
    let head = http::Request::post("/").header("cookie", "a".repeat(70_000));
    let asked = request(head, body.boxed_unsync());
    let nowhere = Address::Unix("/nonexistent/fpm.sock".into());
    let fastcgi = FastCgi::new(&config(nowhere), tasks, Metrics::default());
    let failure = fastcgi.answer(asked, script("")).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    drop::<http_body_util::channel::Sender<Bytes, exchange::BodyError>>(sender);
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whole_and_with_its_length() {
    let (responder, mut received) = recording();
    let fastcgi = fastcgi(responder.address());
    let piece = Bytes::from((0..=255).cycle().take(100_003).collect::<Vec<u8>>());
    for count in [0, 1, 200] {
        let body = unsized_body(vec![piece.clone(); count], &responder.tasks);
        let asked = request(http::Request::post("/"), body);
        let response = fastcgi.answer(asked, script("")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let received = received.recv().await.unwrap();
        let length = count * piece.len();
        let told = String::from_utf8(received.params["CONTENT_LENGTH"].clone()).unwrap();
        assert_eq!(told.parse().unwrap_or(0), length);
        assert!(
            received.stdin == piece.repeat(count),
            "the body of {length} bytes differs"
        );
        let longest = received.records.iter().map(|(_, content)| *content).max();
        assert!(longest <= Some(record::CONTENT_MAX));
    }
}

#[tokio::test]
async fn a_body_up_to_the_limit_stays_in_memory() {
    let (responder, mut received) = recording();
    let mut config = config(responder.address());
    for (limit, length) in [(0, 1), (10, 10), (10, 11), (200_000, 150_000)] {
        config.body_memory_max.0 = limit;
        let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
        let asked = request(http::Request::put("/"), exchange::full(vec![b'x'; length]));
        fastcgi.answer(asked, script("")).await.unwrap();
        assert_eq!(received.recv().await.unwrap().stdin.len(), length);
    }
}

#[tokio::test]
async fn root_and_script_name_make_a_file_though_the_root_changes() {
    let (responder, mut received) = recording();
    let directory = TempDir::new().unwrap();
    let real = std::fs::canonicalize(directory.path()).unwrap();
    let mut config = config(responder.address());
    config.root = real.join("current");
    let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
    for release in ["1", "1", "2"] {
        let _ = std::fs::remove_file(&config.root);
        std::fs::create_dir_all(real.join(release)).unwrap();
        std::os::unix::fs::symlink(release, &config.root).unwrap();
        for file in [
            real.join(release).join("index.php"),
            "/usr/share/index.php".into(),
        ] {
            let script = Script { file, ..script("") };
            fastcgi.answer(get("/"), script).await.unwrap();
            let received = received.recv().await.unwrap();
            let text = |name: &str| String::from_utf8(received.params[name].clone()).unwrap();
            assert_eq!(
                text("DOCUMENT_ROOT"),
                format!("{}/{release}", real.display())
            );
            assert_eq!(
                text("SCRIPT_FILENAME"),
                text("DOCUMENT_ROOT") + "/index.php"
            );
        }
    }
}

#[tokio::test]
async fn php_is_told_where_it_sees_the_root_itself() {
    let (responder, mut received) = recording();
    let mut config = config(responder.address());
    config.script_root = Some("/var/www/html".into());
    let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
    fastcgi.answer(get("/"), script("")).await.unwrap();
    let received = received.recv().await.unwrap();
    assert_eq!(received.params["DOCUMENT_ROOT"], b"/var/www/html");
    assert_eq!(
        received.params["SCRIPT_FILENAME"],
        b"/var/www/html/index.php"
    );
}

#[tokio::test]
async fn a_body_s_own_failure_is_passed_on_and_php_hears_nothing() {
    let nowhere = Address::Unix("/nonexistent/fpm.sock".into());
    for (status, reason, sent) in [
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            exchange::BodyError::from(exchange::Failure::client(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "",
            )),
        ),
        (StatusCode::BAD_REQUEST, "request_body_cut", "reset".into()),
    ] {
        let (sender, body) = http_body_util::channel::Channel::<Bytes, _>::new(1);
        sender.abort(sent);
        let asked = request(http::Request::post("/"), body.boxed_unsync());
        let failure = fastcgi(nowhere.clone()).answer(asked, script("")).await;
        let failure = failure.unwrap_err();
        assert_eq!((failure.status, failure.reason), (status, reason));
    }
}

#[tokio::test]
async fn bodies_in_files_have_a_bound_together_and_give_their_room_back() {
    let (responder, mut received) = recording();
    let mut config = config(responder.address());
    config.body_memory_max.0 = 10;
    config.spool_max.0 = 1_000_000;
    let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
    let put = |body| fastcgi.answer(request(http::Request::put("/"), body), script(""));
    let large = || exchange::full(vec![b'x'; 900_000]);
    for _ in 0..2 {
        put(large()).await.unwrap();
        assert_eq!(received.recv().await.unwrap().stdin.len(), 900_000);
    }

    // One that takes up most of the room and does not end.
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, exchange::BodyError>::new(1);
    let mut slow = Box::pin(put(body.boxed_unsync()));
    let send = async {
        sender
            .send_data(Bytes::from(vec![b'x'; 600_000]))
            .await
            .unwrap();
        // Taken up once the first piece is in the file.
        sender.send_data(Bytes::from(vec![b'x'; 1])).await.unwrap();
        sender.send_data(Bytes::from(vec![b'x'; 1])).await.unwrap();
    };
    tokio::select! {
        _ = &mut slow => panic!("its body has no end"),
        () = send => {}
    }
    let failure = put(large()).await.unwrap_err();
    assert_eq!(failure.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failure.reason, "spool_full");
    assert_eq!(failures(&fastcgi, "spool_full"), 1);
    put(exchange::full(vec![b'x'; 10])).await.unwrap();
    assert_eq!(received.recv().await.unwrap().stdin.len(), 10);

    drop(slow);
    put(large()).await.unwrap();
    assert_eq!(received.recv().await.unwrap().stdin.len(), 900_000);
}
