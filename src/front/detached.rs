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
};

use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{metrics::Metrics, refusal};
use crate::{
    exchange::{Body, BodyError, Failure, Request, RequestId, Response},
    shutdown::Tasks,
};

/// Bytes of a response that may wait for the client.
const WINDOW: u32 = 256 << 10;

/// Pieces of a response that may wait for the client, however small.
const PIECES: usize = 64;

/// Whether `request` is to be finished without its client.
pub(super) fn applies_to(request: &Request) -> bool {
    let safe = matches!(
        request.head.method,
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !safe || request.head.uri.path().ends_with("/wp-cron.php")
}

/// What a detached task needs of its surroundings.
pub(super) struct Surroundings<'a> {
    pub(super) tasks: &'a Tasks,
    pub(super) metrics: &'a Metrics,
    pub(super) id: RequestId,
}

/// Runs `answer` to its end in a task of its own; `permit` is held until then.
pub(super) async fn run<F>(
    answer: F,
    permit: OwnedSemaphorePermit,
    surroundings: Surroundings<'_>,
) -> Result<Response, Failure>
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    let (give, take) = oneshot::channel();
    let Surroundings { tasks, metrics, id } = surroundings;
    let metrics = metrics.clone();
    tasks.spawn(async move {
        metrics.detached.inc();
        finish(answer.await, give, &metrics, id).await;
        metrics.detached.dec();
        drop(permit);
    });
    match take.await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::ours("detached_task", "ended without an answer")),
    }
}

type Answer = Result<Response, Failure>;

async fn finish(answer: Answer, give: oneshot::Sender<Answer>, metrics: &Metrics, id: RequestId) {
    let response = match answer {
        Ok(response) => response,
        Err(failure) => {
            if let Err(Err(failure)) = give.send(Err(failure)) {
                refusal::log(&failure, id, metrics);
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
    let (sender, receiver) = mpsc::channel(PIECES);
    let relayed = Relayed {
        pieces: receiver,
        size: body.size_hint(),
        ended: false,
    };
    let response = Response::from_parts(head, relayed.boxed_unsync());
    let client = give.send(Ok(response)).is_ok().then_some(sender);
    pump(body, client, id).await;
}

/// One piece of a response on its way, or its regular end.
enum Piece {
    Frame(
        Result<Frame<Bytes>, BodyError>,
        Option<OwnedSemaphorePermit>,
    ),
    End,
}

async fn pump(mut body: Body, mut client: Option<mpsc::Sender<Piece>>, id: RequestId) {
    let window = Arc::new(Semaphore::new(WINDOW as usize));
    while let Some(frame) = body.frame().await {
        // A body that is always ready, and nobody who takes it, must not hold a worker.
        tokio::task::coop::consume_budget().await;
        let failed = frame.is_err();
        if let Some(sender) = &client
            && !hand_over(sender, frame, &window).await
        {
            tracing::debug!(%id, "client has gone, the request goes on");
            client = None;
        }
        if failed {
            return;
        }
    }
    if let Some(sender) = client {
        let _ = sender.send(Piece::End).await;
    }
}

/// Waits for room, then hands `frame` over; false once nobody takes it.
async fn hand_over(
    sender: &mpsc::Sender<Piece>,
    frame: Result<Frame<Bytes>, BodyError>,
    window: &Arc<Semaphore>,
) -> bool {
    let length = frame
        .as_ref()
        .ok()
        .and_then(Frame::data_ref)
        .map_or(0, |data| u32::try_from(data.len()).unwrap_or(WINDOW));
    let room = tokio::select! {
        room = Arc::clone(window).acquire_many_owned(length.min(WINDOW)) => room.ok(),
        () = sender.closed() => return false,
    };
    sender.send(Piece::Frame(frame, room)).await.is_ok()
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
            // The task ended before the response did: that must not look like the end of it.
            None => {
                this.ended = true;
                Some(Err("the task that read the response has ended".into()))
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
    use super::*;

    #[tokio::test]
    async fn a_response_whose_task_died_does_not_look_whole() {
        for (last, whole) in [(Some(Piece::End), true), (None, false)] {
            let (sender, pieces) = mpsc::channel(PIECES);
            let relayed = Relayed {
                pieces,
                size: SizeHint::new(),
                ended: false,
            };
            let half = Frame::data(Bytes::from_static(b"half"));
            let pieces = [Some(Piece::Frame(Ok(half), None)), last];
            for piece in pieces.into_iter().flatten() {
                assert!(sender.send(piece).await.is_ok());
            }
            drop(sender);
            assert_eq!(relayed.collect().await.is_ok(), whole);
        }
    }
}
