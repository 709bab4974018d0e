//! ICE servers: from the browser's form to webrtcbin's.

use gst::prelude::*;
use gstreamer as gst;

use crate::config::IceServer;
use crate::media::MediaError;

/// Milliseconds from one connectivity check to the next.
const PACING: u32 = 5;

/// An ICE server as webrtcbin takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Server {
    /// `stun://HOST:PORT`.
    Stun(String),
    /// `turn://USER:PASSWORD@HOST:PORT?transport=…` or `turns://…`.
    Turn(String),
}

/// Tells webrtcbin its ICE servers, before it gathers.
///
/// webrtcbin takes one STUN server: the first. It takes any number of TURN servers.
pub(super) fn configure(webrtc: &gst::Element, servers: &[IceServer]) -> Result<(), MediaError> {
    let mut has_stun = false;
    for server in servers {
        for url in &server.urls {
            match convert(
                url,
                server.username.as_deref(),
                server.credential.as_deref(),
            )? {
                Server::Stun(url) if !has_stun => {
                    webrtc.set_property("stun-server", &url);
                    has_stun = true;
                }
                Server::Stun(_) => {}
                Server::Turn(turn) => {
                    if !webrtc.emit_by_name::<bool>("add-turn-server", &[&turn]) {
                        return Err(MediaError::IceServer(url.clone()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Turns UPnP off, which Debian's libnice has on: 11 more file descriptors for each session, and
/// 250 ms of gathering instead of 4 (gstreamer-notes.md, section 2).
pub(super) fn quieten(webrtc: &gst::Element) {
    let Some(ice) = webrtc.property::<Option<gst::glib::Object>>("ice-agent") else {
        return;
    };
    if ice.find_property("agent").is_none() {
        return;
    }
    if let Some(agent) = ice.property::<Option<gst::glib::Object>>("agent") {
        if agent.find_property("upnp").is_some() {
            agent.set_property("upnp", false);
        }
        // Candidates over TCP double what is gathered, and TURN over TCP is what helps behind firewalls.
        if agent.find_property("ice-tcp").is_some() {
            agent.set_property("ice-tcp", false);
        }
        // A check every 5 ms, the least that RFC 8445 section 14.2 allows, instead of every 20.
        if agent.find_property("stun-pacing-timer").is_some() {
            agent.set_property("stun-pacing-timer", PACING);
        }
        // Notices a viewer that is gone without a goodbye.
        if agent.find_property("keepalive-conncheck").is_some() {
            agent.set_property("keepalive-conncheck", true);
        }
    }
}

fn convert(
    url: &str,
    username: Option<&str>,
    credential: Option<&str>,
) -> Result<Server, MediaError> {
    let bad = || MediaError::IceServer(url.to_owned());
    let (scheme, rest) = url.split_once(':').ok_or_else(bad)?;
    let scheme = scheme.to_ascii_lowercase();
    // RFC 7064 and 7065 have no slashes, but many write them.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (host, query) = match rest.split_once('?') {
        Some((host, query)) => (host, Some(query)),
        None => (rest, None),
    };
    let has_port = match host.strip_prefix('[') {
        Some(bracketed) => bracketed
            .split_once(']')
            .ok_or_else(bad)?
            .1
            .starts_with(':'),
        None => host.contains(':'),
    };
    if host.is_empty() || host.contains(['@', '/', ' ']) {
        return Err(bad());
    }
    let default_port = if scheme.ends_with('s') && scheme != "stun" {
        5349
    } else {
        3478
    };
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{default_port}")
    };
    match scheme.as_str() {
        "stun" => Ok(Server::Stun(format!("stun://{host}"))),
        "turn" | "turns" => {
            let (user, password) = (
                escape(username.unwrap_or("")),
                escape(credential.unwrap_or("")),
            );
            let query = match query {
                Some("transport=udp" | "transport=tcp") => {
                    format!("?{}", query.unwrap_or_default())
                }
                None => String::new(),
                Some(_) => return Err(bad()),
            };
            Ok(Server::Turn(format!(
                "{scheme}://{user}:{password}@{host}{query}"
            )))
        }
        _ => Err(bad()),
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986: user names of short-lived
/// credentials contain `:`, their passwords `+`, `/` and `=`.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(url: &str) -> Server {
        convert(url, Some("1700000000:me"), Some("a+b/c=")).unwrap()
    }

    #[test]
    fn stun_gets_a_port_and_slashes() {
        let stun = |url| convert(url, None, None).unwrap();
        assert_eq!(
            stun("stun:example.org"),
            Server::Stun("stun://example.org:3478".into())
        );
        assert_eq!(
            stun("STUN:example.org:19302"),
            Server::Stun("stun://example.org:19302".into())
        );
        assert_eq!(
            stun("stun:[2001:db8::1]"),
            Server::Stun("stun://[2001:db8::1]:3478".into())
        );
    }

    #[test]
    fn turn_credentials_are_escaped() {
        assert_eq!(
            turn("turn:example.org:3478?transport=udp"),
            Server::Turn(
                "turn://1700000000%3Ame:a%2Bb%2Fc%3D@example.org:3478?transport=udp".into()
            )
        );
        assert_eq!(
            turn("turns:[::1]:443?transport=tcp"),
            Server::Turn("turns://1700000000%3Ame:a%2Bb%2Fc%3D@[::1]:443?transport=tcp".into())
        );
        assert_eq!(
            turn("turns:h"),
            Server::Turn("turns://1700000000%3Ame:a%2Bb%2Fc%3D@h:5349".into())
        );
    }

    #[test]
    fn what_is_no_ice_server_is_refused() {
        for url in [
            "",
            "stun",
            "stun:",
            "http://example.org",
            "turn:h?transport=quic",
            "turn:u@h",
            "stun:[::1",
        ] {
            assert!(convert(url, None, None).is_err(), "{url}");
        }
    }
}
