//! For the targets of `fuzz/`: what the edge reads of strangers.

mod edge;

pub use edge::Edge;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::addresses::Addresses;
use super::{auth, files, tls, tokens};
use crate::config::{Config, Proxies, Secret};

/// Where a request comes from, by what proxies say in these lines of a header.
///
/// # Panics
/// If someone is believed who isn't trusted.
pub fn forwarded(peer: SocketAddr, trusted: &[&str], lines: &[&str]) {
    const HEADER: &str = "x-forwarded-for";
    let Ok(proxies) = Proxies::parse(HEADER, trusted) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines.iter().filter_map(|it| HeaderValue::from_str(it).ok()) {
        headers.append(HeaderName::from_static(HEADER), line);
    }
    let config = Config {
        proxies: Some(proxies.clone()),
        ..Config::default()
    };
    let addresses = Arc::new(Addresses::new(&config));
    let client = addresses.client(peer, &headers);
    let direct = peer.ip().to_canonical();
    assert_eq!(addresses.is_proxy(peer), proxies.trusts(direct));
    assert!(
        client == direct || proxies.trusts(direct),
        "{peer} isn't trusted, and was believed that it speaks for {client}"
    );
    assert!(addresses.enter(client).is_some());
}

/// The token of a request with this target and these headers.
#[must_use]
pub fn token(target: &str, authorization: &str, protocols: &str) -> Option<Secret> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = target.parse().ok()?;
    for (name, value) in [
        (AUTHORIZATION, authorization),
        (SEC_WEBSOCKET_PROTOCOL, protocols),
    ] {
        if !value.is_empty() {
            let value = HeaderValue::from_str(value).ok()?;
            request.headers_mut().append(name, value);
        }
    }
    auth::token(&request)
}

/// The path that a device is asked for.
///
/// # Panics
/// If it holds a token, or asking for it asks for another.
pub fn device_path(target: &str) {
    let Ok(uri) = target.parse::<Uri>() else {
        return;
    };
    let Ok(asked) = files::device_path(&uri) else {
        return;
    };
    assert!(asked.authority().is_none() && asked.path().starts_with('/'));
    let again = format!("/devices/d/files{asked}").parse::<Uri>();
    let again = again.ok().and_then(|uri| files::device_path(&uri).ok());
    assert_eq!(again.as_ref(), Some(&asked), "asked again, it is another");
    assert_eq!(
        token(&asked.to_string(), "", "").map(|it| it.expose().to_owned()),
        None
    );
}

/// An answer of an authority, of each kind.
pub fn authority(answer: &[u8]) {
    tokens::fuzzing::answers(answer);
}

/// A file of tokens.
pub fn token_file(text: &str) {
    tokens::fuzzing::file(text);
}

/// A token that a stranger sent.
///
/// # Panics
/// If it is believed.
pub fn forged(token: &str) {
    assert!(
        !tokens::fuzzing::is_good(token),
        "a forged token is believed"
    );
    let _ = tokens::show(&Secret::new(token));
}

/// A token with these claims, rightly signed.
pub fn signed(claims: &str) {
    let token = tokens::fuzzing::sign(claims);
    let _ = tokens::fuzzing::is_good(&token);
    let _ = tokens::show(&Secret::new(token));
}

/// The certificate of a device.
pub fn certificate(der: &[u8]) {
    let _ = tls::identity(Some(&[der.into()]));
}
