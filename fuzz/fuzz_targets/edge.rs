//! A whole server, and whatever comes on its connections: requests of every route, upgrades to every dialect,
//! frames, and bytes that are neither. Nothing panics or fails inside, and when all have gone nothing is left.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::fuzzing::server::Edge;
use switchboard_fuzz::spare_str0m;

/// Connections at once.
const CLIENTS: usize = 3;

#[derive(Debug, Arbitrary)]
struct Talk<'a> {
    has_proxy: bool,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Request {
        who: u8,
        method: u8,
        path: u8,
        id: &'a str,
        query: &'a str,
        headers: [(u8, &'a str); 2],
        body: &'a str,
    },
    /// To a WebSocket.
    Upgrade {
        who: u8,
        path: u8,
        id: &'a str,
        header: (u8, &'a str),
    },
    /// A frame with this text.
    Text {
        who: u8,
        text: &'a str,
    },
    /// Any frame.
    Frame {
        who: u8,
        head: u8,
        mask: [u8; 4],
        bytes: &'a [u8],
    },
    /// Well-formed first messages, so that there is somebody.
    Hello {
        who: u8,
        dialect: u8,
        id: u8,
    },
    /// Anything.
    Bytes {
        who: u8,
        bytes: &'a [u8],
    },
    Close {
        who: u8,
        word: bool,
    },
}

const METHODS: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH"];

/// Every route; an id follows in the place of {}.
const PATHS: [&str; 50] = [
    "/",
    "/register_device",
    "/connect_client",
    "/infra_config",
    "/devices",
    "/devices/{}",
    "/devices/{}/connect",
    "/devices/{}/files/x",
    "/connect",
    "/forward",
    "/poll_messages",
    "/polled_connections",
    "/polled_connections/{}/:forward",
    "/polled_connections/{}/messages",
    "/worker",
    "/v1/",
    "/v1/fxa-oauth/params",
    "/__heartbeat__",
    "/console",
    "/console/",
    "/console/{}",
    "/room",
    "/getAllRooms",
    "/getUpdateSpeakerInterval",
    "/getThresholdSpeaker",
    "/getClientConfig",
    "/close",
    "/health",
    "/ready",
    "/metrics",
    "/ice-servers",
    "/api/openapi.json",
    "/api/server",
    "/api/connections",
    "/api/connections/{}",
    "/api/endpoints",
    "/api/endpoints/stream",
    "/api/endpoints/cuttlefish/{}",
    "/api/endpoints/gstreamer/{}",
    "/api/endpoints/{}/1",
    "/api/calls",
    "/api/calls/{}",
    "/api/rooms",
    "/api/rooms/{}",
    "/api/rooms/r1/participants/{}",
    "/api/rooms/r1/participants/{}/mute",
    "/api/revocations",
    "/api/scripts",
    "/api/scripts/{}",
    "/{}",
];

/// The paths of WebSockets.
const SOCKETS: [&str; 7] = [
    "/register_device",
    "/connect_client",
    "/devices/{}/connect",
    "/worker",
    "/room",
    "/",
    "/{}",
];

const HEADERS: [&str; 16] = [
    "Authorization",
    "Origin",
    "X-Forwarded-For",
    "Sec-WebSocket-Protocol",
    "Content-Type",
    "Transfer-Encoding",
    "Range",
    "If-None-Match",
    "If-Modified-Since",
    "Forwarded",
    "Cookie",
    "Connection",
    "Accept",
    "Access-Control-Request-Method",
    "Expect",
    "Content-Length",
];

/// What each dialect begins with, and what its endpoints say of themselves.
const HELLOS: [(&str, &str); 5] = [
    (
        "/register_device",
        r#"{"message_type":"register","device_id":"{}","device_info":{}}"#,
    ),
    (
        "/connect_client",
        r#"{"message_type":"connect","device_id":"{}"}"#,
    ),
    ("/worker", r#"{"action":"worker-hello","geckoId":"{}"}"#),
    (
        "/room",
        r#"{"id":1,"method":"joinRoom","params":{"user":"u{}","room":"r1"}}"#,
    ),
    ("/", "HELLO {}"),
];

fuzz_target!(init: spare_str0m(), |talk: Talk<'_>| {
    let mut edge = Edge::new(CLIENTS, talk.has_proxy);
    for it in talk.steps {
        step(&mut edge, it);
    }
    edge.end();
});

fn step(edge: &mut Edge, step: Step<'_>) {
    match step {
        Step::Request {
            who,
            method,
            path,
            id,
            query,
            headers,
            body,
        } => {
            let method = METHODS[usize::from(method) % METHODS.len()];
            let path = PATHS[usize::from(path) % PATHS.len()].replace("{}", id);
            let mark = if query.is_empty() { "" } else { "?" };
            let mut request = format!("{method} {path}{mark}{query} HTTP/1.1\r\nHost: h\r\n");
            request += &lines(&headers);
            request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
            edge.send(who, request.as_bytes());
        }
        Step::Upgrade {
            who,
            path,
            id,
            header,
        } => {
            let path = SOCKETS[usize::from(path) % SOCKETS.len()].replace("{}", id);
            edge.send(who, upgrade(&path, &lines(&[header])).as_bytes());
        }
        Step::Text { who, text } => edge.send(who, &frame(0x81, [0; 4], text.as_bytes())),
        Step::Frame {
            who,
            head,
            mask,
            bytes,
        } => edge.send(who, &frame(head, mask, bytes)),
        Step::Hello { who, dialect, id } => {
            let (path, hello) = HELLOS[usize::from(dialect) % HELLOS.len()];
            let hello = hello.replacen("{}", &(id % 3).to_string(), 1);
            edge.send(who, upgrade(path, "").as_bytes());
            edge.send(who, &frame(0x81, [0; 4], hello.as_bytes()));
        }
        Step::Bytes { who, bytes } => edge.send(who, bytes),
        Step::Close { who, word } => edge.close(who, word),
    }
}

fn lines(headers: &[(u8, &str)]) -> String {
    let headers = headers.iter().filter(|(_, value)| !value.is_empty());
    let line = |(name, value): &(u8, &str)| {
        format!(
            "{}: {value}\r\n",
            HEADERS[usize::from(*name) % HEADERS.len()]
        )
    };
    headers.map(line).collect()
}

fn upgrade(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{lines}\r\n"
    )
}

/// RFC 6455, section 5.2.
fn frame(head: u8, mask: [u8; 4], bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match u16::try_from(bytes.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(length.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        bytes
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}
