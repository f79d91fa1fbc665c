//! The listener, and one request's way through: take it in, follow its orders, relay the answer or tunnel the upgrade.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Empty, Full, StreamBody};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::{request, uri};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::core::{Event, Refusal};
use super::headers;
use super::hub::{Hub, Order, Ticket};
use super::upstream::{self, Failure, Line};

/// The proxy's own endpoint; Jupyter has nothing below `/-/`.
pub const HEALTH: &str = "/-/proxy/health";
/// Connections and tunnels at the same time. More wait in the kernel's backlog: a few people and tests use one Jupyter.
const CONNECTIONS_MAX: usize = 1024;
/// A connection that sends no whole request head for this long is closed, idle ones too.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// After a failed accept (no file descriptors left) the listener rests, else it would spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// A move takes a few seconds; clients of a refused request should ask again soon.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// Accepts connections for ever.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, client)) => {
                tokio::spawn(converse(stream, client, Arc::clone(&hub), Arc::new(place)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, client: SocketAddr, hub: Arc<Hub>, place: Arc<OwnedSemaphorePermit>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (hub, place) = (Arc::clone(&hub), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(request, client, &hub, place).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%client, %error, "a client's connection ended early");
    }
}

async fn answer(
    mut request: Request<Incoming>,
    client: SocketAddr,
    hub: &Arc<Hub>,
    place: Arc<OwnedSemaphorePermit>,
) -> Response<AnswerBody> {
    if request.uri().path() == HEALTH {
        return health(hub);
    }
    if request.method() == Method::CONNECT {
        return text(StatusCode::METHOD_NOT_ALLOWED, "this proxy leads to Jupyter only; CONNECT is not for it");
    }
    let upgrade = headers::upgrade(request.headers());
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    headers::pass_on(&mut head.headers, upgrade);
    headers::forwarded(&mut head.headers, client.ip());
    let patient = matches!(head.method, Method::GET | Method::HEAD) && body.is_end_stream();
    let mut body = Some(body);
    let mut ticket = hub.admit(patient);
    loop {
        let (attempt, to) = match ticket.order() {
            Order::Ask { attempt, to } => (attempt, to),
            Order::Wait => {
                ticket.changed().await;
                continue;
            }
            Order::Refuse(why) => return refusal(why),
            // Only answers are cut; were there none yet, there is no leader for it.
            Order::Cut => return refusal(Refusal::NoLeader),
        };
        // The core asks a second time only for requests without a body.
        let body = match body.take() {
            Some(body) if !patient => Either::Left(body),
            _ => Either::Right(Empty::new()),
        };
        let asked = tokio::select! {
            biased;
            () = ticket.changed() => continue,
            asked = upstream::ask(to, outgoing(&head, to, body)) => asked,
        };
        match asked {
            Ok((response, line)) => {
                if ticket.report(Event::Answered(attempt)) {
                    return relay(response, client_side, Way { ticket, line }, place);
                }
            }
            Err(failure) => {
                tracing::debug!(%failure, "an attempt failed");
                ticket.report(match failure {
                    Failure::Unreached { .. } => Event::Unreached(attempt),
                    Failure::Broken { .. } => Event::Broken(attempt),
                });
            }
        }
    }
}

/// The request as it goes to the leader: HTTP/1.1, origin form.
fn outgoing<B>(head: &request::Parts, to: SocketAddr, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers.clone();
    let mut target = uri::Parts::default();
    target.path_and_query = head.uri.path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
    // HTTP/1.0 clients may leave it out; HTTP/1.1 servers insist on it.
    if let Ok(host) = HeaderValue::try_from(to.to_string()) {
        request.headers_mut().entry(hyper::header::HOST).or_insert(host);
    }
    request
}

/// What an answer under way holds on to.
struct Way {
    ticket: Ticket,
    line: Line,
}

fn relay(
    mut response: Response<Incoming>,
    client_side: Option<OnUpgrade>,
    way: Way,
    place: Arc<OwnedSemaphorePermit>,
) -> Response<AnswerBody> {
    let upgrade = headers::upgrade(response.headers());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client_side) = client_side
    {
        let leader_side = hyper::upgrade::on(&mut response);
        tokio::spawn(tunnel(client_side, leader_side, way, place));
        headers::pass_on(response.headers_mut(), upgrade);
        return response.map(|_| Empty::new().map_err(BoxError::from).boxed_unsync());
    }
    headers::pass_on(response.headers_mut(), None);
    response.map(|body| cuttable(body, way))
}

/// The answer's body, ended with an error (never as if complete) when it is cut.
fn cuttable(body: Incoming, way: Way) -> AnswerBody {
    if body.is_end_stream() {
        return Empty::new().map_err(BoxError::from).boxed_unsync();
    }
    let frames = stream::unfold(Some((body, way)), |state| async move {
        let (mut body, mut way) = state?;
        tokio::select! {
            biased;
            () = way.ticket.changed() => Some((Err(BoxError::from("the leader was replaced")), None)),
            frame = body.frame() => match frame? {
                Ok(frame) => Some((Ok(frame), Some((body, way)))),
                Err(error) => Some((Err(BoxError::from(error)), None)),
            },
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// Carries bytes both ways until a side ends or the leader is replaced.
async fn tunnel(client_side: OnUpgrade, leader_side: OnUpgrade, way: Way, _place: Arc<OwnedSemaphorePermit>) {
    let Way { mut ticket, line } = way;
    let carry = async {
        let (client, leader) = tokio::try_join!(client_side, leader_side)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(leader)).await?;
        Ok::<(), BoxError>(())
    };
    tokio::select! {
        () = ticket.changed() => tracing::debug!("a tunnel was cut: the leader was replaced"),
        end = carry => if let Err(error) = end {
            tracing::debug!(%error, "a tunnel broke");
        },
    }
    drop(line);
}

fn refusal(why: Refusal) -> Response<AnswerBody> {
    let (status, message) = match why {
        Refusal::NoLeader => (StatusCode::SERVICE_UNAVAILABLE, "no leader answers at the moment; ask again"),
        Refusal::TooManyWait => {
            (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait for the next leader; ask again")
        }
        Refusal::OutcomeUnknown => {
            (StatusCode::BAD_GATEWAY, "the leader was lost before it answered; the request may have been carried out")
        }
        Refusal::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, "the leader took the request and did not answer"),
    };
    let mut response = text(status, message);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    response
}

fn health(hub: &Hub) -> Response<AnswerBody> {
    let (leader, waiting) = hub.state();
    let state = serde_json::json!({ "leader": leader, "waiting": waiting });
    let mut response = text(StatusCode::OK, &state.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, message: &str) -> Response<AnswerBody> {
    let body = Full::from(format!("{message}\n")).map_err(BoxError::from);
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
