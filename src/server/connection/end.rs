//! How a conversation ends, and what the other side is told.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;

use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use futures_util::{Sink as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tracing::{Span, debug};

use super::Connection;
use crate::server::outbox::Ended;

/// How a conversation ended.
pub(super) enum End {
    /// The server closes.
    Close {
        code: u16,
        reason: Cow<'static, str>,
    },
    /// The other side broke the WebSocket protocol; nothing more can be read as frames.
    Broken { code: u16, reason: &'static str },
    /// The other side closed, with this code.
    PeerClosed(u16),
    /// The TCP connection is no more.
    Lost,
}

impl Connection {
    pub(super) fn report(&self, end: &End, span: &Span) {
        let (by, code) = match *end {
            End::Close { code, .. } | End::Broken { code, .. } => ("server", code),
            End::PeerClosed(code) => ("peer", code),
            End::Lost => ("peer", 1006),
        };
        self.app.metrics.websocket_closed(by, code);
        span.in_scope(|| debug!(by, code, "WebSocket closed"));
    }

    /// The closing handshake, within [`Limits::write`](crate::config::Limits::write). Everything
    /// that the other side still sends is read: if it weren't, its TCP stack would be told of a
    /// reset, and would throw away the last frames that it was sent.
    pub(super) async fn close(&mut self, end: End) {
        let patience = self.app.config.limits.write;
        // Whatever fails here, the connection ends.
        let _ = timeout(patience, async {
            match end {
                End::Close { code, reason } => {
                    self.socket.close(Some(close_frame(code, reason))).await?;
                    while let Some(Ok(_)) = self.socket.next().await {}
                    self.finish(false).await
                }
                End::Broken { code, reason } => {
                    let frame = close_frame(code, reason.into());
                    self.socket.close(Some(frame)).await?;
                    self.finish(true).await
                }
                End::PeerClosed(_) => {
                    poll_fn(|cx| Pin::new(&mut self.socket).poll_flush(cx)).await?;
                    self.finish(false).await
                }
                End::Lost => Ok(()),
            }
        })
        .await;
    }

    async fn finish(&mut self, drain: bool) -> Result<(), Error> {
        let stream = self.socket.get_mut().get_mut();
        stream.shutdown().await?;
        if drain {
            tokio::io::copy(stream, &mut tokio::io::sink()).await?;
        }
        Ok(())
    }
}

pub(super) fn end_by(ended: Ended) -> End {
    match ended {
        Ended::Overflowed => too_slow(),
        Ended::Flooded => close(1013, "more than the other side takes"),
        Ended::ShuttingDown => close(1001, "the server is shutting down"),
        Ended::TokenExpired => close(1008, "the token has expired"),
        Ended::TokenRevoked => close(1008, "the token was revoked"),
        Ended::Kicked(reason) => End::Close {
            code: 1008,
            reason: reason.as_str().to_owned().into(),
        },
    }
}

pub(super) fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Broken {
            code: 1009,
            reason: "the message is too big",
        },
        Error::Utf8(_) => not_utf8(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        Error::Protocol(_) => End::Broken {
            code: 1002,
            reason: "protocol error",
        },
        _ => End::Lost,
    }
}

fn not_utf8() -> End {
    End::Broken {
        code: 1007,
        reason: "the text is not UTF-8",
    }
}

pub(super) fn too_slow() -> End {
    close(1013, "too slow")
}

pub(super) const fn close(code: u16, reason: &'static str) -> End {
    let reason = Cow::Borrowed(reason);
    End::Close { code, reason }
}

fn close_frame(code: u16, reason: Cow<'static, str>) -> CloseFrame {
    CloseFrame {
        code: code.into(),
        reason: match reason {
            Cow::Borrowed(reason) => reason.into(),
            Cow::Owned(reason) => reason.into(),
        },
    }
}
