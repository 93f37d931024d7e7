//! A certificate is replaced under a running process: new connections see it, open ones go on.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{fs, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::harness::{
    certificate::{self, Pair},
    directory,
    http::{Client, Http2},
    sidecar::{Sidecar, Site, fastcgi},
    until,
};

/// The certificate that a new connection is shown; that of `also` is trusted beside the first.
async fn shown(sidecar: &Sidecar, also: &Pair) -> CertificateDer<'static> {
    let roots = [&sidecar.roots[..], &[also.der()]].concat();
    let stream = certificate::connect(sidecar.port, "localhost", &roots, "http/1.1").await;
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].clone()
}

async fn until_shown(sidecar: &Sidecar, new: &Pair) {
    until("the new certificate", || async {
        (shown(sidecar, new).await == new.der()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_pair_is_taken_up_while_streams_and_downloads_go_on() {
    let elsewhere = directory();
    // More than every buffer on the way holds.
    let content: Vec<u8> = (0..32 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(elsewhere.path().join("large.bin"), &content).unwrap();
    let nobody = elsewhere.path().join("fpm.sock");
    let site = Site::new("main", "localhost").backend(fastcgi(&nobody, elsewhere.path()));
    let sidecar = Sidecar::builder().site(site).start().await;
    let (old, new) = (
        sidecar.pairs[0].clone(),
        Pair::make("localhost", &elsewhere.path().join("new")),
    );
    let old_der = old.der();

    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let mut download = sidecar.http1().await;
    let request = format!(
        "GET /large.bin HTTP/1.1\r\nHost: {}\r\n\r\n",
        sidecar.authority()
    );
    download.send(request).await;
    let head = download.head().await.unwrap();
    assert_eq!(head.field("content-length"), Some("33554432"));
    let mut framing = head.framing();
    let begun = download.piece(&mut framing).await.unwrap().unwrap();
    assert_eq!(shown(&sidecar, &new).await, old_der);

    old.replace(&new.certificate, &new.key);
    let since = Instant::now();
    until_shown(&sidecar, &new).await;
    let taken = since.elapsed();
    println!("a new certificate is in service after {taken:?}");
    assert!(taken < Duration::from_secs(10), "{taken:?}");

    sidecar.publisher().publish("site", &json!("after")).await;
    assert_eq!(browser.publication().await["data"], "after");
    let rest = download.rest(framing).await.unwrap();
    assert!([begun, rest].concat() == content, "the download is whole");
    assert_eq!(sidecar.metric("tls_certificate_reloads_total").await, 1);
    assert_eq!(
        sidecar
            .metric("tls_certificate_reload_failures_total")
            .await,
        0
    );
}

#[tokio::test]
async fn a_key_that_does_not_fit_changes_nothing_and_is_told() {
    let sidecar = Sidecar::start().await;
    let elsewhere = directory();
    let new = Pair::make("localhost", elsewhere.path());
    let (files, before) = (sidecar.pairs[0].clone(), sidecar.pairs[0].der());
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let key = elsewhere.path().join("old.key");
    fs::copy(&files.key, &key).unwrap();

    files.replace(&new.certificate, &key);
    until("the fault to be counted", || async {
        let faults = sidecar
            .metric("tls_certificate_reload_failures_total")
            .await;
        (faults > 0).then_some(())
    })
    .await;
    assert_eq!(
        shown(&sidecar, &new).await,
        before,
        "the pair before stays in service"
    );
    assert_eq!(sidecar.metric("tls_certificate_reloads_total").await, 0);
    let log = sidecar.log();
    let told = log.lines().filter(|line| line.contains("not taken"));
    assert_eq!(told.count(), 1, "one line, with the file: {log}");
    sidecar.publisher().publish("site", &json!(1)).await;
    assert_eq!(browser.publication().await["data"], 1);

    files.replace(&new.certificate, &new.key);
    until_shown(&sidecar, &new).await;
}

#[tokio::test]
async fn sighup_reads_the_certificates_anew() {
    let unwatched = "poll_interval = \"1h\"";
    let sidecar = Sidecar::builder().section("tls", unwatched).start().await;
    let elsewhere = directory();
    let new = Pair::make("localhost", elsewhere.path());
    let (files, before) = (sidecar.pairs[0].clone(), sidecar.pairs[0].der());
    files.replace(&new.certificate, &new.key);
    assert_eq!(
        shown(&sidecar, &new).await,
        before,
        "nobody has looked at the files yet"
    );
    sidecar.signal(Signal::HUP);
    until_shown(&sidecar, &new).await;
}

#[tokio::test]
async fn each_name_is_shown_its_own_certificate() {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    let sidecar = Sidecar::builder().site(blog).site(shop).start().await;
    for (host, pair) in ["blog.test", "shop.test"].into_iter().zip(&sidecar.pairs) {
        let stream = sidecar.tls(host, "h2").await;
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(
            session.peer_certificates().unwrap().first(),
            Some(&pair.der())
        );
    }
}

#[tokio::test]
async fn a_host_that_only_another_certificate_covers_belongs_on_another_connection() {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    let sidecar = Sidecar::builder().site(blog).site(shop).start().await;
    for protocol in ["http/1.1", "h2"] {
        let stream = sidecar.tls("blog.test", protocol).await;
        let host = sidecar.authority_of("shop.test");
        let status = if protocol == "h2" {
            let request = ::http::Request::get(format!("https://{host}/"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            Http2::new(stream)
                .await
                .send(request)
                .await
                .status()
                .as_u16()
        } else {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            Client::new(stream).exchange(request).await.head.status
        };
        assert_eq!(status, 421, "{protocol}");
    }
}
