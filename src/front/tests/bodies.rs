//! Request bodies under their limits, and responses that are cut.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::{Bench, soon, status};

#[tokio::test(start_paused = true)]
async fn a_body_reaches_the_back_end_with_its_length_where_known() {
    for (framing, body, expected) in [
        ("Content-Length: 5", "hello", "length Some(5) body hello\n"),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            "hello",
            "length Some(5) body hello\n",
        ),
        (
            "transfer-encoding: Chunked",
            "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "length None body hello\n",
        ),
    ] {
        let raw = format!(
            "POST / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n{framing}\r\n\r\n{body}"
        );
        let (answer, _) = Bench::new().exchange(raw).await;
        assert!(answer.contains(expected), "{framing}\n{answer}");
        assert!(answer.contains("POST /\nlength"), "{framing}\n{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_grows_too_large_is_answered_413_whatever_the_back_end_made_of_it() {
    let chunked = "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                   8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    for (limit, expected) in [("16B", 200), ("15B", 413)] {
        let bench = Bench::with(&format!("body_max = \"{limit}\""));
        let (answer, _) = bench.exchange(chunked).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_answered_408() {
    let bench = Bench::new();
    let (answer, took) = bench
        .exchange("POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(63));
}

#[tokio::test(start_paused = true)]
async fn a_body_with_broken_chunks_is_answered_400() {
    let bench = Bench::new();
    let (answer, _) = bench
        .exchange("POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n")
        .await;
    assert_eq!(status(&answer), 400, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_is_asked_for_its_body() {
    let bench = Bench::new();
    let (mut client, _served) = bench.http1(1 << 20);
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\
              Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .await
        .unwrap();
    let mut interim = [0; 25];
    client.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ok").await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.contains("POST /\nlength Some(2) body ok\n"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_is_not_asked_for_its_body() {
    let bench = Bench::with("body_max = \"1B\"");
    let (answer, _) = bench
        .exchange(
            "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: 100-continue\r\n\
             Content-Length: 2\r\n\r\n",
        )
        .await;
    assert_eq!(status(&answer), 413, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_response_never_ends_cleanly() {
    for method in ["GET", "POST"] {
        let raw = format!("{method} /cut HTTP/1.1\r\nHost: site.example\r\n\r\n");
        let (answer, took) = Bench::new().exchange(raw).await;
        assert!(answer.contains("half of it"), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closing_connection_takes_the_rest_of_a_body_so_that_its_answer_arrives() {
    let bench = Bench::with("body_max = \"1B\"");
    let (mut client, served) = bench.http1(64);
    let head = b"POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 100000\r\n\r\n";
    let (mut reader, mut writer) = tokio::io::split(&mut client);
    let began = Instant::now();
    let send = async {
        writer.write_all(head).await.unwrap();
        writer.write_all(&[b'x'; 100_000]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut answer = String::new();
    let (_, read) = tokio::join!(send, reader.read_to_string(&mut answer));
    read.unwrap();
    soon(served).await.unwrap();
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// A pipe has no resets: only a kernel shows what closing with unread bytes does.
#[tokio::test]
async fn a_refused_upload_reads_its_answer_over_tcp() {
    let bench = Bench::with("body_max = \"1B\"");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (server, _) = accepted.unwrap();
    let served = Arc::clone(&bench.door).http1(server, bench.arrival());
    let _served = bench.tasks.spawn(served);
    let (mut reader, mut writer) = client.unwrap().into_split();
    let body = vec![b'x'; 8 << 20];
    let head = format!(
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // As many clients do: everything is written before anything is read.
    writer.write_all(head.as_bytes()).await.unwrap();
    writer.write_all(&body).await.unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 413, "{answer}");
}
