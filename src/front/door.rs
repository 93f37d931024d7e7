//! One request → its answer, in the order of the rules.
//!
//! How the request came in, and how the answer goes out, is `connection`'s to know.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, Version, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::sync::Semaphore;

use super::{
    admission,
    arrival::Arrival,
    detached::{self, Surroundings},
    dispatch::{Admission, Destination},
    metrics::{Answer, Metrics},
    refusal::{ALLOW, Reader},
    request_body::Limited,
};
use crate::{
    config::{self, Mode},
    exchange::{Failure, Origin, Request, RequestId, Response, Scheme, empty},
    router::{Route, Router, Target},
    shutdown::Tasks,
    tls::Certificates,
};

/// What every request of every connection needs.
pub(super) struct Door<D> {
    pub(super) config: config::Front,
    pub(super) router: Router,
    pub(super) destination: D,
    pub(super) certificates: Arc<Certificates>,
    pub(super) tasks: Tasks,
    pub(super) metrics: Metrics,
    pub(super) detached: Arc<Semaphore>,
}

/// The response, and who takes over the connection once it is sent.
pub(super) struct Answered<Seat> {
    pub(super) response: Response,
    pub(super) upgrade: Option<(OnUpgrade, Seat)>,
}

impl<D: Destination> Door<D> {
    /// Answers one request; a failure is already a page.
    pub(super) async fn request(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        arrival: Arrival,
    ) -> Answered<D::Seat> {
        let id = new_id();
        let (head, body) = request.into_parts();
        let reader = Reader::of(&head, id);
        let is_head = head.method == Method::HEAD;
        let mut answered = match self.answer(head, body, &arrival, id).await {
            Ok(answered) => answered,
            Err(failure) => reader.refuse(&failure, &self.metrics).into(),
        };
        finish(&mut answered.response, is_head);
        let status = answered.response.status().as_u16();
        let count = Answer { status };
        self.metrics.requests.get_or_create(&count).inc();
        answered
    }

    async fn answer(
        self: &Arc<Self>,
        mut head: Parts,
        body: Incoming,
        arrival: &Arrival,
        id: RequestId,
    ) -> Result<Answered<D::Seat>, Failure> {
        let on_upgrade = head.extensions.remove::<OnUpgrade>();
        let length = body.size_hint().exact();
        let (origin, dropped) = admission::admit(&mut head, length, &self.config, arrival, id)?;
        self.metrics
            .headers_dropped
            .inc_by(u64::try_from(dropped).unwrap_or(u64::MAX));
        if head.uri.path() == "*" {
            return Ok(options().into());
        }
        if arrival.mode == Mode::Redirect {
            return self.to_https(&head, &origin).map(Into::into);
        }
        let route = self
            .router
            .route(&origin.host, head.uri.path())
            .map_err(|refused| {
                let detail = format!("{} {:?}", origin.host, head.uri.path());
                Failure::client(refused.status, refused.reason, detail)
            })?;
        self.check_certificate(arrival, &origin)?;
        let body = Limited::new(body, &self.config);
        let verdict = body.verdict();
        let body = body.boxed_unsync();
        let mut request = Request { head, body, origin };
        if route.target == Target::Realtime {
            return self.admit(route.site, &request, on_upgrade);
        }
        admission::strip_hop_by_hop(&mut request.head.headers);
        match self.pass_on(route, request).await {
            Ok(response) => checked(response).map(Into::into),
            // The back end only knows that it could not go on.
            Err(failure) => Err(verdict.failure().unwrap_or(failure)),
        }
    }

    /// A client that was shown a certificate for another name belongs on another connection
    /// (RFC 9110 §15.5.20), if we have one for this name; browsers then open it.
    fn check_certificate(&self, arrival: &Arrival, origin: &Origin) -> Result<(), Failure> {
        let name = arrival.server_name.as_deref();
        if arrival.scheme == Scheme::Https && self.certificates.misdirected(name, &origin.host) {
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Err(Failure::client(status, "misdirected", &origin.host));
        }
        Ok(())
    }

    fn admit(
        &self,
        site: usize,
        request: &Request,
        on_upgrade: Option<OnUpgrade>,
    ) -> Result<Answered<D::Seat>, Failure> {
        match (self.destination.admit(site, request)?, on_upgrade) {
            (Admission::Answer(response), _) => Ok(response.into()),
            (Admission::Upgrade { response, seat }, Some(on_upgrade)) => Ok(Answered {
                response,
                upgrade: Some((on_upgrade, seat)),
            }),
            (Admission::Upgrade { .. }, None) => Err(Failure::client(
                StatusCode::BAD_REQUEST,
                "no_upgrade",
                "the connection cannot be upgraded",
            )),
        }
    }

    async fn pass_on(
        self: &Arc<Self>,
        route: Route,
        request: Request,
    ) -> Result<Response, Failure> {
        let permit = if detached::applies_to(&request) {
            Arc::clone(&self.detached).try_acquire_owned().ok()
        } else {
            None
        };
        let Some(permit) = permit else {
            return self.destination.answer(route, request).await;
        };
        let surroundings = Surroundings {
            metrics: self.metrics.clone(),
            id: request.origin.id,
            stall_timeout: self.config.write_stall_timeout,
        };
        let door = Arc::clone(self);
        let answer = async move { door.destination.answer(route, request).await };
        detached::run(answer, permit, &self.tasks, surroundings).await
    }

    /// Sends the client to the same address with `https`, for hosts of sites alone.
    fn to_https(&self, head: &Parts, origin: &Origin) -> Result<Response, Failure> {
        let misdirected = || {
            let status = StatusCode::MISDIRECTED_REQUEST;
            Failure::client(status, "unknown_host", &origin.host)
        };
        self.router.site(&origin.host).ok_or_else(misdirected)?;
        let location = format!("https://{}{}", origin.host, head.uri);
        let location = HeaderValue::try_from(location)
            .map_err(|error| Failure::ours("redirect_location", error))?;
        let mut response = http::Response::new(empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }
}

impl<Seat> From<Response> for Answered<Seat> {
    fn from(response: Response) -> Self {
        Self {
            response,
            upgrade: None,
        }
    }
}

/// Nothing behind us may change the protocol of a connection that we did not offer it.
fn checked(response: Response) -> Result<Response, Failure> {
    if response.status().is_informational() {
        let status = StatusCode::BAD_GATEWAY;
        return Err(Failure::upstream(status, "unasked_1xx", response.status()));
    }
    Ok(response)
}

/// The answer to `OPTIONS *`, which is about the server and no site.
fn options() -> Response {
    let mut response = http::Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, ALLOW);
    response
}

/// What holds for every response, whoever made it.
fn finish(response: &mut Response, is_head: bool) {
    // hyper would copy an HTTP/1.0 of the upstream.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("sidewire"));
    if is_head && !response.body().is_end_stream() {
        // hyper would send it in HTTP/2, where HEAD has none either.
        if let Some(length) = response.body().size_hint().exact()
            && !response.headers().contains_key(header::CONTENT_LENGTH)
        {
            let length = HeaderValue::from(length);
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        *response.body_mut() = empty();
    }
}

fn new_id() -> RequestId {
    let mut bytes = [0; 16];
    // Without randomness a request is served all the same, under a name that tells nothing.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    RequestId(u128::from_ne_bytes(bytes))
}
