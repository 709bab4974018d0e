//! GStreamer's simple signalling: gst.md A.1 to A.7, with the decisions in its A.9.

mod crowd;
mod hello;
mod room;
mod schedule;

mod session;
mod slow;
mod transport;

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::common::{Client, PATIENCE, Server};

/// A peer's WebSocket.
struct Peer(Client);

impl Peer {
    /// Connected, and silent.
    async fn connect(server: &Server) -> Self {
        Self(server.ws("/").await)
    }

    /// Registered.
    async fn hello(server: &Server, id: &str) -> Self {
        let mut peer = Self::connect(server).await;
        peer.say(&format!("HELLO {id}")).await;
        peer.hears("HELLO").await;
        peer
    }

    /// Registered, and in a room with nobody else.
    async fn first_in(server: &Server, id: &str, room: &str) -> Self {
        let mut peer = Self::hello(server, id).await;
        peer.say(&format!("ROOM {room}")).await;
        peer.hears("ROOM_OK ").await;
        peer
    }

    /// Two that are in a session; the first one called.
    async fn pair(server: &Server, caller: &str, callee: &str) -> (Self, Self) {
        let mut one = Self::hello(server, caller).await;
        let other = Self::hello(server, callee).await;
        one.say(&format!("SESSION {callee}")).await;
        one.hears("SESSION_OK").await;
        (one, other)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await;
    }

    async fn say_binary(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await;
    }

    /// The next frame that isn't a ping.
    async fn next(&mut self) -> Message {
        loop {
            let next = timeout(PATIENCE, self.0.socket.next());
            match next.await.expect("a frame in time") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return message,
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// The next text.
    async fn line(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next frame is this text.
    #[track_caller]
    fn hears(&mut self, text: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let line = self.line().await;
            assert_eq!(line, text, "at {at}");
        }
    }

    /// Says something, and the next frame is this text.
    #[track_caller]
    fn gets(&mut self, said: &str, answer: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            self.say(said).await;
            let line = self.line().await;
            assert_eq!(line, answer, "to {said:?} at {at}");
        }
    }

    /// An idle peer was told nothing more: the next frame is the answer to a question.
    async fn hears_nothing_when_idle(&mut self) {
        self.gets(
            "SESSION nobody-has-this",
            "ERROR peer 'nobody-has-this' not found",
        )
        .await;
    }

    /// A member was told nothing more.
    async fn hears_nothing_in_room(&mut self) {
        self.gets("?", "ERROR invalid msg, already in room").await;
    }

    /// The connection is closed next, without any other frame.
    async fn is_closed_next(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => {
                let close = (frame.code.into(), frame.reason.to_string());
                while let Some(Ok(_)) = self.0.socket.next().await {}
                close
            }
            other => panic!("no close: {other:?}"),
        }
    }

    /// Ends the connection with a closing handshake of this peer.
    async fn close(mut self) {
        let _ = self.0.socket.close(None).await;
        while let Some(Ok(_)) = self.0.socket.next().await {}
    }

    /// Ends the TCP connection, without a goodbye and with a reset.
    fn reset(self) {
        let tcp = self.0.socket.into_inner().into_inner();
        tcp.set_zero_linger().unwrap();
    }
}

/// A close as [`Peer::is_closed_next`] gives it.
fn close(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}
