//! ICE servers: from the browser's form to webrtcbin's.

use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_webrtc::WebRTCICEGatheringState;
use tokio::sync::watch;
use tokio::time::timeout;

use super::SessionConfig;
use super::witness::Witness;
use crate::config::{IceKind, IceServer, IceUrl, Transport};

/// How long TURN servers may take to give an address: longer than libnice asks by UDP. By TCP it may
/// never end to wait for a server that hangs up.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Milliseconds from one connectivity check to the next.
const PACING: u32 = 5;

/// The search for an address at TURN servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Idle,
    Begun,
    /// One was found.
    Found,
    /// Every server was asked, and none gave one.
    Over,
}

/// An ICE server as webrtcbin takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// `stun://HOST:PORT`.
    Stun(String),
    /// `turn://USER:PASSWORD@HOST:PORT?transport=…`.
    Turn(String),
}

/// Tells webrtcbin its ICE servers, before it gathers. What it can't use is left out, and said.
///
/// webrtcbin takes one STUN server: the first. It takes any number of TURN servers. Those over TLS
/// are tunnelled before ([`super::tunnel`]).
pub(super) fn configure(webrtc: &gst::Element, servers: &[IceServer]) {
    let mut has_stun = false;
    for server in servers {
        for url in &server.urls {
            let added = match convert(url, server) {
                Ok(Server::Stun(_)) if has_stun => true,
                Ok(Server::Stun(url)) => {
                    webrtc.set_property("stun-server", &url);
                    has_stun = true;
                    true
                }
                Ok(Server::Turn(turn)) => webrtc.emit_by_name::<bool>("add-turn-server", &[&turn]),
                Err(why) => {
                    tracing::warn!(%why, "an ICE server is left out");
                    true
                }
            };
            if !added {
                tracing::warn!(url, "GStreamer doesn't take this ICE server");
            }
        }
    }
}

/// Notes how the search for relays goes; `None` if there is nothing to note.
pub(super) fn watch(
    webrtc: &gst::Element,
    config: &SessionConfig,
) -> Option<watch::Receiver<Search>> {
    if !config.relay_only && !config.ice_servers.iter().any(IceServer::has_turn) {
        return None;
    }
    let (search, searched) = watch::channel(Search::Idle);
    let found = search.clone();
    webrtc.connect("on-ice-candidate", false, move |values| {
        let candidate = values.get(2).and_then(|value| value.get::<&str>().ok());
        if candidate.is_some_and(|it| it.contains(" typ relay")) {
            found.send_replace(Search::Found);
        }
        None
    });
    webrtc.connect_notify(Some("ice-gathering-state"), move |webrtc, _| {
        let state = webrtc.property::<WebRTCICEGatheringState>("ice-gathering-state");
        let now = match state {
            WebRTCICEGatheringState::Gathering => Search::Begun,
            WebRTCICEGatheringState::Complete => Search::Over,
            _ => return,
        };
        search.send_if_modified(|search| {
            let is_news = *search != Search::Found;
            if is_news {
                *search = now;
            }
            is_news
        });
    });
    Some(searched)
}

/// Says so if no TURN server gives an address, which webrtcbin doesn't. The session is over then, if
/// it may use nothing else.
pub(super) async fn judge(mut search: watch::Receiver<Search>, witness: Arc<Witness>) {
    // It ends with the session.
    if search
        .wait_for(|search| *search != Search::Idle)
        .await
        .is_err()
    {
        return;
    }
    let ended = search.wait_for(|search| matches!(search, Search::Over | Search::Found));
    match timeout(RELAY_TIMEOUT, ended).await {
        Ok(Ok(search)) if *search == Search::Found => {}
        Ok(Err(_)) => {}
        Ok(Ok(_)) | Err(_) => witness.no_relay(),
    }
}

/// Turns UPnP off, which Debian's libnice has on: 11 more file descriptors for each session, and
/// 250 ms of gathering instead of 4 (gstreamer-notes.md, section 2); and TCP, unless that may be used.
pub(super) fn quieten(webrtc: &gst::Element, tcp: bool) {
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
        // Candidates over TCP double what is gathered, and between peers TURN over TCP is what helps
        // behind firewalls.
        if agent.find_property("ice-tcp").is_some() {
            agent.set_property("ice-tcp", tcp);
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

pub(super) fn convert(url: &str, server: &IceServer) -> Result<Server, String> {
    let parsed = IceUrl::parse_leniently(url)?;
    let IceUrl {
        kind,
        tls,
        host,
        port,
        transport,
    } = parsed;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    if tls {
        return Err(format!(
            "\"{url}\": only TURN over TCP can be done over TLS by this peer"
        ));
    }
    if kind == IceKind::Stun {
        return Ok(Server::Stun(format!("stun://{host}:{port}")));
    }
    let user = escape(server.username.as_deref().unwrap_or_default());
    let password = escape(server.credential.as_deref().unwrap_or_default());
    let transport = match transport {
        None => "",
        Some(Transport::Udp) => "?transport=udp",
        Some(Transport::Tcp) => "?transport=tcp",
    };
    Ok(Server::Turn(format!(
        "turn://{user}:{password}@{host}:{port}{transport}"
    )))
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

    fn converted(url: &str) -> Result<Server, String> {
        let server = IceServer {
            urls: Vec::new(),
            username: Some("1700000000:me".to_owned()),
            credential: Some("a+b/c=".to_owned()),
        };
        convert(url, &server)
    }

    #[test]
    fn stun_gets_a_port_and_slashes() {
        for (url, expected) in [
            ("stun:example.org", "stun://example.org:3478"),
            ("STUN:example.org:19302", "stun://example.org:19302"),
            ("stun://example.org", "stun://example.org:3478"),
            ("stun:[2001:db8::1]", "stun://[2001:db8::1]:3478"),
        ] {
            assert_eq!(converted(url), Ok(Server::Stun(expected.to_owned())));
        }
    }

    #[test]
    fn turn_credentials_are_escaped() {
        for (url, expected) in [
            (
                "turn:example.org:3478?transport=udp",
                "turn://1700000000%3Ame:a%2Bb%2Fc%3D@example.org:3478?transport=udp",
            ),
            (
                "turn:[::1]:443?transport=tcp",
                "turn://1700000000%3Ame:a%2Bb%2Fc%3D@[::1]:443?transport=tcp",
            ),
            ("turn:h", "turn://1700000000%3Ame:a%2Bb%2Fc%3D@h:3478"),
        ] {
            assert_eq!(converted(url), Ok(Server::Turn(expected.to_owned())));
        }
    }

    #[test]
    fn what_is_no_ice_server_is_refused() {
        for url in ["", "stun:", "http://example.org", "turn:u@h", "stuns:h"] {
            assert!(converted(url).is_err(), "{url}");
        }
    }
}
