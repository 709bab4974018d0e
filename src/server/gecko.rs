//! The WebSockets of geckos and their clients (gecko.md A1).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hyper::StatusCode;
use tracing::error;

use super::{App, accounts, http, upgrade};
use crate::dialect::front::FrontSession;
use crate::dialect::gecko::server::GeckoSession;
use crate::dialect::gstreamer::server::PeerSession;
use crate::hub::SessionId;

/// `/worker`, with or without a slash and a query. Where tokens are checked, a gecko has one too:
/// as `Authorization: Bearer …`, or as `?token=…`.
pub(super) async fn worker(State(app): State<Arc<App>>, request: Request) -> Response {
    let owner = if upgrade::is_wanted(&request) {
        match accounts::of_request(&app, &request, "a gecko needs a token here").await {
            Ok(owner) => owner,
            Err(refused) => return refused,
        }
    } else {
        None
    };
    let session = GeckoSession::new(app.ice.gecko(), owner);
    upgrade::accept(app, request, Box::new(session))
}

/// `/`, where a GStreamer peer or a gecko's client connects.
pub(super) fn connect_to_front(app: Arc<App>, request: Request, peer: PeerSession) -> Response {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        error!(%error, "the system has no randomness");
        let text = "the system has no randomness";
        return http::error(StatusCode::INTERNAL_SERVER_ERROR, text);
    }
    let worker = SessionId::from_random(random);
    let session = FrontSession::new(peer, app.ice.gecko(), worker);
    upgrade::accept(app, request, Box::new(session))
}
