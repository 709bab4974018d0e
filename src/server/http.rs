//! The HTTP routes, and what all answers have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as _;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::listener::Origin;
use super::{
    App, admin, auth, console, cuttlefish, documents, files, gecko, gstreamer, kurento, polling,
    upgrade,
};
use crate::hub::Payload;

/// Monitors ask these, and must hear what is wrong when everything else is refused.
const UNPACED: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Everything that the port serves.
pub(super) fn router(app: &Arc<App>) -> Router {
    let old_polling = Router::new()
        .route(
            "/connect",
            post(polling::connect).options(polling::preflight),
        )
        .route(
            "/forward",
            post(polling::forward).options(polling::preflight),
        )
        .route(
            "/poll_messages",
            post(polling::poll).options(polling::preflight),
        )
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::map_response(polling::allow_all_origins));
    Router::new()
        // For the literal colon in ":forward".
        .without_v07_checks()
        .route("/register_device", get(cuttlefish::register_device))
        .route("/connect_client", get(cuttlefish::connect_client))
        .route("/infra_config", get(cuttlefish::infra_config))
        .route("/devices/{id}/connect", get(cuttlefish::connect_to_device))
        .route("/devices/{id}/files/{*path}", get(files::get))
        .route("/polled_connections", post(polling::new_connect))
        .route(
            "/polled_connections/{connection}/:forward",
            post(polling::new_forward),
        )
        .route(
            "/polled_connections/{connection}/messages",
            get(polling::new_messages),
        )
        .route("/worker", get(gecko::worker))
        .route("/worker/", get(gecko::worker))
        .route("/v1/", get(documents::root))
        .route("/v1/fxa-oauth/params", get(documents::login))
        .route("/v0/fxa-oauth/params", get(documents::login))
        .route("/__heartbeat__", get(documents::heartbeat))
        .route("/console", get(console::redirect))
        .route("/console/", get(console::index))
        .route("/console/{*path}", get(console::file))
        .merge(admin::router())
        .merge(old_polling)
        .merge(forwarding_rooms())
        .fallback_service(any(fallback).with_state(Arc::clone(app)))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(app), auth::guard))
        .layer(middleware::from_fn_with_state(Arc::clone(app), pace))
        .layer(middleware::from_fn_with_state(Arc::clone(app), observe))
        .with_state(Arc::clone(app))
}

/// Kurento's rooms.
fn forwarding_rooms() -> Router<Arc<App>> {
    Router::new()
        .route("/room", get(kurento::room))
        .route("/room/", get(kurento::room))
        .route("/getAllRooms", any(kurento::all_rooms))
        .route(
            "/getUpdateSpeakerInterval",
            any(kurento::update_speaker_interval),
        )
        .route("/getThresholdSpeaker", any(kurento::threshold_speaker))
        .route("/getClientConfig", any(kurento::client_config))
        .route("/close", get(kurento::close).post(kurento::close))
}

/// An answer with `{"error": …}`.
pub(super) fn error(status: StatusCode, text: &str) -> Response {
    json_text(status, json!({ "error": text }).to_string())
}

/// The same, to who may come again after a while.
pub(super) fn come_again(status: StatusCode, text: &str, after: Duration) -> Response {
    let mut response = error(status, text);
    // Whole seconds, and not too soon.
    let seconds = HeaderValue::from(after.as_secs() + u64::from(after.subsec_nanos() > 0));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

/// An answer with JSON that is printed already.
pub(super) fn json_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], text.into()).into_response()
}

/// Bytes that nobody can guess; if the system has none, [`no_randomness`] is the answer.
pub(super) fn random() -> Option<[u8; 16]> {
    let mut random = [0; 16];
    let filled = getrandom::fill(&mut random);
    let filled = filled.inspect_err(|failure| tracing::error!(%failure, "no randomness"));
    filled.is_ok().then_some(random)
}

pub(super) fn no_randomness() -> Response {
    let text = "the system has no randomness";
    error(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// A request's body, within [`Limits::message_bytes`](crate::config::Limits::message_bytes) and
/// [`Limits::handshake`](crate::config::Limits::handshake).
pub(super) async fn text_body(app: &App, request: Request) -> Result<Payload, Response> {
    text_within(app, request, app.config.limits.message_bytes).await
}

/// A request's body, within a limit of its own and
/// [`Limits::handshake`](crate::config::Limits::handshake).
pub(super) async fn text_within(
    app: &App,
    request: Request,
    most: usize,
) -> Result<Payload, Response> {
    let body = Limited::new(request.into_body(), most);
    let bytes = match tokio::time::timeout(app.config.limits.handshake, body.collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(failure)) if failure.is::<http_body_util::LengthLimitError>() => {
            app.metrics.refused("body_too_large");
            let text = format!("the body has more than {most} bytes");
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &text));
        }
        Ok(Err(_)) => return Err(error(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => return Err(error(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    Payload::from_utf8(bytes).map_err(|_| error(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}

/// GStreamer's peers, static files, the console, and 404 for everything else.
async fn fallback(State(app): State<Arc<App>>, request: Request) -> Response {
    if gstreamer::is_wanted(&app, &request) {
        return gstreamer::connect(app, request);
    }
    let path = request.uri().path().to_owned();
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_page || upgrade::is_wanted(&request) {
        return gstreamer::not_found(&app, &path);
    }
    if let Some(directory) = &app.config.assets {
        let Ok(response) = ServeDir::new(directory).oneshot(request).await;
        if response.status() != StatusCode::NOT_FOUND {
            return response.map(Body::new);
        }
        match path.as_str() {
            "/" => return console::redirect().await.into_response(),
            console::CONNECTOR_PATH => {}
            _ => return gstreamer::not_found(&app, &path),
        }
    }
    match console::find(&path) {
        Some(response) => response,
        None => gstreamer::not_found(&app, &path),
    }
}

pub(super) fn not_found(path: &str) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("there is nothing at {path}"),
    )
}

async fn wrong_method(request: Request) -> Response {
    let text = format!("{} is not for {}", request.uri().path(), request.method());
    error(StatusCode::METHOD_NOT_ALLOWED, &text)
}

/// Lets a request through if its address doesn't send too fast: it counts as one message of its body's
/// bytes, and one whose length isn't said as the longest.
async fn pace(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|it| UNPACED.contains(&it.as_str())) {
        return next.run(request).await;
    }
    let Some(origin) = request.extensions().get::<Origin>() else {
        return next.run(request).await;
    };
    let most = app.config.limits.message_bytes;
    let length = request.body().size_hint().exact();
    let bytes = length.map_or(most, |it| {
        usize::try_from(it).map_or(most, |it| it.min(most))
    });
    let now = Instant::now();
    let noted = match &origin.slot.place {
        Some(place) => place.request(bytes, now),
        None => {
            let client = app.addresses.client(origin.peer, request.headers());
            app.addresses.request(client, bytes, now)
        }
    };
    match noted {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            app.metrics.refused("address_too_fast");
            let text = "this address sends more than it may; wait as long as Retry-After says";
            come_again(StatusCode::TOO_MANY_REQUESTS, text, wait)
        }
    }
}

/// Counts the request, and keeps browsers from guessing content types, and proxies from seeing two
/// requests where this server sees one.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    app.metrics.http_request(route, response.status().as_u16());
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_chunked {
        // If there was a length too, it isn't seen any more: RFC 9112, section 6.1.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}
