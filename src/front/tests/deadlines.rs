//! Every wait for a client ends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{Bench, soon};

fn about(took: Duration, seconds: u64) -> bool {
    (seconds..=seconds + 3).contains(&took.as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_whole_head_is_closed_at_the_header_timeout() {
    for raw in ["", "G", "GET / HTTP/1.1\r\nHost: site.example\r\n"] {
        let (answer, took) = Bench::new().exchange(raw).await;
        assert!(!answer.contains(" 200 "), "{answer}");
        assert!(about(took, 30), "{raw:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_nothing_more_is_closed_at_the_header_timeout() {
    let raw = "GET / HTTP/1.1\r\nHost: site.example\r\n\r\n";
    let (answer, took) = Bench::new().exchange(raw).await;
    assert!(answer.contains(" 200 "), "{answer}");
    assert!(about(took, 30), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_closed_at_the_stall_timeout() {
    for method in ["GET", "POST"] {
        let bench = Bench::new();
        let began = Instant::now();
        let (mut client, served) = bench.http1(4096);
        let raw = format!("{method} /endless HTTP/1.1\r\nHost: site.example\r\n\r\n");
        client.write_all(raw.as_bytes()).await.unwrap();
        soon(served).await.unwrap();
        assert!(about(began.elapsed(), 60), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_not() {
    let bench = Bench::new();
    let (mut client, served) = bench.http1(4096);
    client
        .write_all(b"GET /endless HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.read_exact(&mut [0; 4096]).await.unwrap();
    }
    assert!(!served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_as_soon_as_the_stage_stops() {
    for raw in ["", "GET / HTTP/1.1\r\nHost: site.example\r\n\r\n"] {
        let bench = Bench::new();
        let (mut client, served) = bench.http1(4096);
        client.write_all(raw.as_bytes()).await.unwrap();
        if !raw.is_empty() {
            client.read_u8().await.unwrap();
        }
        let began = Instant::now();
        bench.tasks.stop();
        soon(client.read_to_end(&mut Vec::new())).await.unwrap();
        drop(client);
        soon(served).await.unwrap();
        assert!(about(began.elapsed(), 0), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_answered_though_the_stage_stops() {
    let mut bench = Bench::new();
    let (mut client, _served) = bench.http1(4096);
    client
        .write_all(b"GET /wait HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await
        .unwrap();
    soon(bench.events.recv()).await.unwrap();
    bench.tasks.stop();
    // Until the connection has heard of it: no time passes while anything can still run.
    tokio::time::sleep(Duration::from_millis(1)).await;
    bench.release.notify_one();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}
