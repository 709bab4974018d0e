//! The WebSockets of geckos and their clients (gecko.md A1).

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::{App, accounts, http, upgrade};
use crate::config::Secret;
use crate::dialect::Unverified;
use crate::dialect::front::FrontSession;
use crate::dialect::gecko::server::GeckoSession;
pub(super) use crate::dialect::gecko::server::Settings;
use crate::dialect::gstreamer::server::PeerSession;
use crate::hub::{AccountId, SessionId};

/// `/worker`, with or without a slash and a query. Where tokens are checked, a gecko has one too:
/// as `Authorization: Bearer …`, or as `?token=…`.
pub(super) async fn worker(State(app): State<Arc<App>>, request: Request) -> Response {
    let owner = if app.accounts.is_some() && upgrade::is_wanted(&request) {
        match owner(&app, token(&request)).await {
            Ok(owner) => Some(owner),
            Err(refused) => return refused,
        }
    } else {
        None
    };
    let session = GeckoSession::new(Arc::clone(&app.gecko), owner);
    upgrade::accept(app, request, Box::new(session))
}

/// `/`, where a GStreamer peer or a gecko's client connects.
pub(super) fn connect_to_front(app: Arc<App>, request: Request, peer: PeerSession) -> Response {
    let worker = match http::random() {
        Ok(random) => SessionId::from_random(random),
        Err(refused) => return refused,
    };
    let session = FrontSession::new(peer, Arc::clone(&app.gecko), worker);
    upgrade::accept(app, request, Box::new(session))
}

/// Whose a gecko is, or the answer that refuses it.
async fn owner(app: &Arc<App>, token: Option<Secret>) -> Result<AccountId, Response> {
    let Some(token) = token else {
        app.metrics.refused("no_authorization");
        let text = "a gecko needs a token here; send Authorization: Bearer TOKEN, or connect to /worker?token=TOKEN";
        return Err(unauthorized(text));
    };
    accounts::verify(Arc::clone(app), token)
        .await
        .map_err(|error| match error {
            Unverified::Refused(why) => {
                app.metrics.refused("token_refused");
                unauthorized(&why)
            }
            Unverified::Unavailable(why) => {
                app.metrics.refused("authority_unavailable");
                http::error(StatusCode::SERVICE_UNAVAILABLE, &why)
            }
        })
}

/// RFC 6750 sections 2.1 and 2.3; the header goes first.
fn token(request: &Request) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Asked {
        token: Option<Secret>,
    }
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        return is_bearer.then(|| Secret::new(token.trim()));
    }
    Query::<Asked>::try_from_uri(request.uri()).ok()?.0.token
}

/// RFC 6750 section 3.
fn unauthorized(text: &str) -> Response {
    let mut response = http::error(StatusCode::UNAUTHORIZED, text);
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
