//! Who is told of which ICE servers, and with which credentials, in each dialect.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::common::{Answer, Client, Server};

const STATIC: &str = r#"
[[ice.servers]]
urls = ["stun:stun.example.org"]

[[ice.servers]]
urls = ["turns:turn.example.org:443?transport=tcp"]
username = "u"
credential = "c"
"#;

const MINTED: &str = r#"
[ice]
secret = "north"
lifetime = 600

[[ice.servers]]
urls = ["stun:stun.example.org"]

[[ice.servers]]
urls = ["turn:turn.example.org?transport=udp", "turn:turn.example.org?transport=tcp"]

[[ice.servers]]
urls = ["turn:other.example.org"]
username = "u"
credential = "c"
"#;

/// The list of [`STATIC`].
fn list() -> Value {
    json!([
        {"urls": ["stun:stun.example.org"]},
        {"urls": ["turns:turn.example.org:443?transport=tcp"], "username": "u", "credential": "c"},
    ])
}

/// Checks the list of [`MINTED`], and gives the user name in it.
fn minted(list: &Value) -> String {
    let turn = &list[1];
    let username = turn["username"].as_str().unwrap().to_owned();
    let (expiry, name) = username.split_once(':').unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = expiry.parse::<u64>().unwrap() - now.as_secs();
    assert!((500..=600).contains(&left), "{left} s");
    assert!(!name.is_empty());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"north");
    let password = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    let expected = json!([
        {"urls": ["stun:stun.example.org"]},
        {
            "urls": ["turn:turn.example.org?transport=udp", "turn:turn.example.org?transport=tcp"],
            "username": username,
            "credential": password,
        },
        {"urls": ["turn:other.example.org"], "username": "u", "credential": "c"},
    ]);
    assert_eq!(*list, expected);
    username
}

/// A gecko and a client that has got its answer: what each was told.
async fn worker(server: &Server) -> (Value, Value) {
    let mut gecko = server.ws("/worker").await;
    let hello = json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g"});
    gecko.send_json(&hello).await;
    server.wait_for_metric("switchboard_endpoints", 1.0).await;
    let mut client = server.ws("/").await;
    client
        .send_json(&json!({
            "messageType": "hello",
            "action": "client-hello",
            "authorization": "Bearer t",
            "source": "https://example.org/worker.js",
            "webrtcOffer": "v=0",
        }))
        .await;
    let demand = gecko.recv_json().await;
    let id = demand["workerId"].as_str().unwrap();
    gecko
        .send_json(&json!({"messageType": "worker-created", "workerId": id, "webrtcAnswer": "v=0"}))
        .await;
    (demand, client.recv_json().await)
}

async fn config(mut client: Client, first: Value) -> Value {
    client.send_json(&first).await;
    let config = client.recv_json().await;
    assert_eq!(config["message_type"], "config");
    config["ice_servers"].clone()
}

/// What a new device and a new client are told.
async fn cuttlefish(server: &Server) -> [Value; 2] {
    let register = json!({"message_type": "register", "device_id": "d", "device_info": {}});
    let connect = json!({"message_type": "connect", "device_id": "x"});
    [
        config(server.ws("/register_device").await, register).await,
        config(server.ws("/connect_client").await, connect).await,
    ]
}

fn is_open_and_not_stored(answer: &Answer) {
    for line in ["access-control-allow-origin: *", "cache-control: no-store"] {
        assert!(answer.head.contains(line), "{}", answer.head);
    }
}

#[tokio::test]
async fn the_same_list_reaches_every_dialect_in_its_own_form() {
    let server = Server::configured(STATIC, &[]).await;
    let answer = server.get("/ice-servers").await;
    assert_eq!(answer.status, 200);
    is_open_and_not_stored(&answer);
    assert!(answer.head.contains("content-type: application/json"));
    assert_eq!(answer.json(), json!({ "iceServers": list() }));
    assert_eq!(cuttlefish(&server).await, [list(), list()]);
    let infra = server.get("/infra_config").await;
    assert_eq!(infra.json()["ice_servers"], list());
    let (demand, hello) = worker(&server).await;
    assert_eq!(
        (&demand["iceServers"], &hello["iceServers"]),
        (&list(), &list())
    );
    assert_eq!(hello["webrtcAnswer"], "v=0");
}

#[tokio::test]
async fn each_session_gets_a_credential_of_its_own_from_the_shared_secret() {
    let server = Server::configured(MINTED, &[]).await;
    let [device, client] = cuttlefish(&server).await;
    let mut names = vec![minted(&device), minted(&client)];
    for path in ["/ice-servers", "/ice-servers"] {
        let answer = server.get(path).await.json();
        assert_eq!(answer["ttl"], 600);
        names.push(minted(&answer["iceServers"]));
    }
    let infra = server.get("/infra_config").await;
    assert!(infra.head.contains("cache-control: no-store"));
    names.push(minted(&infra.json()["ice_servers"]));
    let (demand, hello) = worker(&server).await;
    // Client and gecko are one session.
    assert_eq!(demand["iceServers"], hello["iceServers"]);
    names.push(minted(&demand["iceServers"]));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
    assert!(!server.log().contains("north"));
}

#[tokio::test]
async fn without_ice_servers_nothing_is_added() {
    let server = Server::start(&[]).await;
    let answer = server.get("/ice-servers").await;
    assert_eq!(answer.json(), json!({ "iceServers": [] }));
    let (demand, hello) = worker(&server).await;
    assert!(demand.get("iceServers").is_none() && hello.get("iceServers").is_none());
}

#[tokio::test]
async fn where_tokens_are_asked_for_the_list_needs_one_from_a_page_of_any_origin() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let token = "[[tokens]]\ntoken = \"t\"\nuser = \"u\"\nscopes = [\"remote_server\"]\n";
    std::fs::write(&file, token).unwrap();
    let config = format!("{STATIC}\n[accounts.static]\nfile = \"{}\"", file.display());
    let server = Server::configured(&config, &[]).await;
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Basic dTpw\r\n", 401),
        ("Authorization: Bearer t\r\n", 200),
    ] {
        let answer = server.request("GET", "/ice-servers", headers, "").await;
        assert_eq!(answer.status, status, "{headers}");
        is_open_and_not_stored(&answer);
        assert_eq!(
            answer.head.contains("www-authenticate: bearer"),
            status == 401
        );
        assert_eq!(answer.body.contains("turn.example.org"), status == 200);
    }
    let asked = "Origin: https://page.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    let answer = server.request("OPTIONS", "/ice-servers", asked, "").await;
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .head
            .contains("access-control-allow-headers: authorization")
    );
    assert_eq!(server.post("/ice-servers", &json!({})).await.status, 405);
}
