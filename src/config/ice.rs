//! The `[ice]` section: the STUN and TURN servers that every peer and page is told of.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Secret;

/// How long a minted credential can be used unless told otherwise: 12 h. A TURN server looks at it
/// when a session begins, and when one looks for a new way after its network has changed: so it lasts
/// for a long day's call, and a stolen one is worthless the next day.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The shortest lifetime: a page may take a while from the list to its first packet, and the clocks of
/// two machines differ.
const SHORTEST_LIFETIME: f64 = 60.0;
/// The longest lifetime. Who wants more wants a static credential.
const LONGEST_LIFETIME: f64 = 365.0 * 86_400.0;

/// The ports of RFC 5389 section 9 and RFC 5766 section 6.
const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// Which ICE servers everyone is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ice {
    /// In the order of the configuration. TURN servers without a credential get one that is minted
    /// from the secret, for each session another.
    pub servers: Vec<IceServer>,
    /// What the TURN servers call their shared secret (coturn: `static-auth-secret`).
    pub secret: Option<Secret>,
    /// How long a minted credential can be used.
    pub lifetime: Duration,
}

/// One ICE server, in the form of the browser's `RTCIceServer` (W3C WebRTC, section 4.2.2).
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs (RFC 7064, RFC 7065). Always an array on the wire: old devices
    /// accept no plain string.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The URL of an ICE server (RFC 7064, RFC 7065), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceUrl {
    /// STUN or TURN.
    pub kind: IceKind,
    /// Whether over TLS: `stuns:`, `turns:`.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, the usual one if the URL says none.
    pub port: u16,
    /// What `?transport=` says; nothing is UDP, and TCP over TLS (RFC 7065 section 3.1).
    pub transport: Option<Transport>,
}

/// What an ICE server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceKind {
    /// Tells a peer its public address.
    Stun,
    /// Relays.
    Turn,
}

/// What carries packets to a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// The section as it was typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    servers: Vec<Spanned<IceServer>>,
    secret: Option<Spanned<Secret>>,
    pub(super) secret_file: Option<Spanned<PathBuf>>,
    lifetime: Option<Spanned<toml::Value>>,
}

/// Where in the file something is wrong, and what.
type Wrong = (Range<usize>, String);

impl Default for Ice {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            secret: None,
            lifetime: DEFAULT_LIFETIME,
        }
    }
}

impl Section {
    /// Checks the section, and reads the file of the secret if it names one.
    pub(super) fn check(self) -> Result<Ice, Wrong> {
        let secret = match (self.secret, self.secret_file) {
            (Some(_), Some(file)) => {
                let what = "ice.secret_file: there is ice.secret as well; remove one of them";
                return Err((file.span(), what.to_owned()));
            }
            (Some(secret), None) if secret.get_ref().expose().is_empty() => {
                let what = "ice.secret: it is empty; write what your TURN server has (coturn: static-auth-secret)";
                return Err((secret.span(), what.to_owned()));
            }
            (Some(secret), None) => Some(secret.into_inner()),
            (None, Some(file)) => Some(
                read_secret(file.get_ref())
                    .map_err(|what| (file.span(), format!("ice.secret_file: {what}")))?,
            ),
            (None, None) => None,
        };
        let lifetime = match self.lifetime {
            None => DEFAULT_LIFETIME,
            Some(typed) => lifetime(typed.get_ref())
                .map_err(|what| (typed.span(), format!("ice.lifetime: {what}")))?,
        };
        let mut ice = Ice {
            servers: Vec::new(),
            secret,
            lifetime,
        };
        for server in self.servers {
            let at = server.span();
            ice.add(server.into_inner())
                .map_err(|what| (at, format!("ice.servers: {what}")))?;
        }
        Ok(ice)
    }
}

impl Ice {
    /// Adds a server to the list.
    ///
    /// # Errors
    /// What is wrong with it, and the fix.
    pub(super) fn add(&mut self, server: IceServer) -> Result<(), String> {
        if server.urls.is_empty() {
            return Err(
                "urls is empty; give at least one, as in urls = [\"stun:stun.example.org:3478\"]"
                    .to_owned(),
            );
        }
        if server.username.is_some() != server.credential.is_some() {
            return Err(format!(
                "\"{}\" has only one of username and credential; give both, or none and ice.secret",
                server.urls[0]
            ));
        }
        for url in &server.urls {
            let parsed = IceUrl::parse(url)?;
            if parsed.kind == IceKind::Turn && server.username.is_none() && self.secret.is_none() {
                return Err(format!(
                    "\"{url}\" needs a username and a credential; give them in the configuration file, \
                     under [[ice.servers]], or the TURN server's shared secret as ice.secret"
                ));
            }
        }
        self.servers.push(server);
        Ok(())
    }

    /// Whether some credentials are to be minted.
    #[must_use]
    pub fn mints(&self) -> bool {
        self.secret.is_some() && self.servers.iter().any(IceServer::lacks_credential)
    }
}

impl IceServer {
    /// A server that asks for no credential, or whose credential is still to be minted.
    #[must_use]
    pub fn bare(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            username: None,
            credential: None,
        }
    }

    /// Whether one of the URLs is a TURN server's, and there is no credential for it.
    #[must_use]
    pub fn lacks_credential(&self) -> bool {
        self.username.is_none() && self.has_turn()
    }

    /// Whether one of the URLs is a TURN server's.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.urls
            .iter()
            .any(|url| url.starts_with("turn:") || url.starts_with("turns:"))
    }
}

impl IceUrl {
    /// The same as [`Self::parse`], for URLs that come from others: RFC 7064 and 7065 have no slashes,
    /// but many write them.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_leniently(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some((scheme, rest)) => Self::parse(&format!("{scheme}:{rest}")),
            None => Self::parse(text),
        }
    }

    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, and how it must be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let (kind, tls) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (IceKind::Stun, false),
            "stuns" => (IceKind::Stun, true),
            "turn" => (IceKind::Turn, false),
            "turns" => (IceKind::Turn, true),
            _ => {
                return Err(format!(
                    "\"{text}\" must start with stun:, stuns:, turn: or turns:"
                ));
            }
        };
        let form = match kind {
            IceKind::Stun => "HOST[:PORT]",
            IceKind::Turn => "HOST[:PORT][?transport=udp|tcp]",
        };
        let wrong = || format!("\"{text}\" must be written as {scheme}:{form}");
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let transport = match (kind, query) {
            (_, None) => None,
            (IceKind::Turn, Some("transport=udp")) => Some(Transport::Udp),
            (IceKind::Turn, Some("transport=tcp")) => Some(Transport::Tcp),
            _ => return Err(wrong()),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
                (host, (!rest.is_empty()).then_some(rest))
            }
            None => match place.find(':') {
                Some(colon) => (&place[..colon], Some(&place[colon..])),
                None => (place, None),
            },
        };
        let port = match port {
            None if tls => TLS_PORT,
            None => PORT,
            Some(port) => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port > 0)
                .ok_or_else(wrong)?,
        };
        let is_host = |c: char| c.is_ascii_graphic() && !"@/[]".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(wrong());
        }
        Ok(Self {
            kind,
            tls,
            host: host.to_owned(),
            port,
            transport,
        })
    }
}

/// Without the credential.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username.as_ref().map(|_| "…"))
            .field("credential", &self.credential.as_ref().map(|_| "…"))
            .finish()
    }
}

/// The servers among these that can be asked over UDP how they see this machine, by name and port, those
/// first that do nothing else. TURN servers answer that, too (RFC 8656 section 5).
#[must_use]
pub fn stun_servers(servers: &[IceServer]) -> Vec<(String, u16)> {
    let urls = servers.iter().flat_map(|server| &server.urls);
    let mut asked: Vec<_> = urls
        .filter_map(|url| IceUrl::parse_leniently(url).ok())
        .filter(|url| !url.tls && url.transport != Some(Transport::Tcp))
        .collect();
    asked.sort_by_key(|url| url.kind == IceKind::Turn);
    let mut places: Vec<_> = asked.into_iter().map(|url| (url.host, url.port)).collect();
    places.dedup();
    places
}

/// The first line of a file: editors end it with a newline that isn't meant.
fn read_secret(path: &PathBuf) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "cannot read {}: {error}; check the path and its permissions",
            path.display()
        )
    })?;
    let secret = text.trim();
    if secret.is_empty() || secret.contains('\n') {
        return Err(format!(
            "{} must hold the secret on one line, and nothing else",
            path.display()
        ));
    }
    Ok(Secret::new(secret))
}

fn lifetime(value: &toml::Value) -> Result<Duration, String> {
    let seconds = value
        .as_float()
        .or_else(|| value.as_integer().map(|n| n as f64));
    match seconds {
        Some(s) if (SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&s) => {
            Ok(Duration::from_secs_f64(s))
        }
        _ => Err(format!(
            "must be a number of seconds, from {SHORTEST_LIFETIME} to {LONGEST_LIFETIME}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_servers_come_before_turn_servers_over_udp() {
        let urls = ["turn:t", "turn:u?transport=tcp", "turns:v", "stun://s:9"].map(String::from);
        let server = IceServer {
            urls: urls.to_vec(),
            ..IceServer::bare("")
        };
        let expected = [("s".to_owned(), 9), ("t".to_owned(), 3478)];
        assert_eq!(stun_servers(&[server]), expected);
    }

    #[test]
    fn urls_have_usual_ports_and_say_what_carries_them() {
        let url = |text: &str| IceUrl::parse(text).unwrap();
        let parts = |text: &str| {
            let url = url(text);
            (url.host, url.port, url.transport)
        };
        assert_eq!(
            parts("stun:example.org"),
            ("example.org".into(), 3478, None)
        );
        assert_eq!(parts("STUN:h:19302"), ("h".into(), 19302, None));
        assert_eq!(parts("turns:h"), ("h".into(), 5349, None));
        assert_eq!(
            parts("turn:[2001:db8::1]:443?transport=tcp"),
            ("2001:db8::1".into(), 443, Some(Transport::Tcp))
        );
        assert!(url("turns:h").tls && url("turns:h").kind == IceKind::Turn);
        for wrong in [
            "",
            "stun",
            "stun:",
            "stun://h",
            "stun:h?transport=udp",
            "turn:h?transport=quic",
            "turn:h:0",
            "turn:h:port",
            "turn:u@h",
            "stun:[::1",
            "stun:[::1]1",
            "http:h",
        ] {
            assert!(IceUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
