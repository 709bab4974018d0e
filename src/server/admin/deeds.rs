//! What operators do to others: by whom, why, and what came of it.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::info;

use super::super::auth::Pass;
use super::super::{App, http};
use super::pages::Asked;

/// Bytes in the reason of a close frame (RFC 6455 section 5.5).
const REASON_BYTES: usize = 123;
/// Bytes in a request that gives one, or says what to mute.
const BODY_BYTES: usize = 1024;

/// Who asks for a deed. Pages of other servers don't: their users may reach this one, but don't know
/// what such a page does.
#[derive(Debug)]
pub(in crate::server) struct Deed {
    /// The token's user; nobody where no tokens are asked for.
    by: Option<Arc<Pass>>,
}

/// Why somebody is put out, as that one is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Reason(Arc<str>);

#[derive(Debug, Deserialize)]
struct Given {
    reason: Option<String>,
}

impl Deed {
    /// Notes that it is done, and answers so.
    pub(in crate::server) fn done(
        &self,
        app: &App,
        deed: &'static str,
        whom: &str,
        closed: usize,
    ) -> Response {
        self.note(app, deed, whom);
        super::json(&json!({ "closed": closed }))
    }

    /// Notes that it is done.
    pub(super) fn note(&self, app: &App, deed: &'static str, whom: &str) {
        let by = self.by.as_deref().map_or("", Pass::user);
        info!(deed, whom, by, "an operator's deed");
        app.metrics.deed(deed);
    }
}

impl Reason {
    /// The reason in a request's query or JSON body, or else the usual one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) async fn of(app: &App, request: Request) -> Result<Self, Response> {
        let query = Asked::<Given>::of(request.uri());
        let Asked(query) = query.map_err(IntoResponse::into_response)?;
        let given = match query.reason {
            Some(reason) => Some(reason),
            None => body::<Given>(app, request).await?.and_then(|it| it.reason),
        };
        let Some(reason) = given else {
            return Ok(Self("closed by the operator".into()));
        };
        if reason.is_empty() || reason.len() > REASON_BYTES || reason.contains(char::is_control) {
            let text = format!("a reason is one line of 1 to {REASON_BYTES} bytes");
            return Err(http::error(StatusCode::BAD_REQUEST, &text));
        }
        Ok(Self(reason.into()))
    }

    /// As text.
    pub(in crate::server) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request's JSON body; `None` without one.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn body<T: DeserializeOwned>(
    app: &App,
    request: Request,
) -> Result<Option<T>, Response> {
    let body = http::text_within(app, request, BODY_BYTES).await?;
    if body.as_str().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(body.as_str())
        .map(Some)
        .map_err(|wrong| http::error(StatusCode::BAD_REQUEST, &format!("the body: {wrong}")))
}

impl FromRequestParts<Arc<App>> for Deed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Response> {
        if is_foreign(&parts.headers) {
            let text =
                "a page of another server asks for this; use a page of this server, or no browser";
            return Err(http::error(StatusCode::FORBIDDEN, text));
        }
        let by = parts.extensions.get::<Arc<Pass>>().cloned();
        Ok(Self { by })
    }
}

/// Whether a browser asks for a page of another server.
fn is_foreign(headers: &HeaderMap) -> bool {
    // "none": somebody typed it. Servers on other ports of a machine are of the same site.
    let is_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_other = headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok().and_then(|it| it.parse::<Uri>().ok());
        let authority = origin.as_ref().and_then(Uri::authority);
        authority.map(|it| it.as_str()) != host
    });
    is_elsewhere || is_other
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
