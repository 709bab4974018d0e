//! Every limit of the server: its name, its default, its key.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Makes [`Limits`] from one table, so that a limit can't exist without a key, a default and a line
/// of documentation.
macro_rules! limits {
    ($( $(#[doc = $doc:literal])+ $name:ident: $kind:ident = $default:expr; )+) => {
        /// How much of everything the server takes. In the configuration file under `[limits]`,
        /// each by the name of its field; durations in seconds.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $( $(#[doc = $doc])+ pub $name: limits!(@type $kind), )+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        /// As in the configuration file.
        impl Serialize for Limits {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut map = to.serialize_map(Some(Self::KEYS.len()))?;
                $( map.serialize_entry(stringify!($name), limits!(@show $kind, self.$name))?; )+
                map.end()
            }
        }

        impl Limits {
            /// Every limit's key.
            pub const KEYS: &'static [&'static str] = &[$( stringify!($name), )+];

            /// Every limit that is a number, with its key.
            #[must_use]
            pub fn counts(&self) -> Vec<(&'static str, usize)> {
                let each = [$( limits!(@count $kind, self, $name), )+];
                each.into_iter().flatten().collect()
            }

            /// Sets one limit by its key.
            ///
            /// # Errors
            /// What a value of that key must be, or that there is no such key.
            pub fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
                match key {
                    $( stringify!($name) => self.$name = limits!(@parse $kind, value)?, )+
                    _ => return Err(format!("unknown limit; the limits are {}", Self::KEYS.join(", "))),
                }
                Ok(())
            }

            /// Every limit's key, meaning and value.
            #[cfg(test)]
            pub(super) fn lines(&self) -> Vec<(&'static str, &'static str, String)> {
                vec![$( (stringify!($name), concat!($($doc),+), limits!(@print $kind, self.$name)), )+]
            }
        }
    };
    (@show count, $value:expr) => { &$value };
    (@show seconds, $value:expr) => { &$value.as_secs_f64() };
    (@print count, $value:expr) => { $value.to_string() };
    (@print seconds, $value:expr) => { $value.as_secs_f64().to_string() };
    (@type count) => { usize };
    (@type seconds) => { Duration };
    (@count count, $self:ident, $name:ident) => { Some((stringify!($name), $self.$name)) };
    (@count seconds, $self:ident, $name:ident) => { None };
    (@parse count, $value:expr) => {
        match $value.as_integer().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n > 0 => Ok::<usize, String>(n),
            _ => Err("must be a whole number above 0".to_owned()),
        }
    };
    (@parse seconds, $value:expr) => {
        match $value.as_float().or_else(|| $value.as_integer().map(|n| n as f64)) {
            Some(s) if s > 0.0 && s < 1e9 => Ok::<Duration, String>(Duration::from_secs_f64(s)),
            _ => Err("must be a number of seconds above 0".to_owned()),
        }
    };
}

limits! {
    /// Connections at once, over all listeners. One more is closed as soon as it is accepted.
    connections: count = 20_000;
    /// Connections of one address at once (of one IPv6 network of 64 bits). One more is closed as soon as it is accepted; behind a proxy, gets 429.
    address_connections: count = 20_000;
    /// Messages that one WebSocket may send in a second, and once as many at once. Who is faster isn't read meanwhile.
    messages_per_second: count = 100_000;
    /// Bytes that one WebSocket may send in a second, and once as many at once. Who is faster isn't read meanwhile.
    bytes_per_second: count = 100_000_000;
    /// `messages_per_second` of all WebSockets of one address together; each HTTP request counts as one, and beyond it gets 429.
    address_messages_per_second: count = 1_000_000;
    /// `bytes_per_second` of all WebSockets of one address together, and of the bodies of its HTTP requests.
    address_bytes_per_second: count = 1_000_000_000;
    /// Bytes in one WebSocket message, and in one HTTP request body. A larger message closes its connection with 1009.
    message_bytes: count = 1024 * 1024;
    /// Messages that wait to be sent to one connection. One more closes it with 1013, or the caller of a device whose messages most of these are.
    queue_messages: count = 8192;
    /// Bytes that wait to be sent to one connection, beside one message of any size; each message counts as 128 more. More closes it with 1013, or such a caller.
    queue_bytes: count = 1024 * 1024;
    /// How long a new TCP connection may take for its first byte, for its TLS handshake, for each request's head, and for the first packet of media.
    handshake: seconds = Duration::from_secs(10);
    /// How often the certificate's files are looked at; changed ones are taken over.
    tls_reload: seconds = Duration::from_secs(10);
    /// How long a new WebSocket may stay silent before it is closed with 1008.
    first_message: seconds = Duration::from_secs(10);
    /// Silence after which a WebSocket is pinged.
    ping_after: seconds = Duration::from_secs(20);
    /// How long a ping may stay unanswered before the WebSocket is closed with 1011.
    ping_timeout: seconds = Duration::from_secs(20);
    /// `ping_after` for Cuttlefish devices, whose old clients expect a ping after 3 s.
    device_ping_after: seconds = Duration::from_secs(3);
    /// `ping_timeout` for Cuttlefish devices.
    device_ping_timeout: seconds = Duration::from_secs(10);
    /// How long the holder of an id may take to answer when another connection wants the id.
    probe: seconds = Duration::from_secs(2);
    /// How long one write to a connection, or its closing handshake, may take.
    write: seconds = Duration::from_secs(10);
    /// Streams of events at once that operators follow. One more gets 503.
    event_streams: count = 100;
    /// How long a file of a device's own HTTP server may take.
    device_file: seconds = Duration::from_secs(30);
    /// Bytes in one such file. A longer one is cut off.
    device_file_bytes: count = 64 * 1024 * 1024;
    /// How long a clean shutdown waits for connections to close.
    shutdown: seconds = Duration::from_secs(4);
    /// Registered endpoints at once.
    endpoints: count = 10_000;
    /// Open calls at one endpoint at once.
    calls_per_endpoint: count = 1_000;
    /// Callers at once that wait for an absent endpoint. One more is refused.
    waiting_calls: count = 10_000;
    /// Those of them that wait for the same endpoint. One more is refused.
    waiting_calls_per_endpoint: count = 1_000;
    /// Endpoint ids whose last call number is remembered after the endpoint has left.
    remembered_endpoints: count = 10_000;
    /// Bytes in the id of a GStreamer peer or room, of a gecko, or in the name of a Kurento user or room. A longer id of a peer closes with 1002.
    id_bytes: count = 20_000;
    /// Rooms of GStreamer peers at once, and beside them rooms of Kurento's participants.
    rooms: count = 10_000;
    /// Members of one such room at once.
    members_per_room: count = 1_000;
    /// How long messages to a member that left its room are dropped without an error.
    just_left: seconds = Duration::from_secs(5);
    /// Sessions of one gecko at once, until they are connected. A gecko may say less. One more client gets errno 429.
    gecko_sessions: count = 1_000;
    /// Messages that wait for one gecko, here or awaited. The sender of one more gets errno 429.
    gecko_queue_messages: count = 2_048;
    /// Bytes that wait for one gecko, beside one message of any size. The sender of one more message gets errno 429.
    gecko_queue_bytes: count = 1024 * 1024;
    /// Candidates that one client may send to its gecko. One more ends its session with errno 429.
    gecko_candidates: count = 256;
    /// Accounts whose gecko is remembered. One more pushes out the one that asked longest ago.
    gecko_accounts: count = 10_000;
    /// How long a gecko that is gone is awaited: its sessions go on if it comes back, and its accounts stay with it.
    gecko_grace: seconds = Duration::from_secs(30);
    /// How long a gecko may take to answer a demand before its client gets errno 302.
    gecko_answer: seconds = Duration::from_secs(30);
    /// How long client and gecko may take from the answer to `connected` before the client gets errno 302.
    gecko_connect: seconds = Duration::from_secs(30);
    /// Kurento sessions at once. One more pushes out the one whose connection was lost longest ago, or gets code 999.
    kurento_sessions: count = 20_000;
    /// Participants of one Kurento room at once. One more gets code 201.
    participants_per_room: count = 1_000;
    /// Publishers in one Kurento room at once. One more gets code 303.
    publishers_per_room: count = 200;
    /// `messages_per_second` of Kurento's connections, whose requests may be told to a whole room.
    kurento_requests: count = 1_000;
    /// How long a Kurento session is kept whose connection was lost.
    kurento_resume: seconds = Duration::from_secs(10);
    /// How long the media plane may take to answer an offer before the client gets code 303.
    media_answer: seconds = Duration::from_secs(10);
    /// How long a publisher that closed its peer connection may take to say so before it is put out of its room.
    media_farewell: seconds = Duration::from_secs(5);
    /// How long an answered media endpoint may take to be connected before it fails.
    media_connect: seconds = Duration::from_secs(30);
    /// Media endpoints at once, over all rooms. One more gets code 303.
    media_endpoints: count = 10_000;
    /// TCP connections at once that carry media. One more is closed.
    media_tcp_connections: count = 1_000;
    /// What one publisher may send as video, in bit/s.
    media_bitrate: count = 2_500_000;
    /// How long the hook for custom requests may take before the client gets code -1.
    custom_request: seconds = Duration::from_secs(5);
    /// Bytes in the hook's answer. A longer one counts as none.
    custom_request_bytes: count = 256 * 1024;
    /// Polling clients at once.
    polling_clients: count = 1_000;
    /// Silence after which a polling client counts as gone. Old pages poll at least once a minute.
    polling_idle: seconds = Duration::from_secs(300);
    /// Messages kept for one polling client; more push out the oldest.
    polling_messages: count = 1_000;
    /// Bytes kept for one polling client; more push out the oldest.
    polling_bytes: count = 4 * 1024 * 1024;
    /// Bytes in one script that is edited in the console. A longer one is refused with 413.
    script_bytes: count = 256 * 1024;
    /// Such scripts that are kept; one more pushes out the oldest.
    scripts: count = 256;
    /// Bytes in all such scripts together; more push out the oldest.
    scripts_bytes: count = 8 * 1024 * 1024;
    /// How long such a script is kept for geckos to fetch.
    script_kept: seconds = Duration::from_secs(600);
    /// Connections or calls in one page of the admin API's lists.
    admin_page: count = 1_000;
    /// Bytes in a token. A longer one is refused without asking anyone.
    token_bytes: count = 16 * 1024;
    /// Tokens at once that are being checked with their authority. More wait within their `token_check`.
    token_checks: count = 64;
    /// How long the check of one token may take, with waiting for its turn.
    token_check: seconds = Duration::from_secs(5);
    /// Bytes in an authority's answer. A longer one counts as none.
    token_answer_bytes: count = 256 * 1024;
    /// Tokens whose check is remembered; one more pushes out the oldest.
    tokens_remembered: count = 10_000;
    /// Revocations that are remembered, of tokens and of users. One more pushes out the oldest.
    tokens_revoked: count = 10_000;
    /// How long a good token is taken without asking again: a revoked one works so long. Never longer than the token itself says.
    token_good: seconds = Duration::from_secs(300);
    /// How long a bad token is refused without asking again.
    token_bad: seconds = Duration::from_secs(10);
    /// Age of an issuer's keys at which they are fetched again.
    token_keys_refresh: seconds = Duration::from_secs(3600);
    /// How long after fetching an issuer's keys a token with an unknown key may cause it again.
    token_keys_retry: seconds = Duration::from_secs(60);
}
