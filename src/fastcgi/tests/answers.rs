//! What becomes of PHP's output.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::oneshot,
};

use super::{
    config, fastcgi, get, request,
    responder::{Responder, end, receive, receive_until, stderr, stdout},
    script, unsized_body, whole,
};
use crate::exchange;
use crate::fastcgi::{FastCgi, Metrics, record};
use crate::shutdown::Tasks;

/// Gives a closure that runs many times something that can be used once.
fn once<T>(value: T) -> Mutex<Option<T>> {
    Mutex::new(Some(value))
}

fn take<T>(value: &Mutex<Option<T>>) -> T {
    value.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn output_becomes_status_headers_and_body() {
    let head = "Status: 404 Not Found\r\nX-Powered-By: PHP\r\nSet-Cookie: a=1\r\n\
                Set-Cookie: b=2\r\nContent-type: text/html; charset=UTF-8\r\n\r\nnot";
    let answer = [
        stdout(head),
        stderr("a notice\n"),
        stdout(" here"),
        stdout(""),
        end(0),
    ];
    let responder = Responder::sending(answer.concat());
    let fastcgi = fastcgi(responder.address());
    let response = fastcgi.answer(get("/"), script("")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=UTF-8"
    );
    assert_eq!(whole(response).await.unwrap(), "not here");
    assert_eq!(fastcgi.metrics.requests.get(), 1);
    assert_eq!(fastcgi.metrics.stderr_lines.get(), 1);
}

#[tokio::test]
async fn a_byte_at_a_time_is_as_good_as_all_at_once() {
    let answer = [stderr("x\n"), stdout("A: b\r\n\r\nbody"), end(0)].concat();
    let responder = Responder::start(move |mut stream| {
        let answer = answer.clone();
        async move {
            receive(&mut stream).await;
            for byte in answer {
                stream.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let response = fastcgi(responder.address())
        .answer(get("/"), script(""))
        .await;
    assert_eq!(whole(response.unwrap()).await.unwrap(), "body");
}

#[tokio::test]
async fn what_php_flushes_is_passed_on_at_once() {
    let (go, wait) = oneshot::channel::<()>();
    let wait = once(wait);
    let responder = Responder::start(move |mut stream| {
        let wait = take(&wait);
        async move {
            receive(&mut stream).await;
            // Half a record: the rest waits until the client has seen this much.
            let record = stdout("A: b\r\n\r\nfirst, second");
            let (now, later) = record.split_at(8 + "A: b\r\n\r\nfirst".len());
            stream.write_all(now).await.unwrap();
            wait.await.unwrap();
            stream.write_all(&[later, &end(0)].concat()).await.unwrap();
        }
    });
    let response = fastcgi(responder.address())
        .answer(get("/"), script(""))
        .await;
    let mut body = response.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    go.send(()).unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), ", second");
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_arrives_whole() {
    let output = vec![b'o'; 3 << 20];
    let answer = [stdout("A: b\r\n\r\n"), stdout(&output), end(0)].concat();
    let responder = Responder::start(move |mut stream| {
        let answer = answer.clone();
        async move {
            // Closing with the body unread makes the client's writes fail.
            receive_until(&mut stream, record::PARAMS).await;
            stream.write_all(&answer).await.unwrap();
        }
    });
    for memory in [1 << 10, 64 << 20] {
        let mut config = config(responder.address());
        config.body_memory_max.0 = memory;
        let fastcgi = FastCgi::new(&config, Tasks::new(), Metrics::default());
        let body = unsized_body(vec![Bytes::from(vec![0; 1 << 20]); 20], &responder.tasks);
        let asked = request(http::Request::post("/"), body);
        let response = fastcgi.answer(asked, script("")).await.unwrap();
        assert!(whole(response).await.unwrap() == output);
    }
}

#[tokio::test]
async fn an_echo_longer_than_every_buffer_does_not_lock_up() {
    let responder = Responder::start(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        write.write_all(&stdout("A: b\r\n\r\n")).await.unwrap();
        let mut block = vec![0; 10_000];
        let mut left = 8 << 20;
        // Writes as much as it reads, and reads no further before that.
        while left > 0 {
            let count = read.read(&mut block).await.unwrap();
            write.write_all(&stdout(&block[..count])).await.unwrap();
            left -= count.min(left);
        }
        write.write_all(&end(0)).await.unwrap();
    });
    let asked = request(
        http::Request::post("/"),
        exchange::full(vec![b'x'; 8 << 20]),
    );
    let response = fastcgi(responder.address()).answer(asked, script("")).await;
    assert!(whole(response.unwrap()).await.unwrap().len() >= 8 << 20);
}

#[tokio::test]
async fn php_waits_for_a_client_that_does_not_read_and_is_told_when_it_goes() {
    let (full, taken) = oneshot::channel();
    let (closed, gone) = oneshot::channel();
    let signals = once((full, closed));
    let responder = Responder::start(move |mut stream: UnixStream| {
        let (full, closed) = take(&signals);
        async move {
            receive(&mut stream).await;
            stream
                .write_all(&stdout("A: b\r\n\r\nfirst"))
                .await
                .unwrap();
            let record = stdout(vec![b'x'; 60_000]);
            let mut count = 0;
            while let Ok(written) = stream.try_write(&record) {
                count += written;
            }
            full.send(count).unwrap();
            let _ = stream.read(&mut [0]).await;
            closed.send(stream.write(&record).await.is_err()).unwrap();
        }
    });
    let response = fastcgi(responder.address())
        .answer(get("/"), script(""))
        .await;
    let mut body = response.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(taken.await.unwrap() < 4 << 20);
    drop(body);
    assert!(gone.await.unwrap());
}

#[tokio::test]
async fn a_response_without_a_body_leaves_the_script_to_finish() {
    for (head, status) in [("A: b", 200), ("Status: 304", 304), ("Status: 204", 204)] {
        let (finished, waiting) = oneshot::channel();
        let finished = once(finished);
        let head = stdout(format!("{head}\r\n\r\n"));
        let responder = Responder::start(move |mut stream| {
            let finished = take(&finished);
            let output = [head.clone(), stdout(vec![b'x'; 1 << 20]), end(0)].concat();
            async move {
                receive(&mut stream).await;
                finished
                    .send(stream.write_all(&output).await.is_ok())
                    .unwrap();
            }
        });
        let method = if status == 200 { "HEAD" } else { "GET" };
        let head = http::Request::builder().method(method).uri("/");
        let asked = request(head, exchange::empty());
        let response = fastcgi(responder.address()).answer(asked, script("")).await;
        let response = response.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(whole(response).await.unwrap(), "");
        assert!(
            waiting.await.unwrap(),
            "the script of the {status} was cut off"
        );
    }
}

#[tokio::test]
async fn output_past_the_promised_length_is_cut_and_the_script_finishes() {
    for promised in ["0", "4"] {
        let (finished, waiting) = oneshot::channel();
        let finished = once(finished);
        let head = stdout(format!("Content-Length: {promised}\r\n\r\nbody and more"));
        let responder = Responder::start(move |mut stream| {
            let finished = take(&finished);
            let output = [head.clone(), stdout(vec![b'x'; 1 << 20]), end(0)].concat();
            async move {
                receive(&mut stream).await;
                finished
                    .send(stream.write_all(&output).await.is_ok())
                    .unwrap();
            }
        });
        let response = fastcgi(responder.address())
            .answer(get("/"), script(""))
            .await;
        let response = response.unwrap();
        assert_eq!(response.headers()["content-length"], promised);
        let length = promised.parse::<usize>().unwrap();
        assert_eq!(response.body().size_hint().exact(), Some(length as u64));
        assert_eq!(whole(response).await.unwrap(), "body"[..length]);
        assert!(waiting.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_client_takes_is_not_counted_against_php() {
    let answer = [
        stdout("A: b\r\n\r\nfirst"),
        stdout(vec![b'x'; 10 << 20]),
        end(0),
    ];
    let responder = Responder::sending(answer.concat());
    let response = fastcgi(responder.address())
        .answer(get("/"), script(""))
        .await;
    let mut body = response.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        if length < 1 << 20 {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
    }
    assert_eq!(length, (10 << 20) + "first".len());
}
