//! GStreamer's WebSocket, which has no path of its own (gst.md A.1).

use axum::extract::Request;
use axum::response::Response;
use hyper::header::{HeaderValue, UPGRADE};
use hyper::{Method, StatusCode};
use std::sync::Arc;

use super::{App, gecko, http, upgrade};
use crate::dialect::gstreamer::server::PeerSession;

/// Whether the request is for a peer's WebSocket. Whoever asks for `/` without wanting one wants the
/// console.
pub(super) fn is_wanted(app: &App, request: &Request) -> bool {
    request.method() == Method::GET
        && upgrade::is_wanted(request)
        && is_path(app, request.uri().path())
}

/// Lets a peer talk; or, at `/`, whoever turns out to be there.
pub(super) fn connect(app: Arc<App>, request: Request) -> Response {
    let peer = PeerSession::new(app.config.limits.id_bytes);
    if request.uri().path() == "/" {
        return gecko::connect_to_front(app, request, peer);
    }
    upgrade::accept(app, request, Box::new(peer))
}

/// What is at a path where nothing is but for those that upgrade.
pub(super) fn not_found(app: &App, path: &str) -> Response {
    if path == "/" || !is_path(app, path) {
        return http::not_found(path);
    }
    let text = format!("{path} is a WebSocket; connect with ws:// or wss://");
    let mut response = http::error(StatusCode::UPGRADE_REQUIRED, &text);
    let protocol = HeaderValue::from_static("websocket");
    response.headers_mut().insert(UPGRADE, protocol);
    response
}

/// With or without a slash at its end.
fn is_path(app: &App, path: &str) -> bool {
    let bare = path.strip_suffix('/').unwrap_or(path);
    app.config.gstreamer.paths.iter().any(|known| {
        let known = known.strip_suffix('/').unwrap_or(known);
        known == bare
    })
}
