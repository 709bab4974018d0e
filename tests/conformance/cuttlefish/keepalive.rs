//! A1, keepalive, with the decision of 3 s and 10 s for devices.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::refused;
use crate::common::{Server, frame, raw_ws, read_frame};

/// The first bytes of frames.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;

#[tokio::test]
async fn a_silent_device_is_pinged_after_3_s_and_hung_up_on_after_10_more() {
    let server = Server::start(&[]).await;
    let (mut silent, mut alive) =
        tokio::join!(registered(&server, "silent"), registered(&server, "alive"));
    let begun = Instant::now();
    let mut client = server.viewer("silent").await;
    let hung_up = async {
        assert_eq!(read_frame(&mut silent).await, (PING, vec![]));
        // A margin below, for clocks; none above, for busy machines.
        let pinged = begun.elapsed();
        assert!(pinged > Duration::from_millis(2_500), "{pinged:?}");
        let (first, reason) = read_frame(&mut silent).await;
        assert_eq!((first, &reason[..2]), (CLOSE, &1011_u16.to_be_bytes()[..]));
        let closed = begun.elapsed();
        assert!(closed > Duration::from_millis(9_500), "{closed:?}");
        refused(&mut client, "Device disconnected").await;
        // The id is free: the device's next try succeeds at once.
        server.device("silent").await
    };
    let answers = async {
        loop {
            assert_eq!(read_frame(&mut alive).await, (PING, vec![]));
            alive.write_all(&frame(PONG, b"")).await.unwrap();
        }
    };
    tokio::select! {
        _again = hung_up => {}
        () = answers => {}
    }
    let _client = server.viewer("alive").await;
}

/// A device that answers nothing by itself.
async fn registered(server: &Server, id: &str) -> TcpStream {
    let mut device = raw_ws(server, "/register_device").await;
    let register = format!(r#"{{"message_type":"register","device_id":"{id}"}}"#);
    device
        .write_all(&frame(TEXT, register.as_bytes()))
        .await
        .unwrap();
    let (first, config) = read_frame(&mut device).await;
    assert_eq!(first, TEXT);
    assert!(String::from_utf8(config).unwrap().contains("config"));
    device
}
