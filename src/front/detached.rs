//! Requests that are finished though their client has gone.
//!
//! A POST that was cut off half-way leaves half a change behind, and WordPress starts its own
//! cron by a request that it hangs up on after 10 ms. Such a request runs in a task of its own,
//! which hands the response over as long as somebody takes it, and lets it run out otherwise.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{metrics::Metrics, refusal};
use crate::{
    exchange::{Body, BodyError, Failure, Request, RequestId, Response},
    shutdown::Tasks,
};

/// Bytes of a response that may wait for the client.
const WINDOW: usize = 256 << 10;

/// Pieces of a response that may wait for the client, however small.
const PIECES: usize = 64;

/// What is handed over at once, so that a slow client is seen to take something.
const PIECE: usize = 16 << 10;

/// Whether `request` is to be finished without its client.
pub(super) fn applies_to(request: &Request) -> bool {
    let safe = matches!(
        request.head.method,
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !safe || request.head.uri.path().ends_with("/wp-cron.php")
}

/// What a detached task needs of its surroundings.
pub(super) struct Surroundings {
    pub(super) metrics: Metrics,
    pub(super) id: RequestId,
    /// How long a client may take nothing before it counts as gone.
    pub(super) stall_timeout: Duration,
}

/// Runs `answer` to its end in a task of its own; `permit` is held until then.
pub(super) async fn run<F>(
    answer: F,
    permit: OwnedSemaphorePermit,
    tasks: &Tasks,
    surroundings: Surroundings,
) -> Result<Response, Failure>
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    let (give, take) = oneshot::channel();
    tasks.spawn(async move {
        surroundings.metrics.detached.inc();
        finish(answer.await, give, &surroundings).await;
        surroundings.metrics.detached.dec();
        drop(permit);
    });
    match take.await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::ours("detached_task", "ended without an answer")),
    }
}

type Answer = Result<Response, Failure>;

async fn finish(answer: Answer, give: oneshot::Sender<Answer>, surroundings: &Surroundings) {
    let response = match answer {
        Ok(response) => response,
        Err(failure) => {
            if let Err(Err(failure)) = give.send(Err(failure)) {
                refusal::log(&failure, surroundings.id, &surroundings.metrics);
            }
            return;
        }
    };
    let (head, body) = response.into_parts();
    if body.is_end_stream() {
        // Nothing to hand over: whether the client is still there makes no difference.
        let _ = give.send(Ok(Response::from_parts(head, body)));
        return;
    }
    let (client, relayed) = relay(body.size_hint(), surroundings.stall_timeout);
    let response = Response::from_parts(head, relayed.boxed_unsync());
    let client = give.send(Ok(response)).is_ok().then_some(client);
    pump(body, client, surroundings.id).await;
}

/// One piece of a response on its way, or its regular end.
enum Piece {
    Frame(
        Result<Frame<Bytes>, BodyError>,
        Option<OwnedSemaphorePermit>,
    ),
    End,
}

async fn pump(mut body: Body, mut client: Option<Client>, id: RequestId) {
    while let Some(frame) = body.frame().await {
        // A body that is always ready, and nobody who takes it, must not hold a worker.
        tokio::task::coop::consume_budget().await;
        let failed = frame.is_err();
        if let Some(taker) = &client
            && !taker.hand_over(frame).await
        {
            tracing::debug!(%id, "client has gone or takes nothing, the request goes on");
            client = None;
        }
        if failed {
            return;
        }
    }
    if let Some(client) = client {
        client.send(Piece::End).await;
    }
}

/// Both ends between the task that reads a response and the client.
fn relay(size: SizeHint, stall_timeout: Duration) -> (Client, Relayed) {
    let (sender, pieces) = mpsc::channel(PIECES);
    let client = Client {
        sender,
        window: Arc::new(Semaphore::new(WINDOW)),
        stall_timeout,
    };
    let relayed = Relayed {
        pieces,
        size,
        ended: false,
    };
    (client, relayed)
}

/// The way to a client that may take its time, but not for ever.
struct Client {
    sender: mpsc::Sender<Piece>,
    window: Arc<Semaphore>,
    stall_timeout: Duration,
}

impl Client {
    /// Hands `frame` over as there is room; false once nobody takes it.
    async fn hand_over(&self, frame: Result<Frame<Bytes>, BodyError>) -> bool {
        let mut data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(trailers)) => return self.send(Piece::Frame(Ok(trailers), None)).await,
            Err(error) => return self.send(Piece::Frame(Err(error), None)).await,
        };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE));
            if !self.send(Piece::Frame(Ok(Frame::data(piece)), None)).await {
                return false;
            }
        }
        true
    }

    async fn send(&self, piece: Piece) -> bool {
        let handed_over = async {
            let piece = match piece {
                Piece::Frame(Ok(frame), _) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let length = u32::try_from(length).unwrap_or(u32::MAX);
                    let window = Arc::clone(&self.window);
                    Piece::Frame(Ok(frame), window.acquire_many_owned(length).await.ok())
                }
                piece => piece,
            };
            self.sender.send(piece).await.is_ok()
        };
        tokio::select! {
            handed_over = timeout(self.stall_timeout, handed_over) => handed_over.unwrap_or(false),
            () = self.sender.closed() => false,
        }
    }
}

/// The client's end of a response that a detached task reads.
struct Relayed {
    pieces: mpsc::Receiver<Piece>,
    size: SizeHint,
    ended: bool,
}

impl http_body::Body for Relayed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        this.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Frame(frame, _room)) => Some(frame),
            Some(Piece::End) => {
                this.ended = true;
                None
            }
            // Given up, or the task has ended: that must not look like the end of the response.
            None => {
                this.ended = true;
                Some(Err("nobody hands the rest of the response over".into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        // Exact for the whole; hyper asks before the first piece only.
        self.size
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_response_whose_task_died_does_not_look_whole() {
        for (last, whole) in [(Some(Piece::End), true), (None, false)] {
            let (client, relayed) = relay(SizeHint::new(), Duration::from_secs(60));
            let half = Frame::data(Bytes::from_static(b"half"));
            assert!(client.hand_over(Ok(half)).await);
            if let Some(last) = last {
                assert!(client.send(last).await);
            }
            drop(client);
            assert_eq!(relayed.collect().await.is_ok(), whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_counts_as_gone() {
        let (client, relayed) = relay(SizeHint::new(), Duration::from_secs(60));
        let began = Instant::now();
        let body = crate::exchange::full(vec![b'x'; 2 * WINDOW]);
        pump(body, Some(client), RequestId(1)).await;
        assert_eq!(began.elapsed().as_secs(), 60);
        assert!(relayed.collect().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_gets_the_whole() {
        let (client, mut relayed) = relay(SizeHint::new(), Duration::from_secs(60));
        let body = crate::exchange::full(vec![b'x'; 2 * WINDOW]);
        let take = async {
            let mut length = 0;
            while let Some(piece) = relayed.frame().await {
                length += piece.unwrap().into_data().unwrap().len();
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
            length
        };
        let ((), taken) = tokio::join!(pump(body, Some(client), RequestId(1)), take);
        assert_eq!(taken, 2 * WINDOW);
    }
}
