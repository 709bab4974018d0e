//! What the gecko reference's service says of itself over HTTP (gecko.md A8). Pages of any origin
//! may read it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use serde_json::{Value, json};

use super::drain::Phase;
use super::{App, http};

/// `GET /v1/`
pub(super) async fn root() -> Response {
    let root = json!({
        "hello": "switchboard",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "/v1/",
        "documentation": "/console/",
        // No end of service is announced.
        "eos": null,
    });
    document(StatusCode::OK, &root)
}

/// `GET /v1/fxa-oauth/params`, and `/v0/…` as the documents' own example has it: where a page gets
/// a token, and which.
pub(super) async fn login(State(app): State<Arc<App>>) -> Response {
    let Some(accounts) = &app.config.accounts else {
        let error = json!({ "error": "this server asks for no tokens" });
        return document(StatusCode::NOT_FOUND, &error);
    };
    let params = json!({
        "client_id": accounts.client_id,
        "oauth_uri": accounts.oauth_uri,
        // Any of the scopes is enough: the first is the one to ask for.
        "scope": accounts.scopes.first().map_or("", |scope| scope.as_str()),
    });
    document(StatusCode::OK, &params)
}

/// `GET /__heartbeat__`: 200 if everything works that gecko's clients need of this server, as far as is
/// known. Whether a gecko is here is told, but is no fault of the server.
pub(super) async fn heartbeat(State(app): State<Arc<App>>) -> Response {
    let is_running = app.phase() == Phase::Serving;
    let has_accounts = app
        .settings()
        .accounts
        .as_ref()
        .is_none_or(|it| it.is_reachable());
    let has_geckos = app.switch.counts().serving > 0;
    let status = if is_running && has_accounts {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    document(
        status,
        &json!({ "pubsub": is_running, "accounts": has_accounts, "gecko-cluster": has_geckos }),
    )
}

fn document(status: StatusCode, value: &Value) -> Response {
    let answer = http::json_text(status, value.to_string());
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], answer).into_response()
}
