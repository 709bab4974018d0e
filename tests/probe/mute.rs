//! A server that takes everyone in, and forwards nothing.

use async_tungstenite::tokio::accept_hdr_async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

/// Starts it; its address.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    address
}

async fn serve(tcp: TcpStream) {
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "what the library asks for")]
    let note = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    // What asks for something else than a WebSocket gets nothing.
    let Ok(mut socket) = accept_hdr_async(tcp, note).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        for answer in answers(&path, &text) {
            if socket.send(Message::text(answer)).await.is_err() {
                return;
            }
        }
    }
}

/// What each dialect's server says to those who come. Nothing else is answered.
fn answers(path: &str, text: &str) -> Vec<&'static str> {
    const CONFIG: &str = r#"{"message_type":"config","ice_servers":[]}"#;
    const INFO: &str = r#"{"message_type":"device_info","device_info":{}}"#;
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    match (path, message["message_type"].as_str()) {
        ("/register_device", Some("register")) => vec![CONFIG],
        ("/connect_client", Some("connect")) => vec![CONFIG, INFO],
        ("/", None) if text.starts_with("HELLO") => vec!["HELLO"],
        ("/", None) if text.starts_with("SESSION") => vec!["SESSION_OK"],
        _ => Vec::new(),
    }
}
