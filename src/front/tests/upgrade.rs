//! The realtime path sees what the upgrade needs, and then has the connection to itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bench, soon, status};

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_handed_over_with_what_was_read_already() {
    let mut bench = Bench::new();
    let (mut client, served) = bench.http1(4096);
    client
        .write_all(
            b"GET /realtime HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\n\r\nearly",
        )
        .await
        .unwrap();
    let (mut stream, read_ahead) = soon(bench.seats.recv()).await.unwrap();
    soon(served).await.unwrap();
    stream.write_all(b"pushed").await.unwrap();
    client.write_all(b"later").await.unwrap();
    drop(stream);
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(status(&answer), 101);
    assert!(answer.ends_with("\r\n\r\npushed"), "{answer}");
    assert_eq!(read_ahead, "early");
}

#[tokio::test(start_paused = true)]
async fn the_realtime_path_may_answer_without_an_upgrade() {
    for version in ["1.1", "1.0"] {
        let raw = format!(
            "GET /realtime HTTP/{version}\r\nHost: site.example\r\nConnection: close\r\n\r\n"
        );
        let (answer, _) = Bench::new().exchange(raw).await;
        assert!(answer.ends_with("no upgrade"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_upgraded_is_told_so() {
    let raw = "GET /realtime HTTP/1.0\r\nHost: site.example\r\nConnection: Upgrade\r\n\
               Upgrade: websocket\r\n\r\n";
    let bench = Bench::new();
    bench.exchange(raw).await;
    assert_eq!(bench.failures("no_upgrade"), 1);
}
