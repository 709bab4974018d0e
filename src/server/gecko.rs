//! The WebSockets of geckos and their clients (gecko.md A1).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

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
    let session = GeckoSession::new(app.settings().ice.gecko(), owner);
    upgrade::accept(app, request, Box::new(session))
}

/// `/`, where a GStreamer peer or a gecko's client connects.
pub(super) fn connect_to_front(app: Arc<App>, request: Request, peer: PeerSession) -> Response {
    let Some(worker) = http::random().map(SessionId::from_random) else {
        return http::no_randomness();
    };
    let session = FrontSession::new(peer, app.settings().ice.gecko(), worker);
    upgrade::accept(app, request, Box::new(session))
}
