//! The WebSockets of geckos and their clients (gecko.md A1).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hyper::StatusCode;

use super::{App, http, upgrade};
use crate::dialect::front::FrontSession;
use crate::dialect::gecko::server::GeckoSession;
pub(super) use crate::dialect::gecko::server::Settings;
use crate::dialect::gstreamer::server::PeerSession;
use crate::hub::SessionId;

/// `/worker`, with or without a slash and a query.
pub(super) async fn worker(State(app): State<Arc<App>>, request: Request) -> Response {
    let session = GeckoSession::new(Arc::clone(&app.gecko), None);
    upgrade::accept(app, request, Box::new(session))
}

/// `/`, where a GStreamer peer or a gecko's client connects.
pub(super) fn connect_to_front(app: Arc<App>, request: Request, peer: PeerSession) -> Response {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "the system has no randomness");
        return http::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the system has no randomness",
        );
    }
    let worker = SessionId::from_random(random);
    let session = FrontSession::new(peer, Arc::clone(&app.gecko), worker);
    upgrade::accept(app, request, Box::new(session))
}
