use super::*;
use crate::cli::top::units::cut;

fn look(at: f64, server: Value, lists: &[(View, Value)]) -> Look {
    let list = |value: &Value| -> Vec<Map<String, Value>> {
        serde_json::from_value(value.clone()).unwrap()
    };
    Look {
        at,
        server: serde_json::from_value(server).unwrap(),
        lists: lists.iter().map(|(view, it)| (*view, list(it))).collect(),
    }
}

fn server(messages: u64, cpu: f64, started: &str) -> Value {
    json!({
        "version": "0.1.0", "started": started, "uptime_seconds": 7_300.5, "phase": "serving",
        "counts": {"connections": 8, "endpoints": 1, "rooms": 2},
        "totals": {"messages": messages, "media_bytes_in": messages * 1_000},
        "cpu_seconds": cpu, "memory_bytes": 23_400_000, "threads": 9,
        "limits": {"connections": 10, "endpoints": 100, "handshake": 10.0},
    })
}

fn lines(model: &Model, view: View, order: Order) -> Vec<String> {
    let (head, mut rows) = model.table(view, order).lines(None, 200);
    rows.insert(0, head);
    rows
}

#[test]
fn rates_come_from_two_looks_at_the_same_server() {
    let mut model = Model::default();
    model.take(look(1.0, server(1_000, 5.0, "a"), &[]));
    assert!(model.head("u").join("\n").contains("messages - ("));
    assert_eq!(model.json()["rates"]["messages"], Value::Null);
    model.take(look(3.0, server(1_100, 5.5, "a"), &[]));
    let head = model.head("http://host:1").join("\n");
    for words in [
        "Switchboard 0.1.0 at http://host:1: serving, up 2 h",
        "messages 50/s",
        "media in 400 kbit/s",
        "processor 25 % of a core, memory 23 MB",
        "limits used: connections 80 %",
    ] {
        assert!(head.contains(words), "no {words} in {head}");
    }
    assert_eq!(model.json()["rates"]["messages"], 50.0);
    assert_eq!(model.json()["rates"]["cpu"], 0.25);
    model.take(look(5.0, server(3, 0.1, "b"), &[]));
    assert_eq!(
        model.json()["rates"]["messages"],
        Value::Null,
        "it was started anew"
    );
}

#[test]
fn tables_are_in_columns_and_in_order_with_what_is_not_known_last() {
    let endpoints = json!([
        {"dialect": "cuttlefish", "kind": "device", "id": "b", "calls": 2, "connection": 7},
        {"dialect": "gstreamer", "kind": "peer", "id": "a", "calls": 10, "state": "idle", "connection": 8},
        {"dialect": "gecko", "kind": "gecko", "id": "c"},
    ]);
    let mut model = Model::default();
    model.take(look(
        1.0,
        server(0, 0.0, "a"),
        &[(View::Endpoints, endpoints)],
    ));
    let by_id = lines(&model, View::Endpoints, Order::FIRST);
    assert_eq!(
        by_id[0],
        "ENDPOINT  DIALECT     KIND    STATE  CALLS  FOR  CONNECTION"
    );
    assert_eq!(
        by_id[1],
        "a         gstreamer   peer    idle      10    -           8"
    );
    assert_eq!(
        by_id[2],
        "b         cuttlefish  device  -          2    -           7"
    );
    let by_calls = |down| {
        let rows = lines(&model, View::Endpoints, Order { column: 4, down });
        rows[1..]
            .iter()
            .map(|row| row[..1].to_owned())
            .collect::<String>()
    };
    assert_eq!(by_calls(true), "abc");
    assert_eq!(by_calls(false), "bac");
}

#[test]
fn each_media_connection_of_a_room_has_its_rate_and_its_trouble() {
    let rooms = |bytes: u64| {
        json!([
            {"dialect": "gstreamer", "kind": "mesh", "id": "7", "members": ["1", "2"]},
            {"dialect": "kurento", "kind": "forwarding", "id": "lab", "members": ["anna", "bob"],
             "participants": [
                {"user": "anna", "publishing": true, "muted": {"audio": true, "video": false}, "media": [
                    {"state": "connected", "bytes_in": bytes, "bytes_out": 0, "rtt_ms": 23.4, "loss": 0.012},
                    {"of": "bob", "state": "connecting", "bytes_in": 0, "bytes_out": 0, "why": "no answer"},
                ]},
                {"user": "bob", "away": true},
            ]},
        ])
    };
    let mut model = Model::default();
    model.take(look(1.0, server(0, 0.0, "a"), &[(View::Rooms, rooms(0))]));
    model.take(look(
        3.0,
        server(0, 0.0, "a"),
        &[(View::Rooms, rooms(250_000))],
    ));
    let lines = lines(&model, View::Rooms, Order::FIRST);
    assert_eq!(lines.len(), 6);
    for words in [
        "sends",
        "connected",
        "1.0 Mbit/s",
        "1.2 %",
        "23 ms",
        "sound muted",
    ] {
        assert!(lines[3].contains(words), "no {words} in {}", lines[3]);
    }
    assert!(lines[4].contains("gets bob") && lines[4].ends_with("no answer"));
    assert!(lines[5].contains("none") && lines[5].contains("away"));
    let table = model.table(View::Rooms, Order::FIRST);
    assert_eq!(table.rows[0].target, None, "mesh rooms have endpoints");
    let target = table.rows[2].target.as_ref().unwrap();
    assert_eq!(target.path, "/api/rooms/lab/participants/anna");
}

#[test]
fn connections_that_just_came_have_no_rate() {
    let connections = |ids: &[u64], bytes: u64| {
        let one = |id: &u64| json!({"id": id, "address": "10.0.0.1:5", "secure": true, "bytes_in": bytes, "bytes_out": 0});
        Value::Array(ids.iter().map(one).collect())
    };
    let mut model = Model::default();
    let list = |list| [(View::Connections, list)];
    model.take(look(1.0, server(0, 0.0, "a"), &list(connections(&[5], 0))));
    model.take(look(
        2.0,
        server(0, 0.0, "a"),
        &list(connections(&[5, 6], 70)),
    ));
    let lines = lines(&model, View::Connections, Order::FIRST);
    assert!(
        lines[1].contains("70 B/s") && lines[1].contains("10.0.0.1:5 TLS"),
        "{}",
        lines[1]
    );
    assert!(!lines[2].contains("B/s"), "{}", lines[2]);
}

#[test]
fn names_from_the_network_neither_steer_the_terminal_nor_leave_their_path() {
    let id = "../x\u{1b}[2J\u{202e}?ü";
    let endpoints = json!([{"dialect": "gecko", "kind": "gecko", "id": id}]);
    let mut model = Model::default();
    model.take(look(
        1.0,
        server(0, 0.0, "a"),
        &[(View::Endpoints, endpoints)],
    ));
    let table = model.table(View::Endpoints, Order::FIRST);
    let (_, rows) = table.lines(None, 200);
    assert!(
        rows[0].starts_with("../x\u{fffd}[2J\u{fffd}?ü"),
        "{}",
        rows[0]
    );
    let target = table.rows[0].target.as_ref().unwrap();
    assert_eq!(
        target.path,
        "/api/endpoints/gecko/%2E%2E%2Fx%1B%5B2J%E2%80%AE%3F%C3%BC"
    );
    assert!(!target.name.contains('\u{1b}'));
}

#[test]
fn a_line_has_no_more_columns_than_the_screen() {
    assert_eq!(cut("abc", 3), "abc");
    assert_eq!(cut("abcd", 3), "ab…");
    assert_eq!(cut("日本語", 5), "日本…");
    assert_eq!(cut("日本語", 4), "日…");
    assert_eq!(cut("abc", 0), "");
}

#[test]
fn numbers_are_short() {
    assert_eq!(
        (bytes(0.0), bytes(999.6), bytes(23_400_000.0)),
        ("0 B".into(), "1.0 kB".into(), "23 MB".into())
    );
    assert_eq!(
        (span(59.9), span(61.0), span(7_300.0), span(200_000.0)),
        ("59 s".into(), "1 min".into(), "2 h".into(), "2 d".into())
    );
    assert_eq!(
        (percent(0.0), percent(0.004), percent(0.5)),
        ("0 %".into(), "0.4 %".into(), "50 %".into())
    );
}
