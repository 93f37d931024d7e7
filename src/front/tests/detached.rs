//! What goes on without its client, and what does not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bench, Event, soon};

async fn hang_up_on(bench: &mut Bench, request_line: &str) {
    let (mut client, served) = bench.http1(4096);
    let raw = format!("{request_line} HTTP/1.1\r\nHost: site.example\r\n\r\n");
    client.write_all(raw.as_bytes()).await.unwrap();
    assert_eq!(soon(bench.events.recv()).await, Some(Event::Started));
    drop(client);
    soon(served).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_and_the_cron_are_finished_though_their_client_left() {
    for line in [
        "POST /wait",
        "DELETE /wait",
        "GET /wp-cron.php?doing_wp_cron=1",
    ] {
        let mut bench = Bench::new();
        hang_up_on(&mut bench, line).await;
        bench.release.notify_one();
        assert_eq!(
            soon(bench.events.recv()).await,
            Some(Event::Finished),
            "{line}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_safe_request_ends_with_its_client() {
    let mut bench = Bench::new();
    hang_up_on(&mut bench, "GET /wait").await;
    assert_eq!(soon(bench.events.recv()).await, Some(Event::Dropped));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_an_unsafe_request_ends_with_its_client() {
    let mut bench = Bench::with("detached_max = 1");
    hang_up_on(&mut bench, "POST /wait").await;
    hang_up_on(&mut bench, "POST /wait").await;
    assert_eq!(soon(bench.events.recv()).await, Some(Event::Dropped));
    bench.release.notify_one();
    assert_eq!(soon(bench.events.recv()).await, Some(Event::Finished));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_takes_runs_out() {
    let mut bench = Bench::new();
    let (mut client, served) = bench.http1(4096);
    client
        .write_all(b"POST /long HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut [0; 1000]).await.unwrap();
    drop(client);
    soon(served).await.unwrap();
    assert_eq!(soon(bench.events.recv()).await, Some(Event::ReadToTheEnd));
}

#[tokio::test(start_paused = true)]
async fn a_response_waits_for_a_slow_client_and_arrives_whole() {
    let mut bench = Bench::new();
    let (mut client, _served) = bench.http1(4096);
    client
        .write_all(b"POST /long HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut [0; 1000]).await.unwrap();
    // A mebibyte is on its way, and at most a third of it may wait for us.
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert!(bench.events.try_recv().is_err());
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.len() > 64 * (16 << 10) - 1000);
    assert!(answer.ends_with(b"0\r\n\r\n"));
    assert_eq!(soon(bench.events.recv()).await, Some(Event::ReadToTheEnd));
}
