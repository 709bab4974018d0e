//! The `adb-channel`: a viewer's adb transport, carried to a TCP address.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

/// How long the TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that wait for the TCP side; one more ends the transport, which adb can open anew.
const QUEUE: usize = 256;
/// Bytes in one message to the viewer. SCTP carries 64 KiB everywhere; less keeps other channels fluent.
const CHUNK: usize = 16 * 1024;

/// One viewer's adb transport.
pub(super) struct Adb {
    to_tcp: mpsc::Sender<Bytes>,
    from_tcp: mpsc::Receiver<Bytes>,
}

impl Adb {
    /// Connects to `address`. Failures are logged, and end the transport.
    pub(super) fn open(address: String) -> Self {
        let (to_tcp, outgoing) = mpsc::channel(QUEUE);
        // Few: a viewer that takes nothing stops the reading from TCP.
        let (incoming, from_tcp) = mpsc::channel(4);
        tokio::spawn(async move {
            if let Err(error) = carry(&address, outgoing, incoming).await {
                tracing::warn!(%address, %error, "the adb transport ended; is adbd listening there?");
            }
        });
        Self { to_tcp, from_tcp }
    }

    /// Passes a message of the viewer on; false if the transport is over.
    pub(super) fn send(&self, bytes: Bytes) -> bool {
        self.to_tcp.try_send(bytes).is_ok()
    }

    /// What comes for the viewer; `None` if the transport is over. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        self.from_tcp.recv().await
    }
}

async fn carry(
    address: &str,
    mut outgoing: mpsc::Receiver<Bytes>,
    incoming: mpsc::Sender<Bytes>,
) -> std::io::Result<()> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let upstream = async {
        while let Some(bytes) = outgoing.recv().await {
            writer.write_all(&bytes).await?;
        }
        writer.shutdown().await
    };
    let downstream = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut buffer).await?;
            if count == 0
                || incoming
                    .send(Bytes::copy_from_slice(&buffer[..count]))
                    .await
                    .is_err()
            {
                return Ok(());
            }
        }
    };
    // Either side's end ends both.
    tokio::select! {
        result = upstream => result,
        result = downstream => result,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut adb = Adb::open(listener.local_addr().unwrap().to_string());
        assert!(adb.send(Bytes::from_static(b"CNXN")));
        let (mut server, _) = listener.accept().await.unwrap();
        let mut got = [0; 4];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"CNXN");
        server.write_all(b"AUTH").await.unwrap();
        assert_eq!(adb.receive().await.unwrap(), "AUTH");
        drop(server);
        assert_eq!(adb.receive().await, None);
    }

    #[tokio::test]
    async fn a_closed_port_ends_the_transport() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert_eq!(Adb::open(address).receive().await, None);
    }
}
