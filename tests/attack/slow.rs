//! Who takes all the time in the world: for a head, a body, a handshake, a message, or an answer.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::common::process::Process;
use crate::common::{Answer, PATIENCE, Server, frame, wait_until};
use crate::lab::{Host, Lab};
use crate::scene::Scene;
use crate::wire::{WAYS, Way, close_code, flood, handshake, head, open, rest, say, tls, upgrade};

/// Short deadlines, and few connections beside the innocent ones.
const LIMITS: &str = "handshake = 2\nfirst_message = 1\nwrite = 1";
/// Attackers of each kind at once.
const CROWD: usize = 100;
/// What a deadline of a second may take here, on a machine that does much else.
const SOON: Duration = Duration::from_secs(30);

/// What is said at once, and then nothing, or the same byte again and again.
struct Slow {
    name: &'static str,
    start: String,
    drip: Option<u8>,
}

impl Slow {
    fn new(name: &'static str, start: &str, drip: Option<u8>) -> Self {
        Self {
            name,
            start: start.to_owned(),
            drip,
        }
    }

    fn all() -> Vec<Self> {
        vec![
            Self::new("nothing", "", None),
            Self::new("half a head", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b", None),
            Self::new("a head in bytes", "GET /", Some(b'a')),
            Self::new("headers without end", "GET / HTTP/1.1\r\nX-A: ", Some(b'a')),
            Self::new("a line without end", "", Some(b'G')),
            Self::new(
                "no body",
                "POST /connect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
                None,
            ),
            Self::new(
                "a body in bytes",
                "POST /polled_connections HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
                Some(b' '),
            ),
            Self::new(
                "no chunk",
                "POST /connect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff",
                Some(b'0'),
            ),
            Self::new(
                "a body that nobody wants",
                "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
                Some(b' '),
            ),
            Self::new("a silent WebSocket", &upgrade("/", ""), None),
            Self::new("a silent device", &upgrade("/register_device", ""), None),
        ]
    }

    /// Speaks until the server hangs up.
    async fn run(&self, way: Way, scene: &Scene) {
        let Ok(mut stream) = way.try_connect(&scene.server).await else {
            // On a machine that does much else already the handshake took too long.
            return;
        };
        say(&mut *stream, self.start.as_bytes()).await;
        let Some(byte) = self.drip else {
            let came = rest(&mut *stream).await;
            if self.start.contains("Upgrade") {
                assert_eq!(close_code(&came), Some(1008), "{}: {came:?}", self.name);
            }
            return;
        };
        let begun = Instant::now();
        let mut came = [0; 4096];
        loop {
            assert!(begun.elapsed() < SOON, "{} goes on", self.name);
            tokio::select! {
                read = stream.read(&mut came) => if matches!(read, Ok(0) | Err(_)) { return },
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_slow_is_cut_off_in_time_however_many_there_are() {
    let mut scene = Scene::set(LIMITS, "").await;
    let every = Slow::all();
    for way in WAYS {
        let each = every
            .iter()
            .flat_map(|slow| (0..CROWD / 5).map(move |_| slow));
        let crowd: Vec<_> = each.map(|slow| slow.run(way, &scene)).collect();
        futures_util::future::join_all(crowd).await;
        scene.innocents_go_on().await;
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn a_tls_handshake_that_stops_anywhere_is_cut_off() {
    let mut scene = Scene::set(LIMITS, "").await;
    let hello = client_hello(&scene).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let mut tcp = Way::Tls.tcp(&scene.server).await;
        // From nothing to all but the last byte; then the whole, and no answer to the server's part.
        let part = hello[..hello.len() * number / (CROWD - 1)].to_vec();
        crowd.spawn(async move {
            say(&mut tcp, &part).await;
            rest(&mut tcp).await;
        });
    }
    // Nonsense of all kinds: a record too long, another protocol, a type of no kind, an old version.
    for nonsense in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x63\x03\x01\x00\x05aaaaa",
        b"\x16\x03\x00\x00\x05\x01\x00\x00\x01\x00",
        b"\x80\x2e\x01\x00\x02",
    ] {
        let mut tcp = Way::Tls.tcp(&scene.server).await;
        say(&mut tcp, nonsense).await;
        rest(&mut tcp).await;
    }
    crowd.join_all().await;
    let failures = scene
        .server
        .metric("switchboard_tls_handshake_failures_total");
    assert!(failures.await >= CROWD as f64);
    assert!(tls(&scene.server).await.write_all(b"x").await.is_ok());
    scene.is_calm_again().await;
}

/// What a client says first, as it is on the wire.
async fn client_hello(scene: &Scene) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let _ = handshake(tcp).await;
    });
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut head = [0; 5];
    tcp.read_exact(&mut head).await.unwrap();
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    tcp.read_exact(&mut record).await.unwrap();
    client.abort();
    scene.innocents_go_on().await;
    [&head[..], &record].concat()
}

#[tokio::test]
async fn who_does_not_read_answers_is_cut_off_and_costs_little() {
    let mut scene = Scene::set(LIMITS, "").await;
    let script = scene.server.get("/console/js/app.js").await;
    assert_eq!(script.status, 200);
    scene.watch_memory();
    let request = "GET /console/js/app.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    for way in WAYS {
        let crowd = (0..CROWD / 2).map(async |_| {
            let mut stream = way.connect(&scene.server).await;
            // Requests that the server doesn't take any more fill the way to it, until it hangs up.
            flood(&mut *stream, request.as_bytes(), SOON).await;
            stream
        });
        let crowd = futures_util::future::join_all(crowd).await;
        scene.innocents_go_on().await;
        let open = "switchboard_connections";
        scene.server.wait_for_metric(open, 3.0).await;
        drop(crowd);
    }
    // Each has a buffer of 64 KiB for requests, as much for answers, and TLS as much again.
    let most = (CROWD as u64 / 2) * 4 * 64 * 1024 + (8 << 20);
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    scene.is_calm_again().await;
}

#[tokio::test]
async fn streams_of_events_that_nobody_reads_share_what_they_show() {
    let limits = "write = 60\nevent_streams = 60";
    let mut scene = Scene::set(limits, "").await;
    // Devices that say much of themselves: all of them together are in each event.
    let pad = "x".repeat(100_000);
    let mut devices = Vec::new();
    for number in 0..40 {
        let mut device = scene.server.ws("/register_device").await;
        device
            .send_json(&serde_json::json!({"message_type": "register", "device_id": format!("d{number}"), "device_info": {"pad": pad}}))
            .await;
        device.recv_json().await;
        devices.push(device);
    }
    scene.watch_memory();
    let mut readers = Vec::new();
    for _ in 0..60 {
        let mut stream = Way::Plain.connect(&scene.server).await;
        say(
            &mut *stream,
            b"GET /api/endpoints/stream HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .await;
        assert!(head(&mut *stream).await.starts_with("HTTP/1.1 200"));
        readers.push(stream);
    }
    let mut refused = Way::Plain.connect(&scene.server).await;
    say(&mut *refused, b"GET /api/endpoints/stream HTTP/1.0\r\n\r\n").await;
    let refused = Answer::read(&mut refused).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    // Changes that would be told to all of them, if they took any.
    for _ in 0..5 {
        drop(scene.server.device("coming-and-going").await);
        scene.innocents_go_on().await;
    }
    let most = 64 << 20;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    drop((readers, devices));
    scene.is_calm_again().await;
}

#[tokio::test]
async fn a_websocket_that_drips_its_first_message_has_no_longer_than_one_that_says_nothing() {
    let mut scene = Scene::set(LIMITS, "").await;
    for way in WAYS {
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, "/connect_client").await;
        // Pings in between are no message.
        let begun = Instant::now();
        let mut came = Vec::new();
        while begun.elapsed() < SOON {
            let mut more = [0; 256];
            tokio::select! {
                read = stream.read(&mut more) => match read {
                    Ok(read @ 1..) => came.extend(&more[..read]),
                    _ => break,
                },
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    let ping = frame(0x89, b"");
                    let fragment = frame(if came.is_empty() { 0x01 } else { 0x00 }, b"x");
                    let _ = stream.write_all(&[ping, fragment].concat()).await;
                    let _ = stream.flush().await;
                }
            }
        }
        assert_eq!(close_code(&came), Some(1008));
    }
    scene.is_calm_again().await;
}

#[tokio::test]
async fn who_is_gone_without_a_word_is_noticed_also_where_nothing_is_asked() {
    let Some(lab) = Lab::new() else { return };
    let (here, there) = (lab.host(), lab.host());
    here.cable("left", &["10.0.0.1/24"], &there, "right", &["10.0.0.2/24"]);
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        config.path(),
        "[limits]\nping_after = 1\nping_timeout = 1\n",
    )
    .unwrap();
    let mut command = here.command(env!("CARGO_BIN_EXE_switchboard"));
    command
        .args([
            "serve",
            "--insecure",
            "--listen",
            "10.0.0.1:8080",
            "--config",
        ])
        .arg(config.path());
    let server = Server::spawn(command.into(), None, 1).await;
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.process()))
            .unwrap()
            .count()
    };
    let before = descriptors();

    // A reader of events, whose machine then falls off the network.
    let mut reader = talk(&there, b"GET /api/endpoints/stream HTTP/1.0\r\n\r\n");
    reader
        .line("event", |line| line.starts_with("data:").then_some(()))
        .await;
    there.ip("link set right down");
    // Something to tell it of: a device that comes, and goes.
    let register = frame(0x81, br#"{"message_type":"register","device_id":"d"}"#);
    let upgrade = upgrade("/register_device", "");
    let mut device = talk(&here, &[upgrade.as_bytes(), &register].concat());
    device
        .line("answer", |line| line.contains("101").then_some(()))
        .await;
    drop(device);
    wait_until(PATIENCE, async || descriptors() == before).await;
}

/// A process on a machine that says this to the server, and prints what it hears.
fn talk(host: &Host, bytes: &[u8]) -> Process {
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let script = format!("exec 3<>/dev/tcp/10.0.0.1/8080; printf '{octal}' >&3; exec cat <&3");
    let mut command = host.command("bash");
    command.args(["-c", &script]);
    Process::spawn(command.into())
}
