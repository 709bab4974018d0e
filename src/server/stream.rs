//! A TCP connection, with or without TLS, whose writes can't stall for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

/// What carries one connection. A write, flush or shutdown that makes no progress for the given
/// time fails with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    patience: Duration,
    // Bytes that were read, and are not paid for.
    unpaid: usize,
    // Only while a write waits: most connections are idle, and a timer takes memory.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream, patience: Duration) -> Self {
        Self::new(Transport::Plain(tcp), patience)
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>, patience: Duration) -> Self {
        Self::new(Transport::Tls(Box::new(tls)), patience)
    }

    fn new(transport: Transport, patience: Duration) -> Self {
        Self {
            transport,
            patience,
            unpaid: 0,
            stalled: None,
        }
    }

    /// Bytes that were read since [`Self::pay`].
    pub(super) const fn unpaid(&self) -> usize {
        self.unpaid
    }

    /// The same, which count no more from now on.
    pub(super) const fn pay(&mut self) -> usize {
        std::mem::replace(&mut self.unpaid, 0)
    }

    fn or_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| {
            let text = format!(
                "the other side took nothing for {} s",
                patience.as_secs_f32()
            );
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        self.unpaid += buffer.filled().len() - before;
        poll
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        self.or_stalled(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        // A TCP stream has nothing to flush: its "ready" is no progress of a stalled write.
        if poll.is_ready() && matches!(self.transport, Transport::Plain(_)) {
            return poll;
        }
        self.or_stalled(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        };
        self.or_stalled(cx, poll)
    }
}
