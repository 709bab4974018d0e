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
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION,
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, DATE, ETAG, EXPIRES, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION,
    RANGE, USER_AGENT, VARY,
};
use hyper::{StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::auth::Allowed;
use super::switch::EndpointView;
use super::{App, console, cuttlefish, http};
use crate::hub::{EndpointId, Namespace};

/// Why a device's file doesn't come, or not all of it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What of a request a device's server gets. The rest is between the page and this server, above all its
/// credentials.
const TO_DEVICE: [HeaderName; 11] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    USER_AGENT,
];
/// What of a device's answer a page gets: what is about the file. Other headers would hold for this
/// server as a whole, as `Set-Cookie`, `Service-Worker-Allowed`, `Strict-Transport-Security` and `NEL`.
const FROM_DEVICE: [HeaderName; 15] = [
    ACCEPT_RANGES,
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_SECURITY_POLICY,
    CONTENT_TYPE,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    LOCATION,
    VARY,
];
/// What a browser sends for a script that shall answer for the server from then on, also when the device
/// is gone (Service Workers, section "Service-Worker").
const SERVICE_WORKER: &str = "service-worker";
/// Where tokens are asked for, a device's page runs nothing: it would do so in the name of this server,
/// and with the token in the page's address. It couldn't work either: it brings no token.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");

/// `GET /devices/{id}/files/{path}`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((id, path)): Path<(String, String)>,
    Allowed(grants): Allowed,
    request: Request,
) -> Response {
    // The page's way to the server belongs to the server.
    if path == console::CONNECTOR_PATH.trim_start_matches('/') {
        return console::respond(console::CONNECTOR_PATH);
    }
    let is_allowed = |id: EndpointId| grants.allows_call(&id);
    if !EndpointId::new(Namespace::Device, &id).is_some_and(is_allowed) {
        app.metrics.refused("forbidden");
        let text = "the token does not allow this device";
        return http::error(StatusCode::FORBIDDEN, text);
    }
    if request.headers().contains_key(SERVICE_WORKER) {
        let text = "a device's script can't be a service worker of this server";
        return http::error(StatusCode::FORBIDDEN, text);
    }
    let Some(device) = cuttlefish::find(&app, &id) else {
        return cuttlefish::device_not_found();
    };
    let target = match target(&app, &device) {
        Ok(target) => target,
        Err(why) => return http::error(StatusCode::NOT_FOUND, why),
    };
    let deadline = Instant::now() + app.config.limits.device_file;
    match timeout_at(deadline, fetch(target, request, deadline)).await {
        Ok(Ok(mut response)) => {
            if app.settings().auth.is_some() {
                let headers = response.headers_mut();
                headers.append(CONTENT_SECURITY_POLICY, SANDBOX);
            }
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
    *asked.headers_mut() = only(head.headers, &TO_DEVICE);
    asked
        .headers_mut()
        .insert(HOST, HeaderValue::try_from(target.to_string())?);
    let mut response = sender.send_request(asked).await?;
    if response.status().is_informational() {
        return Err("it answers in another protocol than HTTP".into());
    }
    let headers = std::mem::take(response.headers_mut());
    *response.headers_mut() = only(headers, &FROM_DEVICE);
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

/// These headers and no others.
fn only(mut headers: HeaderMap, kept: &[HeaderName]) -> HeaderMap {
    let all: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in all.iter().filter(|name| !kept.contains(name)) {
        headers.remove(name);
    }
    headers
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
            "sec-websocket-protocol",
            "referer",
            "x-any",
            "connection",
            "accept",
        ] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let left = only(headers, &TO_DEVICE);
        assert_eq!(
            left.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["accept"]
        );
    }
}
