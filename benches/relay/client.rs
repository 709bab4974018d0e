//! Clients that cost as little as possible: they write frames that are made already, and of what
//! comes they only count the bytes.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::Server;

/// Bytes of a message.
pub(crate) const PAYLOAD: usize = 400;
/// Bytes of a frame with such a message, as a server sends it.
pub(crate) const RECEIVED: usize = 4 + PAYLOAD;

/// Opens a WebSocket.
pub(crate) async fn open(server: &Server) -> io::Result<TcpStream> {
    upgraded(connected(server).await?, server.token).await
}

/// Opens a WebSocket and registers.
pub(crate) async fn hello(server: &Server, id: &str) -> io::Result<TcpStream> {
    let mut tcp = open(server).await?;
    ask(&mut tcp, &format!("HELLO {id}"), "HELLO").await?;
    Ok(tcp)
}

/// The same over TLS.
pub(crate) async fn secure_hello(
    server: &Server,
    tls: &TlsConnector,
    id: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tls.connect(name, connected(server).await?).await?;
    let mut stream = upgraded(stream, server.token).await?;
    ask(&mut stream, &format!("HELLO {id}"), "HELLO").await?;
    Ok(stream)
}

async fn connected(server: &Server) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(&server.address).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn upgraded<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    token: Option<&str>,
) -> io::Result<S> {
    let authorization = token.map(|it| format!("Authorization: Bearer {it}\r\n"));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        authorization.unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).await?;
    // Nothing follows the head until this side has spoken.
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    Ok(stream)
}

/// Opens pairs that are in a session.
pub(crate) async fn pairs(server: &Server, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let mut pairs = Vec::new();
    for n in 0..count {
        pairs.push(if server.is_floor {
            let mut one = open(server).await.unwrap();
            ask(&mut one, &n.to_string(), "ok").await.unwrap();
            let mut other = open(server).await.unwrap();
            ask(&mut other, &n.to_string(), "ok").await.unwrap();
            (one, other)
        } else {
            let other = hello(server, &format!("b{n}")).await.unwrap();
            let mut one = hello(server, &format!("a{n}")).await.unwrap();
            let call = format!("SESSION b{n}");
            ask(&mut one, &call, "SESSION_OK").await.unwrap();
            (one, other)
        });
    }
    pairs
}

/// Sends a short text, and awaits a short one.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
    answer: &str,
) -> io::Result<()> {
    stream.write_all(&frame(text.as_bytes())).await?;
    let mut received = vec![0; 2 + answer.len()];
    stream.read_exact(&mut received).await?;
    assert_eq!(&received[2..], answer.as_bytes());
    Ok(())
}

/// The frame of a message.
pub(crate) fn message() -> Vec<u8> {
    frame(&[b'x'; PAYLOAD])
}

/// A text frame with a mask that is not zero, as those of real clients.
fn frame(payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}
