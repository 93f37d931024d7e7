//! A site on a real PHP-FPM: what a script is told, what it is sent, and which files are scripts.

use std::fs;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{
    php_fpm::PhpFpm,
    sidecar::{Sidecar, Site},
    until, within,
};

/// Shows its surroundings.
const SHOW: &str = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);";

/// Tells what came in.
const MEASURE: &str = "<?php
$length = $_SERVER['CONTENT_LENGTH'] ?? null;
$body = file_get_contents('php://input');
echo json_encode(['length' => $length, 'size' => strlen($body), 'sha256' => hash('sha256', $body)]);";

async fn in_front_of(fpm: &PhpFpm) -> Sidecar {
    let site = Site::new("main", "localhost").backend(fpm.backend());
    Sidecar::builder().site(site).start().await
}

#[tokio::test]
async fn a_script_is_told_who_asks_for_what_and_how() {
    let fpm = PhpFpm::start().await;
    fpm.file("show.php", SHOW);
    let sidecar = in_front_of(&fpm).await;
    let fields =
        "Authorization: Basic dTpw\r\nX-Custom: kept\r\nCookie: a=1\r\nUser-Agent: test\r\n";
    let seen = sidecar
        .get("/show.php/a%20b/c?x=1&y=%2F", fields)
        .await
        .json();
    let (host, port) = (sidecar.authority(), sidecar.port.to_string());
    let root = fs::canonicalize(fpm.root()).unwrap();
    let below = |path: &str| root.to_str().unwrap().to_owned() + path;
    for (name, value) in [
        ("HTTPS", "on"),
        ("REQUEST_SCHEME", "https"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/show.php/a%20b/c?x=1&y=%2F"),
        ("QUERY_STRING", "x=1&y=%2F"),
        ("SCRIPT_NAME", "/show.php"),
        ("SCRIPT_FILENAME", &below("/show.php")),
        ("DOCUMENT_ROOT", root.to_str().unwrap()),
        ("PATH_INFO", "/a b/c"),
        ("PHP_SELF", "/show.php/a b/c"),
        ("HTTP_HOST", &host),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", &port),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_AUTHORIZATION", "Basic dTpw"),
        ("PHP_AUTH_USER", "u"),
        ("HTTP_X_CUSTOM", "kept"),
        ("HTTP_COOKIE", "a=1"),
        ("HTTP_USER_AGENT", "test"),
        ("CONTENT_LENGTH", ""),
    ] {
        assert_eq!(seen[name], value, "{name}");
    }
    let seen = sidecar.get("/show.php", "").await.json();
    assert_eq!(seen["PATH_INFO"], Value::Null, "without a rest of the path");
}

#[tokio::test]
async fn a_client_cannot_pass_for_another_or_set_variables() {
    let fpm = PhpFpm::start().await;
    fpm.file("show.php", SHOW);
    let sidecar = in_front_of(&fpm).await;
    let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\n\
                  X-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nProxy: http://evil\r\n\
                  Client-IP: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\n\
                  X_Forwarded_For: 1.2.3.4\r\nX_Custom: 1\r\nX.Custom: 2\r\nX-Custom: kept\r\n\
                  X-Accel-Redirect: /x\r\n";
    let seen = sidecar.get("/show.php", fields).await.json();
    let custom: Vec<_> = seen
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("HTTP_"))
        .collect();
    let expected = [
        (&"HTTP_HOST".to_owned(), &json!(sidecar.authority())),
        (&"HTTP_X_CUSTOM".to_owned(), &json!("kept")),
    ];
    assert_eq!(custom, expected);
    assert_eq!(seen["REMOTE_ADDR"], "127.0.0.1");
    assert_eq!(seen["HTTPS"], "on");
    assert!(sidecar.metric("front_headers_dropped_total").await >= 11);
}

#[tokio::test]
async fn http2_reaches_php_like_http1() {
    let fpm = PhpFpm::start().await;
    fpm.file("show.php", SHOW);
    let sidecar = in_front_of(&fpm).await;
    let request = http::Request::get(format!("https://{}/show.php", sidecar.authority()))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::default())
        .unwrap();
    let response = sidecar.http2().await.send(request).await;
    let seen = within("the body", response.into_body().collect())
        .await
        .unwrap();
    let seen: Value = serde_json::from_slice(&seen.to_bytes()).unwrap();
    assert_eq!(seen["HTTP_HOST"], sidecar.authority());
    assert_eq!(seen["SERVER_PROTOCOL"], "HTTP/2.0");
    assert_eq!(seen["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(seen["HTTPS"], "on");
}

#[tokio::test]
async fn twenty_megabytes_arrive_whole_with_their_length_however_they_are_framed() {
    let fpm = PhpFpm::start().await;
    fpm.file("measure.php", MEASURE);
    let sidecar = in_front_of(&fpm).await;
    let upload: Vec<u8> = (0..20u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let digest = digest(&SHA256, &upload);
    let sha256: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected =
        json!({ "length": upload.len().to_string(), "size": upload.len(), "sha256": sha256 });
    let host = sidecar.authority();
    let head = format!(
        "POST /measure.php HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
    );
    let mut client = sidecar.http1().await;
    let length = upload.len();
    client
        .send(format!("{head}Content-Length: {length}\r\n\r\n"))
        .await;
    assert_eq!(
        client.exchange(&upload).await.json(),
        expected,
        "with a length"
    );

    client
        .send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"))
        .await;
    for piece in upload.chunks(1_000_003) {
        client.send(format!("{:x}\r\n", piece.len())).await;
        client.send(piece).await;
        client.send("\r\n").await;
    }
    assert_eq!(
        client.exchange("0\r\n\r\n").await.json(),
        expected,
        "in chunks"
    );

    let request = http::Request::post(format!("https://{host}/measure.php"))
        .body(Full::new(Bytes::from(upload)))
        .unwrap();
    let response = sidecar.http2().await.send(request).await;
    let seen = within("the body", response.into_body().collect())
        .await
        .unwrap();
    let seen: Value = serde_json::from_slice(&seen.to_bytes()).unwrap();
    assert_eq!(seen, expected, "over HTTP/2");
}

#[tokio::test]
async fn status_and_headers_of_php_are_the_answers() {
    let fpm = PhpFpm::start().await;
    fpm.file(
        "login.php",
        "<?php http_response_code(302); header('Location: /wp-admin/');
        setcookie('a', '1'); setcookie('b', '2'); header('X-Accel-Redirect: /secret');",
    );
    let sidecar = in_front_of(&fpm).await;
    let answer = sidecar.get("/login.php", "").await;
    assert_eq!(answer.head.status, 302);
    assert_eq!(answer.head.field("location"), Some("/wp-admin/"));
    let cookies = answer
        .head
        .fields
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    assert_eq!(cookies.count(), 2);
}

#[tokio::test]
async fn a_post_is_finished_though_its_client_has_left() {
    let fpm = PhpFpm::start().await;
    let (started, go, done) = (
        fpm.path("written/started"),
        fpm.path("written/go"),
        fpm.path("written/done"),
    );
    let script = format!(
        "<?php ignore_user_abort(false);
        touch({started:?});
        for ($n = 0; $n < 1000 && !file_exists({go:?}); $n++) {{ usleep(10000); clearstatcache(); }}
        for ($n = 0; $n < 100; $n++) {{ echo str_repeat('x', 65536); flush(); }}
        file_put_contents({done:?}, file_get_contents('php://input'));"
    );
    fpm.file("save.php", script);
    let sidecar = in_front_of(&fpm).await;
    let mut client = sidecar.http1().await;
    let request = format!(
        "POST /save.php HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\r\nprice",
        sidecar.authority()
    );
    client.send(request).await;
    until("the script to start", || async {
        started.exists().then_some(())
    })
    .await;
    assert_eq!(sidecar.metric("front_detached").await, 1);
    drop(client);
    until("the sidecar to see that", || async {
        let open = sidecar
            .metric("front_connections{protocol=\"http1\"}")
            .await;
        (open == 0).then_some(())
    })
    .await;
    fs::write(&go, "").unwrap();
    let saved = until("the script to end", || async {
        fs::read(&done).ok().filter(|saved| !saved.is_empty())
    });
    assert_eq!(saved.await, b"price");
    until("the request to end", || async {
        (sidecar.metric("front_detached").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn php_fpm_that_is_stopped_is_a_bad_gateway_and_files_are_served_still() {
    let mut fpm = PhpFpm::start().await;
    fpm.file("index.php", "<?php echo 'front';");
    fpm.file("style.css", "body {}");
    let sidecar = in_front_of(&fpm).await;
    assert_eq!(sidecar.get("/", "").await.text(), "front");
    fpm.stop().await;
    let answer = sidecar.get("/", "").await;
    assert_eq!(answer.head.status, 502);
    assert!(
        !answer.text().contains("fpm.sock"),
        "the client is told no paths"
    );
    assert_eq!(sidecar.get("/style.css", "").await.text(), "body {}");
    assert!(
        sidecar.log().contains("is PHP-FPM running"),
        "the log says what to do"
    );
}

#[tokio::test]
async fn two_sites_with_a_php_fpm_each_are_served_at_once() {
    let (blog, shop) = (PhpFpm::start().await, PhpFpm::start().await);
    for (fpm, name) in [(&blog, "blog"), (&shop, "shop")] {
        fpm.file(
            "index.php",
            format!("<?php echo '{name} ' . $_SERVER['DOCUMENT_ROOT'];"),
        );
        fpm.file(&format!("{name}.txt"), name);
    }
    let sidecar = Sidecar::builder()
        .site(Site::new("blog", "blog.test").backend(blog.backend()))
        .site(Site::new("shop", "shop.test").backend(shop.backend()))
        .start()
        .await;
    let ask = async |host: &str, target: &str| {
        let mut client = crate::harness::http::Client::new(sidecar.tls(host, "http/1.1").await);
        let host = sidecar.authority_of(host);
        client
            .exchange(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    };
    for _ in 0..10 {
        let (one, other) = tokio::join!(ask("blog.test", "/"), ask("shop.test", "/"));
        for (answer, name, fpm) in [(one, "blog", &blog), (other, "shop", &shop)] {
            let root = fs::canonicalize(fpm.root()).unwrap();
            assert_eq!(answer.text(), format!("{name} {}", root.display()));
        }
    }
    assert_eq!(ask("blog.test", "/blog.txt").await.text(), "blog");
    assert!(
        ask("shop.test", "/blog.txt")
            .await
            .text()
            .starts_with("shop "),
        "not the other's file"
    );
}
