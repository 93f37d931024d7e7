//! Which certificate is shown, which protocol is chosen, and what a bad client gets.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::HandshakeKind;

use super::*;

/// A server of one pair for `localhost`.
async fn localhost(settings: config::Tls) -> (Server, TempDir) {
    let dir = TempDir::new().unwrap();
    let files = [make(&["localhost"]).write(dir.path(), "localhost")];
    let (certificates, faults) = Certificates::load(&files, Metrics::default());
    assert!(faults.is_empty(), "{faults:?}");
    (Server::start(certificates, settings).await, dir)
}

#[tokio::test]
async fn the_certificate_is_chosen_by_exact_name_then_wildcard_then_the_first() {
    let dir = TempDir::new().unwrap();
    let first = make(&["first.example"]);
    let wildcard = make(&["*.example.org"]);
    let exact = make(&["www.example.org"]);
    let files = [
        first.write(dir.path(), "first"),
        wildcard.write(dir.path(), "wildcard"),
        exact.write(dir.path(), "exact"),
    ];
    let (certificates, faults) = Certificates::load(&files, Metrics::default());
    assert!(faults.is_empty(), "{faults:?}");
    let server = Server::start(certificates, settings()).await;
    assert_eq!(server.shown("www.example.org").await, exact.der);
    assert_eq!(server.shown("WWW.example.org").await, exact.der);
    assert_eq!(server.shown("shop.example.org").await, wildcard.der);
    assert_eq!(server.shown("a.shop.example.org").await, first.der);
    assert_eq!(server.shown("example.org").await, first.der);
    assert_eq!(server.shown("127.0.0.1").await, first.der);
}

#[tokio::test]
async fn a_host_of_another_certificate_is_misdirected() {
    let dir = TempDir::new().unwrap();
    let files = [
        make(&["a.example", "*.a.example"]).write(dir.path(), "a"),
        make(&["b.example"]).write(dir.path(), "b"),
    ];
    let (certificates, _) = Certificates::load(&files, Metrics::default());
    let names: Vec<String> = certificates.names().into_iter().collect();
    assert_eq!(names, ["*.a.example", "a.example", "b.example"]);
    assert!(certificates.misdirected(Some("a.example"), "b.example"));
    assert!(certificates.misdirected(None, "b.example"));
    assert!(!certificates.misdirected(Some("a.example"), "www.a.example"));
    assert!(!certificates.misdirected(Some("a.example"), "unknown.example"));
}

#[tokio::test]
async fn http2_is_preferred_and_http1_is_spoken_to_those_who_ask_for_nothing() {
    let (server, _dir) = localhost(settings()).await;
    for (offered, chosen) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let client = Client::with_alpn(offered);
        let stream = server.connect_with("localhost", &client).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
    }
    let client = Client::with_alpn(&["spdy/3"]);
    let refused = server.connect_with("localhost", &client).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    let (server, _dir) = localhost(settings()).await;
    for version in [&TLS12, &TLS13] {
        let provider: Arc<CryptoProvider> = aws_lc_rs::default_provider().into();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
            .with_no_client_auth();
        let client = Client(Arc::new(config));
        let stream = server.connect_with("localhost", &client).await.unwrap();
        let spoken = stream.get_ref().1.protocol_version();
        assert_eq!(spoken, Some(version.version));
    }
}

#[tokio::test]
async fn a_silent_client_is_closed_at_the_deadline_and_keeps_nobody_waiting() {
    let (server, _dir) = localhost(config::Tls {
        handshake_timeout: Duration::from_millis(300),
        handshakes_max: 1,
        ..settings()
    })
    .await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    // The head of a handshake record that promises 512 bytes.
    slow.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    server.connect("localhost").await.unwrap();
    for client in [&mut silent, &mut slow] {
        let read = timeout(SOON, client.read(&mut [0; 64])).await.unwrap();
        assert!(matches!(read, Ok(0)), "{read:?}");
    }
    assert_eq!(server.failures("timeout"), 2);
    assert_eq!(server.metrics.handshakes.get(), 1);
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_told_apart_from_one_that_leaves() {
    let (server, _dir) = localhost(settings()).await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    plain.write_all(request).await.unwrap();
    let _ = timeout(SOON, plain.read_to_end(&mut Vec::new())).await;
    assert_eq!(server.failures("not_tls"), 1);

    let mut leaving = TcpStream::connect(server.address).await.unwrap();
    leaving.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    leaving.shutdown().await.unwrap();
    let _ = timeout(SOON, leaving.read_to_end(&mut Vec::new())).await;
    assert_eq!(server.failures("closed"), 1);
}

#[tokio::test]
async fn a_session_resumes_after_a_reload() {
    let dir = TempDir::new().unwrap();
    let files = [make(&["localhost"]).write(dir.path(), "pair")];
    let (certificates, _) = Certificates::load(&files, Metrics::default());
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    let client = Client::default();

    let mut first = server.connect_with("localhost", &client).await.unwrap();
    // The tickets come with what the server writes first.
    first.write_all(b"x").await.unwrap();
    first.read_exact(&mut [0]).await.unwrap();
    make(&["localhost"]).write(dir.path(), "pair");
    assert!(certificates.reload().is_empty());

    let second = server.connect_with("localhost", &client).await.unwrap();
    let kind = second.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn without_a_certificate_in_service_the_handshake_fails_and_is_counted() {
    let dir = TempDir::new().unwrap();
    let (certificates, faults) =
        Certificates::load(&[paths(dir.path(), "none")], Metrics::default());
    assert_eq!(faults.len(), 1);
    let server = Server::start(certificates, settings()).await;
    assert!(server.connect("localhost").await.is_err());
    assert_eq!(server.failures("failed"), 1);
}
