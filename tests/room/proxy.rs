//! A TCP proxy whose connections can be cut, and one that leads media over a bad link.

use std::sync::Arc;

use async_tungstenite::tokio::{accept_hdr_async, client_async};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use futures_util::StreamExt as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::badlink::{BadLink, Side};

/// Stands before a server. What goes through it ends with it.
pub(crate) struct Proxy {
    pub(crate) address: String,
    /// Counted up with each cut; whether new connections are taken.
    cuts: watch::Sender<(u32, bool)>,
}

impl Proxy {
    /// Takes connections for a server.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cuts, cut) = watch::channel((0, true));
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cut.clone());
                if !cut.borrow_and_update().1 {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cuts }
    }

    /// Cuts all connections; `open` says whether new ones are taken.
    pub(crate) fn cut(&self, open: bool) {
        self.cuts.send_modify(|(cuts, is_open)| {
            *cuts += 1;
            *is_open = open;
        });
    }
}

/// An address that stands for a server, whose one participant finds no way to it but over this link:
/// the server is its side A.
pub(crate) async fn over(link: &Arc<BadLink>, server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (link, server) = (Arc::clone(link), server.to_owned());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(carry(near, server.clone(), Arc::clone(&link)));
        }
    });
    address
}

/// Carries a WebSocket's messages with other candidates in them, and anything else as it is.
async fn carry(mut near: TcpStream, server: String, link: Arc<BadLink>) {
    let mut far = TcpStream::connect(&server).await.unwrap();
    let mut start = [0; 1024];
    let length = near.peek(&mut start).await.unwrap();
    let start = String::from_utf8_lossy(&start[..length]).to_lowercase();
    if !start.contains("upgrade: websocket") {
        let _ = copy_bidirectional(&mut near, &mut far).await;
        return;
    }
    let mut url = format!("ws://{server}");
    #[allow(clippy::result_large_err, reason = "the library's own type")]
    let look = |request: &Request, response: Response| {
        url += &request.uri().to_string();
        Ok(response)
    };
    let mut near = accept_hdr_async(near, look).await.unwrap();
    let (mut far, _) = client_async(url, far).await.unwrap();
    let through = |from: Side, message: Message| match message {
        Message::Text(text) => Message::text(link.text(from, &text)),
        other => other,
    };
    loop {
        let sent = tokio::select! {
            Some(Ok(message)) = near.next() => far.send(through(Side::B, message)).await,
            Some(Ok(message)) = far.next() => near.send(through(Side::A, message)).await,
            else => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
