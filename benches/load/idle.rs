//! Connections that are registered, or in a room, and say nothing but that they live.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::common::{Server, frame};

/// How many are opened at the same time.
const AT_ONCE: usize = 100;
/// Members of each room.
const ROOM: usize = 20;
/// What a server's ping is, and the answer to it.
const PING: &[u8] = &[0x89, 0];
const PONG: &[u8] = &[0x8A, 0x80, 0, 0, 0, 0];

/// Opens so many, a quarter in each dialect, and lets them be. Those that end are counted.
pub(crate) async fn open(server: &Server, count: usize, lost: &Arc<AtomicU64>) {
    let address: SocketAddr = server.address().parse().unwrap();
    let opening = (0..count).map(async |number| {
        let stream = registered(address, number).await;
        tokio::spawn(live(stream, Arc::clone(lost)));
    });
    stream::iter(opening)
        .buffer_unordered(AT_ONCE)
        .count()
        .await;
}

/// From another address of the loopback for each few hundred: an address has only so many ports.
async fn registered(address: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200 + 1).unwrap());
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let room = number / 4 / ROOM;
    let (path, said, last) = match number % 4 {
        0 => (
            "/",
            vec![format!("HELLO idle{number}"), format!("ROOM idle{room}")],
            "ROOM_OK",
        ),
        1 => {
            let params = json!({"room": format!("idle{room}"), "user": format!("idle{number}")});
            let join = json!({"jsonrpc": "2.0", "id": 1, "method": "joinRoom", "params": params});
            ("/room", vec![join.to_string()], "\"id\":1")
        }
        2 => {
            let register =
                json!({"message_type": "register", "device_id": format!("idle{number}")});
            ("/register_device", vec![register.to_string()], "config")
        }
        // Calls that wait would be refused, so this one is of a device that isn't there.
        _ => {
            let unknown = json!({"message_type": "waiting"});
            ("/connect_client", vec![unknown.to_string()], "error")
        }
    };
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    tcp.write_all(upgrade.as_bytes()).await.unwrap();
    until(&mut tcp, "\r\n\r\n").await;
    for text in said {
        tcp.write_all(&frame(0x81, text.as_bytes())).await.unwrap();
    }
    until(&mut tcp, last).await;
    tcp
}

async fn until(tcp: &mut TcpStream, last: &str) {
    let mut came = Vec::new();
    while !String::from_utf8_lossy(&came).contains(last) {
        let read = tcp.read_buf(&mut came).await.unwrap();
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&came));
    }
}

/// Answers pings, and drops what others say. A ping may come in halves.
async fn live(mut tcp: TcpStream, lost: Arc<AtomicU64>) {
    let mut bytes = [0; 512];
    let mut last = 0;
    while let Ok(read @ 1..) = tcp.read(&mut bytes).await {
        let all = [&[last], &bytes[..read]].concat();
        if all.windows(2).any(|it| it == PING) && tcp.write_all(PONG).await.is_err() {
            break;
        }
        last = bytes[read - 1];
    }
    lost.fetch_add(1, Ordering::Relaxed);
}
