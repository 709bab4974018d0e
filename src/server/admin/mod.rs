//! For operators: health, metrics, who is here, what they do, and deeds that end it.
//!
//! All of it is described in `openapi.json`, which is served too. A deed is answered by what came of
//! it, logged with who did it, and counted.

mod calls;
mod connections;
mod deeds;
mod endpoints;
mod overview;
mod pages;
mod rooms;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

pub(super) use deeds::{Deed, Reason};
pub(super) use overview::Begun;
pub(super) use rooms::close_room;

use super::drain::Phase;
use super::{App, auth, cuttlefish, http, ice, metrics, scripts};
use crate::dialect::Dialect;
use crate::hub::Namespace;

/// What describes all of these routes, as OpenAPI 3.1.
const DESCRIPTION: &str = include_str!("openapi.json");

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path,)+) => {
        /// Every route that the description has: method and path.
        #[cfg(test)]
        const ROUTES: &[(&str, &str)] = &[ $( (stringify!($method), $path), )+ ];

        /// The routes for operators, and those that others use beside a dialect's own.
        pub(super) fn router() -> Router<Arc<App>> {
            Router::new() $( .route($path, routing::$method($handler)) )+
        }
    };
}

routes! {
    get "/health" => health,
    get "/ready" => ready,
    get "/metrics" => metrics,
    get "/ice-servers" => ice::servers,
    options "/ice-servers" => ice::preflight,
    get "/devices" => cuttlefish::devices,
    get "/devices/{id}" => cuttlefish::device,
    get "/api/openapi.json" => description,
    get "/api/server" => overview::server,
    get "/api/connections" => connections::all,
    delete "/api/connections/{id}" => connections::close,
    get "/api/endpoints" => endpoints::all,
    get "/api/endpoints/stream" => endpoints::stream,
    get "/api/endpoints/{dialect}/{id}" => endpoints::one,
    delete "/api/endpoints/{dialect}/{id}" => endpoints::close,
    get "/api/calls" => calls::all,
    delete "/api/calls/{id}" => calls::end,
    get "/api/rooms" => rooms::all,
    get "/api/rooms/{room}" => rooms::one,
    delete "/api/rooms/{room}" => rooms::close,
    post "/api/rooms/{room}" => rooms::close,
    delete "/api/rooms/{room}/participants/{user}" => rooms::evict,
    post "/api/rooms/{room}/participants/{user}" => rooms::evict,
    put "/api/rooms/{room}/participants/{user}/mute" => rooms::mute,
    post "/api/revocations" => auth::revoke,
    post "/api/scripts" => scripts::publish,
    get "/api/scripts/{name}" => scripts::get,
}

/// `GET /health`: the process answers, as the reference server of GStreamer's dialect does (gst.md A.1).
async fn health() -> &'static str {
    "OK\n"
}

/// `GET /ready`: the server takes new connections.
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.phase() {
        Phase::Serving => "ready".into_response(),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining").into_response(),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting down").into_response(),
    }
}

/// `GET /metrics`
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(&metrics::Now::of(&app));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// `GET /api/openapi.json`
async fn description() -> Response {
    http::json_text(StatusCode::OK, DESCRIPTION)
}

/// What is answered in JSON.
fn json(answer: &impl serde::Serialize) -> Response {
    // Only text, numbers and checked JSON: printing them can't fail.
    let text = serde_json::to_string(answer).unwrap_or_default();
    http::json_text(StatusCode::OK, text)
}

fn no_such(what: &str) -> Response {
    http::error(StatusCode::NOT_FOUND, &format!("there is no such {what}"))
}

/// Tenths are enough, and don't change a text for nothing.
fn seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Whose ids are in a namespace.
const fn dialect_of(space: Namespace) -> Dialect {
    match space {
        Namespace::Device => Dialect::Cuttlefish,
        Namespace::Peer => Dialect::GStreamer,
        Namespace::Gecko => Dialect::Gecko,
    }
}

/// The namespace of a dialect's ids, by the dialect's name.
fn namespace_of(dialect: &str) -> Option<Namespace> {
    let spaces = [Namespace::Device, Namespace::Peer, Namespace::Gecko];
    spaces
        .into_iter()
        .find(|space| dialect_of(*space).name() == dialect)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys();
                methods.map(move |method| (method.as_str(), path.as_str()))
            })
            .collect();
        assert_eq!(described, ROUTES.iter().copied().collect());
        // No route for operators is added elsewhere.
        assert!(!include_str!("../http.rs").contains("\"/api"));
    }

    #[test]
    fn every_deed_may_be_refused_and_each_operation_has_a_name_of_its_own() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        let mut names = BTreeSet::new();
        for (method, path) in ROUTES {
            let operation = &description["paths"][path][method];
            assert!(names.insert(operation["operationId"].as_str().unwrap()));
            if path.starts_with("/api/") && *method != "get" {
                assert!(operation["responses"]["403"].is_object(), "{method} {path}");
            }
        }
    }
}
