//! Messages without end, in each dialect: nonsense, for nobody, to come and go, and to whoever doesn't
//! read.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::common::{Client, PATIENCE, frame, wait_until};
use crate::scene::Scene;
use crate::wire::{Way, close_code, open, reset, rest, say};

/// How long a flood lasts. It is as fast as the server takes it.
const LASTS: Duration = Duration::from_secs(1);
/// Connections that send the same at the same time.
const TOGETHER: usize = 3;
/// Small, so that what they bound shows.
const LIMITS: &str = "message_bytes = 100_000\nqueue_messages = 500\nqueue_bytes = 100_000\nwrite = 2\n\
    endpoints = 300\nrooms = 50\nmembers_per_room = 100\nparticipants_per_room = 100\nkurento_sessions = 300\n\
    polling_clients = 50\npolling_bytes = 100_000\ngecko_queue_messages = 100\ngecko_queue_bytes = 100_000\n\
    gecko_accounts = 100\nremembered_endpoints = 100\nkurento_resume = 1\ngecko_grace = 1";
/// What all connections of a flood may take under [`LIMITS`]: each a message on its way in, a queue on its
/// way out, and the same once more in buffers; beside what the allocator keeps.
const EACH: u64 = 6 * 100_000;
const BESIDE: u64 = 24 << 20;

/// What one connection sends: a beginning, and then the rest again and again.
struct Flood {
    name: &'static str,
    path: &'static str,
    start: Vec<String>,
    texts: Vec<String>,
}

impl Flood {
    fn new(name: &'static str, path: &'static str, start: &[Value], texts: &[Value]) -> Self {
        let print = |values: &[Value]| {
            let texts = values.iter().map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            texts.collect::<Vec<String>>()
        };
        Self {
            name,
            path,
            start: print(start),
            texts: print(texts),
        }
    }

    /// Sends, and takes what comes back, so that the server has no reason to be slow.
    async fn run(&self, number: usize, way: Way, scene: &Scene) {
        let mut stream = way.connect(&scene.server).await;
        open(&mut *stream, self.path).await;
        for text in &self.start {
            let text = text.replace("NUMBER", &number.to_string());
            say(&mut *stream, &frame(0x81, text.as_bytes())).await;
        }
        let texts = self.texts.iter();
        let one: Vec<u8> = texts
            .flat_map(|text| frame(0x81, text.as_bytes()))
            .collect();
        let bytes = one.repeat((30_000 / one.len()).max(1));
        let (mut reading, mut writing) = tokio::io::split(stream);
        let writes = async { while writing.write_all(&bytes).await.is_ok() {} };
        let reads = async {
            let mut sink = vec![0; 64 * 1024];
            while let Ok(1..) = reading.read(&mut sink).await {}
        };
        let _ = timeout(LASTS, async { tokio::join!(writes, reads) }).await;
    }
}

/// Every flood, of some connections each, all at once; the memory that they take is bounded.
async fn withstand(floods: &[Flood]) {
    let mut scene = Scene::set(LIMITS, "").await;
    let mut device = scene.server.device("victim").await;
    let victim = tokio::spawn(async move { while let Some(Ok(_)) = device.socket.next().await {} });
    scene.watch_memory();
    for way in [Way::Plain, Way::Tls] {
        let each = floods.iter().enumerate();
        let all =
            each.flat_map(|(kind, flood)| (0..TOGETHER).map(move |n| (kind * TOGETHER + n, flood)));
        let mut names = Vec::new();
        let mut running = Vec::new();
        for (number, flood) in all {
            names.push(flood.name);
            running.push(flood.run(number, way, &scene));
        }
        join_all(running).await;
        scene.innocents_go_on().await;
        let most = names.len() as u64 * EACH + BESIDE;
        assert!(
            scene.grown_by() < most,
            "{names:?}: {} of {most}",
            scene.grown_by()
        );
    }
    victim.abort();
    let _ = victim.await;
    scene.is_calm_again().await;
}

/// JSON that is as deep as it is long.
fn deep() -> Value {
    Value::String(format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)))
}

/// The same, where it is taken as it is.
fn deep_in(before: &str, behind: &str) -> Value {
    let deep = deep();
    Value::String(format!("{before}{}{behind}", deep.as_str().unwrap()))
}

#[tokio::test]
async fn floods_in_cuttlefish_s_dialect_are_withstood() {
    let register = json!({"message_type": "register", "device_id": "f-NUMBER", "device_info": {}});
    // Whoever may call a device may send it more than it takes, and some of these callers lose their
    // connections for it, or together the device its own: not the innocent one here.
    let connect = json!({"message_type": "connect", "device_id": "victim"});
    let long = "i".repeat(90_000);
    withstand(&[
        Flood::new("garbage", "/register_device", &[], &[json!("{\"message_type\":"), json!("]"), json!("")]),
        Flood::new("unheard-of", "/connect_client", &[], &[json!({"message_type": "x"}), json!({"message_type": 7}), json!([])]),
        Flood::new("deep", "/connect_client", &[], &[deep(), deep_in("{\"message_type\":\"connect\",\"device_id\":", "}")]),
        Flood::new("deep payloads", "/connect_client", std::slice::from_ref(&connect), &[deep_in("{\"message_type\":\"forward\",\"payload\":", "}")]),
        Flood::new("to nobody", "/register_device", std::slice::from_ref(&register), &[json!({"message_type": "forward", "client_id": 4_000_000_000_u32, "payload": {}})]),
        Flood::new("again and again", "/register_device", std::slice::from_ref(&register), std::slice::from_ref(&register)),
        Flood::new("calls of nobody", "/connect_client", &[], &[json!({"message_type": "connect", "device_id": long}), json!({"message_type": "connect", "device_id": "absent"})]),
        Flood::new("a candidate, and another", "/connect_client", &[connect], &[json!({"message_type": "forward", "payload": {"type": "ice-candidate", "candidate": {"candidate": "candidate:1 1 UDP 1 192.0.2.1 9 typ host"}}})]),
        Flood::new("long ids", "/register_device", &[], &[json!({"message_type": "register", "device_id": long, "device_info": {}})]),
    ])
    .await;
}

#[tokio::test]
async fn floods_in_gstreamer_s_dialect_are_withstood() {
    let hello = json!("HELLO f-NUMBER");
    let long = "i".repeat(90_000);
    withstand(&[
        Flood::new(
            "garbage",
            "/",
            &[],
            &[json!("HALLO"), json!("\u{0}"), json!("{")],
        ),
        Flood::new("long ids", "/", &[], &[json!(format!("HELLO {long}"))]),
        Flood::new(
            "calls of nobody",
            "/",
            std::slice::from_ref(&hello),
            &[json!("SESSION absent"), json!(format!("SESSION {long}"))],
        ),
        Flood::new(
            "nothing asked",
            "/",
            std::slice::from_ref(&hello),
            &[json!({"ice": {"candidate": "c"}}), deep()],
        ),
        Flood::new(
            "to nobody in a room",
            "/",
            &[hello.clone(), json!("ROOM flooded")],
            &[
                json!("ROOM_PEER_MSG absent x"),
                json!("ROOM_PEER_LIST"),
                json!("ROOM other"),
            ],
        ),
        Flood::new(
            "to itself",
            "/",
            &[hello, json!("SESSION f-NUMBER")],
            &[json!({"ice": "candidate"}), json!("SESSION f-0")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn floods_in_kurento_s_dialect_are_withstood() {
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let join = |room: &str| request("joinRoom", json!({"room": room, "user": "u-NUMBER"}));
    let long = "i".repeat(90_000);
    withstand(&[
        Flood::new("garbage", "/room", &[], &[json!("{\"jsonrpc\":"), json!([]), json!({"jsonrpc": "2.0"}), deep()]),
        Flood::new("unheard-of", "/room", &[], &[request("explode", json!({})), request(&long, json!(null))]),
        Flood::new("rooms made and left", "/room", &[], &[join("r1"), request("leaveRoom", json!({})), join("r2"), request("leaveRoom", json!({}))]),
        Flood::new("come and go in one room", "/room", &[], &[join("one"), request("leaveRoom", json!({}))]),
        Flood::new("candidates of nothing", "/room", &[join("c")], &[request("onIceCandidate", json!({"endpointName": "u-NUMBER", "candidate": "candidate:1 1 UDP 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}))]),
        Flood::new("offers that are none", "/room", &[join("o")], &[request("publishVideo", json!({"sdpOffer": long})), request("receiveVideoFrom", json!({"sender": "absent_webcam", "sdpOffer": "v=0"}))]),
        Flood::new("talk", "/room", &[join("t")], &[request("sendMessage", json!({"roomMessage": "t", "userMessage": "u-NUMBER", "message": "x"}))]),
        Flood::new("long names", "/room", &[], &[request("joinRoom", json!({"room": long, "user": long}))]),
    ])
    .await;
}

#[tokio::test]
async fn floods_in_the_gecko_s_dialect_are_withstood() {
    let hello = json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g-NUMBER"});
    let client = json!({"messageType": "hello", "action": "client-hello", "authorization": "Bearer a-NUMBER",
        "source": "https://example.org/w.js", "webrtcOffer": "v=0"});
    let long = "i".repeat(90_000);
    withstand(&[
        Flood::new("garbage", "/worker", &[], &[json!("{\"messageType\":"), json!([]), json!({}), deep()]),
        Flood::new("long ids", "/worker", &[], &[json!({"messageType": "hello", "action": "worker-hello", "geckoId": long})]),
        Flood::new("again and again", "/worker", std::slice::from_ref(&hello), std::slice::from_ref(&hello)),
        Flood::new("to no session", "/worker", std::slice::from_ref(&hello), &[json!({"messageType": "worker-created", "workerId": "none", "webrtcAnswer": "v=0"})]),
        Flood::new("demands", "/", &[], std::slice::from_ref(&client)),
        Flood::new("candidates before there is anybody", "/", &[client], &[json!({"messageType": "ice", "action": "client-candidate", "candidate": {"candidate": "c"}}), json!({"messageType": "x"})]),
    ])
    .await;
}

#[tokio::test]
async fn who_comes_and_goes_all_the_time_leaves_nothing() {
    let mut scene = Scene::set(LIMITS, "").await;
    let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": {"room": "r-NUMBER", "user": "u"}});
    let kinds = [
        (
            "/register_device",
            json!({"message_type": "register", "device_id": "d-NUMBER"}).to_string(),
        ),
        (
            "/connect_client",
            json!({"message_type": "connect", "device_id": "innocent"}).to_string(),
        ),
        ("/", "HELLO p-NUMBER".to_owned()),
        ("/room", join.to_string()),
        (
            "/worker",
            json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g-NUMBER"})
                .to_string(),
        ),
    ];
    let come = async |from: usize| {
        for number in 0..100 {
            let (path, text) = &kinds[number % kinds.len()];
            let mut tcp = scene.server.tcp().await;
            open(&mut tcp, path).await;
            let text = text.replace("NUMBER", &format!("{from}-{number}"));
            say(&mut tcp, &frame(0x81, text.as_bytes())).await;
            if path != &"/worker" {
                let mut first = [0; 1];
                let _ = timeout(PATIENCE, tcp.read_exact(&mut first)).await.unwrap();
            }
            // With a reset, or as one should.
            match number % 2 {
                0 => reset(tcp),
                _ => say(&mut tcp, &frame(0x88, b"\x03\xe8")).await,
            }
        }
    };
    join_all((0..8).map(come)).await;
    for name in [
        "switchboard_rooms",
        "switchboard_kurento_sessions",
        "switchboard_geckos_away",
    ] {
        wait_until(PATIENCE, async || scene.server.metric(name).await == 0.0).await;
    }
    scene
        .server
        .wait_for_metric("switchboard_endpoints", 1.0)
        .await;
    scene.is_calm_again().await;
}

#[tokio::test]
async fn a_storm_of_members_in_a_large_room_stops_nobody() {
    let mut scene = Scene::set(LIMITS, "").await;
    scene.watch_memory();
    // Members with ids as long as may be, who don't read what they are told of the others.
    let long = "i".repeat(990);
    let mut members = Vec::new();
    for number in 0..90 {
        let mut tcp = scene.server.tcp().await;
        open(&mut tcp, "/").await;
        let hello = format!("HELLO m{number}-{long}");
        say(&mut tcp, &frame(0x81, hello.as_bytes())).await;
        say(&mut tcp, &frame(0x81, b"ROOM big")).await;
        members.push(tcp);
    }
    // Others who come, ask who is there without waiting for it, and go.
    let storm = async |from: usize| {
        for number in 0..40 {
            let mut tcp = scene.server.tcp().await;
            open(&mut tcp, "/").await;
            let hello = format!("HELLO s{from}-{number}");
            say(&mut tcp, &frame(0x81, hello.as_bytes())).await;
            say(&mut tcp, &frame(0x81, b"ROOM big")).await;
            // It may have been told goodbye already, for not reading.
            let _ = tcp
                .write_all(&frame(0x81, b"ROOM_PEER_LIST").repeat(5))
                .await;
            reset(tcp);
        }
    };
    join_all((0..4).map(storm)).await;
    let most = 94 * EACH + BESIDE;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    drop(members);
    scene.server.wait_for_metric("switchboard_rooms", 0.0).await;
    scene.is_calm_again().await;
}

#[tokio::test]
async fn names_longer_than_may_be_are_not_kept() {
    let mut scene = Scene::set("message_bytes = 1_000_000\nid_bytes = 100", "").await;
    scene.watch_memory();
    let long = "i".repeat(900_000);
    let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": {"room": long, "user": long}});
    for (path, text) in [
        ("/", format!("HELLO {long}")),
        ("/room", join.to_string()),
        (
            "/worker",
            json!({"messageType": "hello", "action": "worker-hello", "geckoId": long}).to_string(),
        ),
    ] {
        let mut streams = Vec::new();
        for _ in 0..5 {
            let mut stream = Way::Plain.connect(&scene.server).await;
            open(&mut *stream, path).await;
            say(&mut *stream, &frame(0x81, text.as_bytes())).await;
            streams.push(stream);
        }
        for mut stream in streams {
            say(&mut *stream, &frame(0x88, b"\x03\xe8")).await;
            assert!(close_code(&rest(&mut *stream).await).is_some(), "{path}");
        }
    }
    // What is said of it, is said in brief.
    assert!(
        scene.server.log().len() < 300_000,
        "{}",
        scene.server.log().len()
    );
    scene.is_calm_again().await;
}

#[tokio::test]
async fn who_never_polls_has_a_mailbox_of_its_size_and_no_more() {
    let mut scene = Scene::set(LIMITS, "").await;
    let mut device = scene.server.device("busy").await;
    let mut clients = 0;
    scene.watch_memory();
    loop {
        let answer = scene
            .server
            .post("/polled_connections", &json!({"device_id": "busy"}))
            .await;
        if answer.status != 200 {
            break;
        }
        clients += 1;
        assert!(clients <= 50, "there is a limit");
    }
    assert_eq!(clients, 50);
    let pad = "x".repeat(40_000);
    for _ in 0..10 {
        for client in 1..=50 {
            device.forward_to(client, &json!({ "pad": pad })).await;
        }
    }
    // The server has taken all of it when it answers this.
    device.forward_to(4_000, &json!(0)).await;
    assert!(device.recv_json().await["error"].is_string());
    // Each its bytes and a message.
    let most = 50 * (100_000 + 40_000) + BESIDE;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    drop(device);
    scene.is_calm_again().await;
}

#[tokio::test]
async fn receivers_that_never_read_take_their_queue_and_no_more() {
    let mut scene = Scene::set(LIMITS, "").await;
    let mut device = scene.server.device("busy").await;
    let mut deaf: Vec<Client> = Vec::new();
    for _ in 0..30 {
        deaf.push(scene.server.viewer("busy").await);
    }
    scene.watch_memory();
    let pad = "x".repeat(20_000);
    // The innocent one stays.
    let viewers = "switchboard_websockets{dialect=\"cuttlefish\",role=\"client\"}";
    let mut rounds = 0;
    while scene.server.metric(viewers).await > 1.0 {
        rounds += 1;
        assert!(rounds < 2_000, "each queue is bounded");
        for client in 1..=30 {
            device.forward_to(client, &json!({ "pad": pad })).await;
        }
        // It hears of those that are gone.
        while timeout(Duration::from_millis(1), device.socket.next())
            .await
            .is_ok()
        {}
    }
    let most = 30 * EACH + BESIDE;
    assert!(scene.grown_by() < most, "{} of {most}", scene.grown_by());
    drop((device, deaf));
    scene.is_calm_again().await;
}
