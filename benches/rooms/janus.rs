//! Janus as Debian has it, with a configuration of its own, and its video rooms.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::endpoint::{ADDRESS, Endpoint, Load, Offering};
use super::process::Process;
use super::server::{Member, Receiving, Server};
use super::socket::Socket;

/// Threads that carry media; without it each connection gets one, which costs more.
const EVENT_LOOPS: u32 = 2;
const PLUGIN: &str = "janus.plugin.videoroom";

pub(crate) struct Janus {
    process: Process,
    address: String,
    _configuration: TempDir,
}

pub(crate) struct Participant {
    socket: Socket,
    session: u64,
    room: usize,
    user: usize,
    transaction: u64,
}

impl Janus {
    /// Whether it is installed.
    pub(crate) fn is_there() -> bool {
        Command::new("janus")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    }
}

impl Server for Janus {
    const NAME: &str = "janus";

    type Member = Participant;

    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let configuration = TempDir::new().unwrap();
        for (name, text) in [
            (
                "janus.jcfg",
                // Answers checks but makes none, at one address: as the measured server does it.
                format!(
                    r#"general: {{ debug_level = 3, event_loops = {EVENT_LOOPS}, session_timeout = 0 }}
nat: {{ ice_lite = true, ice_enforce_list = "{}" }}
transports: {{ disable = "libjanus_http.so,libjanus_pfunix.so,libjanus_mqtt.so,libjanus_nanomsg.so" }}
"#,
                    *ADDRESS,
                ),
            ),
            (
                "janus.transport.websockets.jcfg",
                format!(r#"general: {{ ws = true, ws_port = {port}, ws_ip = "127.0.0.1" }}"#),
            ),
            ("janus.plugin.videoroom.jcfg", "general: {}".to_owned()),
        ] {
            std::fs::write(configuration.path().join(name), text).unwrap();
        }
        let mut command = Command::new("janus");
        command
            .arg("--configs-folder")
            .arg(configuration.path())
            .stdout(Stdio::null());
        let janus = Self {
            process: Process::start(command),
            address: format!("127.0.0.1:{port}"),
            _configuration: configuration,
        };
        janus.await_socket().await;
        janus
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn join(&self, room: usize, user: usize) -> Participant {
        let socket = self.await_socket().await;
        let mut participant = Participant {
            socket,
            session: 0,
            room: room + 1,
            user: user + 1,
            transaction: 0,
        };
        let answer = participant.ask(json!({ "janus": "create" })).await;
        participant.session = answer["data"]["id"].as_u64().unwrap();
        // The first to come makes the room. Keyframes are for others to ask for.
        let handle = participant.attach().await;
        let body = json!({
            "request": "create", "room": participant.room, "publishers": 1000, "fir_freq": 0,
            "audiocodec": "opus", "videocodec": "vp8",
        });
        participant.say(handle, &body, None).await;
        participant
    }
}

impl Janus {
    /// It says nowhere that it listens.
    async fn await_socket(&self) -> Socket {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            match Socket::open(&self.address, "/", Some("janus-protocol")).await {
                Some(socket) => return socket,
                None => assert!(Instant::now() < limit, "Janus does not listen"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Member for Participant {
    async fn publish(&mut self, load: Load) -> Endpoint {
        let handle = self.attach().await;
        let (offering, offer) = Offering::new(Some(load));
        let body = json!({
            "request": "joinandconfigure", "ptype": "publisher", "room": self.room, "id": self.user,
            "audio": true, "video": true,
        });
        let answer = self.say(handle, &body, Some(("offer", offer))).await;
        offering.answered(sdp(&answer))
    }

    async fn receive(&mut self, publisher: usize) -> Receiving {
        let handle = self.attach().await;
        let body = json!({
            "request": "join", "ptype": "subscriber", "room": self.room,
            "streams": [{ "feed": publisher + 1 }],
        });
        let asked = Instant::now();
        let offer = self.say(handle, &body, None).await;
        let answered = asked.elapsed();
        let (endpoint, answer) = Endpoint::answering(sdp(&offer));
        let body = json!({ "request": "start" });
        self.say(handle, &body, Some(("answer", answer))).await;
        Receiving {
            endpoint,
            asked,
            answered,
        }
    }
}

impl Participant {
    async fn attach(&mut self) -> u64 {
        let request = json!({ "janus": "attach", "session_id": self.session, "plugin": PLUGIN });
        let answer = self.ask(request).await;
        answer["data"]["id"].as_u64().unwrap()
    }

    /// Says something to the plugin.
    async fn say(&mut self, handle: u64, body: &Value, jsep: Option<(&str, String)>) -> Value {
        let mut request = json!({
            "janus": "message", "session_id": self.session, "handle_id": handle, "body": body,
        });
        if let Some((kind, sdp)) = jsep {
            request["jsep"] = json!({ "type": kind, "sdp": sdp });
        }
        self.ask(request).await
    }

    async fn ask(&mut self, mut request: Value) -> Value {
        self.transaction += 1;
        let transaction = self.transaction.to_string();
        request["transaction"] = transaction.as_str().into();
        let is_answer = |it: &Value| it["transaction"] == transaction && it["janus"] != "ack";
        self.socket.ask(&request, is_answer).await
    }
}

fn sdp(answer: &Value) -> &str {
    let sdp = answer["jsep"]["sdp"].as_str();
    sdp.unwrap_or_else(|| panic!("no SDP in {answer}"))
}
