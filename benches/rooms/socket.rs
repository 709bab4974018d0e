//! A WebSocket on which requests are answered one after the other, and other messages may come.

use std::time::Duration;

use async_tungstenite::WebSocketSender;
use async_tungstenite::tokio::{TokioAdapter, client_async};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::http::HeaderValue;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub(crate) struct Socket {
    sink: WebSocketSender<TokioAdapter<TcpStream>>,
    messages: mpsc::UnboundedReceiver<Value>,
}

impl Socket {
    /// Opens one, or gives none where nobody listens yet.
    pub(crate) async fn open(
        address: &str,
        path: &str,
        protocol: Option<&'static str>,
    ) -> Option<Self> {
        let tcp = TcpStream::connect(address).await.ok()?;
        tcp.set_nodelay(true).unwrap();
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .unwrap();
        if let Some(protocol) = protocol {
            let value = HeaderValue::from_static(protocol);
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", value);
        }
        let (stream, _) = client_async(request, tcp).await.unwrap();
        let (sink, mut stream) = stream.split();
        let (sender, messages) = mpsc::unbounded_channel();
        // Reads on, so that pings are answered and no server finds this client stuck.
        tokio::task::spawn_local(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Ok(text) = message.to_text() else { break };
                if let Ok(value) = serde_json::from_str(text) {
                    // Nobody listens after the last request.
                    let _ = sender.send(value);
                }
            }
        });
        Some(Self { sink, messages })
    }

    /// Sends a request, and gives the first message that answers it.
    pub(crate) async fn ask(
        &mut self,
        request: &Value,
        is_answer: impl Fn(&Value) -> bool,
    ) -> Value {
        let message = Message::text(request.to_string());
        self.sink.send(message).await.unwrap();
        let answer = async {
            loop {
                let message = self.messages.recv().await.expect("the server closed");
                if is_answer(&message) {
                    return message;
                }
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
        answer.unwrap_or_else(|_| panic!("no answer after 20 s to {}", request))
    }
}
