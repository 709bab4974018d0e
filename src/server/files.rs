//! A device's own files, fetched from the HTTP server on its machine (cuttlefish.md A6).
//!
//! The device names only a port. The host is the address that its registration came from, so that
//! it can't make this server reach anything but the device's own machine; and where that address
//! isn't its own (behind a proxy), or a web page registered, nothing is fetched at all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::auth::Pass;
use super::switch::EndpointView;
use super::{App, console, cuttlefish, http};

/// Headers that are for one hop only (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// Why a device's file doesn't come, or not all of it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Not named by the `http` crate.
const KEEP_ALIVE: &str = "keep-alive";

/// `GET /devices/{id}/files/{path}`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    // The page's way to the server belongs to the server.
    if path == console::CONNECTOR_PATH.trim_start_matches('/') {
        return console::respond(console::CONNECTOR_PATH);
    }
    let Some(device) = cuttlefish::find(&app, &id) else {
        return cuttlefish::device_not_found();
    };
    let pass = request.extensions().get::<Arc<Pass>>();
    if pass.is_some_and(|pass| !pass.grants.allows_call(&device.id)) {
        app.metrics.refused("forbidden");
        let text = "the token does not allow this device";
        return http::error(StatusCode::FORBIDDEN, text);
    }
    let target = match target(&app, &device) {
        Ok(target) => target,
        Err(why) => return http::error(StatusCode::NOT_FOUND, why),
    };
    let deadline = Instant::now() + app.config.limits.device_file;
    match timeout_at(deadline, fetch(target, request, deadline)).await {
        Ok(Ok(response)) => {
            let most = app.config.limits.device_file_bytes;
            let cut_off = app.metrics.reached.device_file_bytes.clone();
            let counted = move |error: Failure| {
                if error.is::<LengthLimitError>() {
                    cut_off.inc();
                }
                error
            };
            response.map(|body| Body::new(Limited::new(body, most).map_err(counted)))
        }
        Ok(Err(error)) => {
            debug!(%target, %error, "cannot fetch a device's file");
            http::error(StatusCode::BAD_GATEWAY, "the device's HTTP server failed")
        }
        Err(_) => http::error(
            StatusCode::BAD_GATEWAY,
            "the device's HTTP server took too long",
        ),
    }
}

fn target(app: &App, device: &EndpointView) -> Result<SocketAddr, &'static str> {
    if !app.config.cuttlefish.device_files {
        return Err("this server fetches no files from devices; its setting device_files is off");
    }
    if device.member.indirect {
        return Err(
            "the device registered through a proxy or from a web page, so that its own address isn't known",
        );
    }
    match device.member.files_port {
        Some(port) => Ok(SocketAddr::new(device.member.peer, port)),
        None => Err("the device serves no files: it registered without a device_port"),
    }
}

async fn fetch(
    target: SocketAddr,
    request: Request,
    deadline: Instant,
) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect(target).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response, or with the deadline.
    tokio::spawn(timeout_at(deadline, connection));

    let (head, _) = request.into_parts();
    let mut asked = hyper::Request::new(Empty::<Bytes>::new());
    *asked.method_mut() = head.method;
    *asked.uri_mut() = device_path(&head.uri)?;
    *asked.headers_mut() = to_device(head.headers);
    asked
        .headers_mut()
        .insert(HOST, HeaderValue::try_from(target.to_string())?);
    let mut response = sender.send_request(asked).await?;
    drop_hop_by_hop(response.headers_mut());
    // A device must not set cookies for the whole server.
    response.headers_mut().remove(SET_COOKIE);
    Ok(response)
}

/// What follows `/devices/{id}/files`, as it was sent, without the token for this server.
pub(super) fn device_path(uri: &Uri) -> Result<Uri, hyper::http::uri::InvalidUri> {
    let path = uri.path().splitn(5, '/').nth(4).unwrap_or_default();
    let query = uri.query().unwrap_or_default().split('&');
    let kept: Vec<&str> = query
        .filter(|pair| !pair.is_empty() && !is_token(pair))
        .collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    format!("/{path}{mark}{}", kept.join("&")).parse()
}

/// Whether a pair of a query is named `token`, however that is written.
fn is_token(pair: &str) -> bool {
    let pairs = Uri::try_from(format!("/?{pair}"));
    let named = pairs.ok().and_then(|uri| {
        let query = Query::<HashMap<String, String>>::try_from_uri(&uri).ok()?;
        Some(query.0.contains_key("token"))
    });
    named.unwrap_or(true)
}

/// Credentials are for this server, not for the device.
fn to_device(mut headers: HeaderMap) -> HeaderMap {
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            matches!(
                name,
                "cookie" | "authorization" | "content-length" | "referer"
            ) || name.starts_with("x-")
        })
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    drop_hop_by_hop(&mut headers);
    headers
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(KEEP_ALIVE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_passed_on_as_it_was_sent() {
        let path = |uri: &'static str| device_path(&Uri::from_static(uri)).unwrap().to_string();
        assert_eq!(path("/devices/a%2Fb/files/js/x.js?v=1"), "/js/x.js?v=1");
        assert_eq!(path("/devices/a/files/%2e%2e//x"), "/%2e%2e//x");
        assert_eq!(path("/devices/a/files/x?token=t"), "/x");
        assert_eq!(path("/devices/a/files/x?a=1&%74oken=t&b"), "/x?a=1&b");
    }

    #[test]
    fn credentials_stay_here() {
        let mut headers = HeaderMap::new();
        for name in [
            "cookie",
            "authorization",
            "referer",
            "x-any",
            "connection",
            "accept",
        ] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let left = to_device(headers);
        assert_eq!(
            left.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["accept"]
        );
    }
}
