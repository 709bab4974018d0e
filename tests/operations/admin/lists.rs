//! Who is connected, registered, and talks with whom.

use super::*;
use crate::common::{PATIENCE, wait_until};

#[tokio::test]
async fn the_server_tells_of_itself() {
    let server = Server::configured("[limits]\nadmin_page = 7", &[]).await;
    let _device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    viewer.forward(&json!("hello")).await;
    let is_relayed = async || get(&server, "/api/server").await["totals"]["messages"] == 1;
    wait_until(PATIENCE, is_relayed).await;
    let told = get(&server, "/api/server").await;
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["phase"], "serving");
    let counts = &told["counts"];
    let shown = [
        "websockets",
        "endpoints",
        "calls",
        "rooms",
        "polling_clients",
    ];
    assert_eq!(
        shown.map(|name| counts[name].as_u64().unwrap()),
        [2, 1, 1, 0, 0]
    );
    assert!(counts["connections"].as_u64() >= Some(2), "{told}");
    assert_eq!(told["totals"]["bytes"], 7);
    assert_eq!(told["limits"]["admin_page"], 7);
    assert_eq!(told["limits"]["handshake"], 10.0);
    for name in ["memory_bytes", "open_files", "threads"] {
        assert!(told[name].as_u64() > Some(1), "{name}: {told}");
    }
}

/// A connection's dialect, role and endpoint.
fn who(connection: &Value) -> [String; 3] {
    ["dialect", "role", "endpoint"].map(|name| connection[name].as_str().unwrap_or("-").to_owned())
}

#[tokio::test]
async fn connections_of_all_dialects_are_shown_with_what_they_send() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    let _peer = peer(&server, "p").await;
    let _gecko = gecko(&server).await;
    let _participant = participant(&server, "r", "u").await;
    viewer.forward(&json!("hello")).await;
    device.recv_json().await;
    let open = json!({ "device_id": "d" });
    let polling = server.post("/polled_connections", &open).await.json();
    let own = polling["connection_id"].as_str().unwrap();
    let forward = json!({ "payload": "from far" });
    let path = format!("/polled_connections/{own}/:forward");
    assert_eq!(server.post(&path, &forward).await.status, 200);
    device.recv_json().await;
    device.forward_to(2, &json!("to far")).await;
    let all = || get(&server, "/api/connections");
    wait_until(PATIENCE, async || {
        all().await["connections"][6]["queued_messages"] == 1
    })
    .await;
    let all = all().await;
    assert_eq!(all["total"], 7);
    let connections = all["connections"].as_array().unwrap();
    let shown: Vec<_> = connections.iter().map(who).collect();
    let expected = [
        ["cuttlefish", "device", "d"],
        ["cuttlefish", "client", "-"],
        ["gstreamer", "peer", "p"],
        ["gecko", "gecko", "g"],
        ["gecko", "client", "-"],
        ["kurento", "participant", "-"],
        ["cuttlefish", "client", "-"],
    ];
    assert_eq!(shown, expected.map(|it| it.map(str::to_owned)));
    let numbers = |at: usize| {
        let of = |name: &str| connections[at][name].as_u64().unwrap();
        (of("messages_in"), of("messages_out"))
    };
    // The device: registered, and has told somebody something; heard its configuration and two calls.
    assert_eq!(numbers(0), (2, 3));
    assert_eq!(numbers(1), (2, 2));
    assert_eq!(numbers(2), (1, 1));
    assert_eq!(numbers(6), (1, 0));
    assert_eq!(connections[6]["bytes_in"], 10);
    let viewer = &connections[1];
    assert_eq!(
        (&viewer["secure"], &viewer["address"]),
        (&json!(false), &json!("127.0.0.1"))
    );
    assert!(viewer["bytes_in"].as_u64() > Some(20), "{viewer}");
    // It takes what waits.
    let messages = format!("/polled_connections/{own}/messages?start=0");
    assert_eq!(server.get(&messages).await.status, 200);
    let one = get(&server, "/api/connections?dialect=cuttlefish").await;
    assert_eq!(one["connections"][2]["messages_out"], 1);
}

#[tokio::test]
async fn lists_come_in_pages_and_by_what_is_asked_for() {
    let server = Server::configured("[limits]\nadmin_page = 3", &[]).await;
    let mut peers = Vec::new();
    for number in 0..5 {
        peers.push(peer(&server, &format!("p{number}")).await);
    }
    let _device = server.device("d").await;
    let _viewers = (server.viewer("d").await, server.viewer("d").await);
    let ids = |page: &Value, of: &str| -> Vec<String> {
        let all = page[of].as_array().unwrap().iter();
        all.map(|it| it["id"].to_string().replace('"', ""))
            .collect()
    };
    let mut seen = Vec::new();
    loop {
        let after = seen
            .last()
            .map_or(String::new(), |last| format!("&after={last}"));
        let page = get(&server, &format!("/api/connections?limit=100{after}")).await;
        assert_eq!(page["total"], 8);
        let page = ids(&page, "connections");
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by_key(|id| id.parse::<u64>().unwrap()));
    let page = get(&server, "/api/connections?dialect=cuttlefish&limit=2").await;
    assert_eq!(
        (ids(&page, "connections").len(), &page["total"]),
        (2, &json!(3))
    );
    let page = get(&server, "/api/connections?endpoint=p3").await;
    assert_eq!(ids(&page, "connections"), [seen[3].clone()]);
    let unknown = asks(&server, "GET", "/api/connections?dialect=latin", "").await;
    assert_eq!(unknown.0, 400);
    let first = get(&server, "/api/calls?limit=1").await;
    assert_eq!(
        (ids(&first, "calls").len(), &first["total"]),
        (1, &json!(2))
    );
    let after = &ids(&first, "calls")[0];
    let second = get(&server, &format!("/api/calls?after={after}")).await;
    assert_eq!(ids(&second, "calls").len(), 1);
    assert_ne!(ids(&second, "calls"), ids(&first, "calls"));
}

#[tokio::test]
async fn one_endpoint_is_shown_with_its_connection_whatever_its_id() {
    let server = Server::start(&[]).await;
    let _device = server.device("a/b c?").await;
    let all = get(&server, "/api/endpoints").await;
    let one = get(&server, "/api/endpoints/cuttlefish/a%2Fb%20c%3F").await;
    assert_eq!(one["id"], "a/b c?");
    assert_eq!(one["connection"], all["endpoints"][0]["connection"]);
    let gone = asks(&server, "GET", "/api/endpoints/gstreamer/a%2Fb%20c%3F", "").await;
    assert_eq!(gone.0, 404);
    let (_gecko, _client, _) = gecko(&server).await;
    assert_eq!(
        get(&server, "/api/endpoints/gecko/g").await["kind"],
        "gecko"
    );
}

#[tokio::test]
async fn calls_pairs_and_sessions_are_shown_with_what_is_said() {
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut viewer = server.viewer("d").await;
    for _ in 0..2 {
        viewer.forward(&json!("hello")).await;
        device.recv_json().await;
    }
    device.forward_to(1, &json!("hello")).await;
    viewer.recv_json().await;
    let (mut caller, mut callee) = pair(&server, "one", "two").await;
    callee.send_text("from the callee").await;
    caller.recv_text().await;
    let (_gecko, _client, worker) = gecko(&server).await;
    let told = get(&server, "/api/calls").await;
    let shown: Vec<_> = told["calls"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|it| {
            json!([
                it["dialect"],
                it["endpoint"],
                it["messages_to_endpoint"],
                it["messages_to_caller"]
            ])
        })
        .collect();
    let expected = [
        json!(["cuttlefish", "d", 2, 1]),
        json!(["gstreamer", "two", 0, 1]),
        json!(["gecko", "g", 1, 0]),
    ];
    assert_eq!(shown, expected);
    let call = &told["calls"][0];
    let connections = get(&server, "/api/connections").await;
    let id = |at: usize| connections["connections"][at]["id"].clone();
    assert_eq!(
        (&call["endpoint_connection"], &call["caller"]),
        (&id(0), &id(1))
    );
    let call = &told["calls"][1];
    assert_eq!(
        (&call["caller"], &call["endpoint_connection"]),
        (&id(2), &id(3))
    );
    assert_eq!(told["calls"][2]["id"], format!("session-{worker}"));
}

#[tokio::test]
async fn rooms_are_shown_one_by_one() {
    let server = Server::start(&[]).await;
    let _a = participant(&server, "r", "a").await;
    let _b = participant(&server, "r", "b").await;
    let _c = participant(&server, "s", "c").await;
    let all = get(&server, "/api/rooms").await;
    let one = get(&server, "/api/rooms/r").await;
    assert_eq!(one, all[0]);
    let connections = get(&server, "/api/connections?dialect=kurento").await;
    let b = &one["participants"][1];
    assert_eq!(b["connection"], connections["connections"][1]["id"]);
    assert_eq!(b["muted"], json!({ "audio": false, "video": false }));
}
