//! One UDP socket: batches in, segments out.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Type};
use tracing::debug;

/// The room for one received message; the kernel may join datagrams of one sender up to this.
const MESSAGE: usize = 65_536;
/// The fewest messages to ask for at once: preparing room for each costs something.
const LEAST_BATCH: usize = 4;
/// What is asked of the kernel for either direction, in bytes: a second of a busy thread.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;
/// The most bytes in one send; the kernel takes no more in one UDP message.
const SEND: usize = 60_000;

/// A socket.
pub(super) struct Socket {
    inner: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

/// What is received at once.
pub(super) struct Inbox {
    messages: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    /// How many messages to ask for: twice as many as came the last time.
    batch: usize,
}

/// Datagrams to one address that wait to be sent together.
pub(super) struct Outbox {
    socket: Arc<Socket>,
    source: Option<IpAddr>,
    destination: Option<SocketAddr>,
    segment: usize,
    segments: usize,
    bytes: Vec<u8>,
    dropped: u64,
}

impl Socket {
    /// Binds.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let inner = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            // Whatever the system's default is: one socket takes IPv4 and IPv6.
            inner.set_only_v6(false)?;
        }
        inner.bind(&address.into())?;
        let inner = UdpSocket::from(inner);
        let state = UdpSocketState::new((&inner).into())?;
        // The system may grant less, which is only less room for bursts.
        for result in [
            state.set_send_buffer_size((&inner).into(), KERNEL_BUFFER),
            state.set_recv_buffer_size((&inner).into(), KERNEL_BUFFER),
        ] {
            if let Err(error) = result {
                debug!(%error, "the media socket keeps its small buffers");
            }
        }
        let address = inner.local_addr()?;
        Ok(Self {
            inner,
            state,
            address,
        })
    }

    /// The bound address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram at once. What can't be sent is lost.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.inner.send_to(bytes, self.mapped(to)) {
            debug!(%error, "cannot send");
        }
    }

    /// An IPv6 socket reaches IPv4 by mapped addresses (RFC 4291, section 2.5.5.2).
    fn mapped(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.address.is_ipv6() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Inbox {
    /// Room for one batch.
    pub(super) fn new() -> Self {
        Self {
            messages: vec![0; MESSAGE * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
            batch: LEAST_BATCH,
        }
    }

    /// Takes what is there, up to one batch: each datagram with its source and the address it came
    /// to. True: there may be more.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        mut take: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) -> bool {
        let mut chunks = self.messages.chunks_mut(MESSAGE);
        let mut slices: [_; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let received = socket.state.recv(
            (&socket.inner).into(),
            &mut slices[..self.batch],
            &mut self.metas,
        );
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    debug!(%error, "cannot receive media");
                }
                return false;
            }
        };
        let messages = self.messages.chunks(MESSAGE);
        for (meta, message) in self.metas.iter().zip(messages).take(received) {
            let source = canonical(meta.addr);
            let local = meta.dst_ip.map(|ip| ip.to_canonical());
            for datagram in message[..meta.len.min(MESSAGE)].chunks(meta.stride.max(1)) {
                take(source, local, datagram);
            }
        }
        let full = received == self.batch;
        self.batch = (received * 2).clamp(LEAST_BATCH, BATCH_SIZE);
        full
    }
}

impl Outbox {
    /// Empty.
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            source: None,
            destination: None,
            segment: 0,
            segments: 0,
            bytes: Vec::with_capacity(SEND),
            dropped: 0,
        }
    }

    /// Queues a datagram; the previous ones go out if it can't go with them. `source`: where it must
    /// come from, if this machine has several addresses.
    pub(super) fn send(&mut self, source: Option<IpAddr>, destination: SocketAddr, bytes: &[u8]) {
        let joins = self.destination == Some(destination)
            && self.source == source
            && bytes.len() <= self.segment
            // Only the last segment may be shorter.
            && self.bytes.len() == self.segment * self.segments
            && self.segments < self.socket.state.max_gso_segments()
            && self.bytes.len() + bytes.len() <= SEND;
        if !joins {
            self.flush();
            self.destination = Some(destination);
            self.source = source;
            self.segment = bytes.len();
        }
        self.bytes.extend_from_slice(bytes);
        self.segments += 1;
    }

    /// Sends what is queued. What the kernel has no room for is lost, as anywhere on the path.
    pub(super) fn flush(&mut self) {
        let Some(destination) = self.destination.take() else {
            return;
        };
        let socket = &self.socket;
        let transmit = Transmit {
            destination: socket.mapped(destination),
            ecn: None,
            contents: &self.bytes,
            segment_size: (self.segments > 1).then_some(self.segment),
            src_ip: self.source,
        };
        if let Err(error) = socket.state.try_send((&socket.inner).into(), &transmit) {
            self.dropped += self.segments as u64;
            debug!(%error, dropped = self.dropped, "cannot send media");
        }
        self.bytes.clear();
        self.segments = 0;
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    fn bound(ip: IpAddr) -> Option<(Arc<Socket>, Inbox, Outbox)> {
        let socket = Arc::new(Socket::bind(SocketAddr::new(ip, 0)).ok()?);
        Some((Arc::clone(&socket), Inbox::new(), Outbox::new(socket)))
    }

    fn peer() -> UdpSocket {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        peer
    }

    #[test]
    fn datagrams_arrive_one_by_one_and_in_order_however_they_are_joined() {
        let (socket, _, mut outbox) = bound(Ipv4Addr::LOCALHOST.into()).unwrap();
        let peer = peer();
        let to = peer.local_addr().unwrap();
        let sizes = [1200, 1200, 1200, 700, 1200, 60, 60, 61, 1];
        for (n, &size) in sizes.iter().enumerate() {
            outbox.send(None, to, &vec![n as u8; size]);
        }
        outbox.flush();
        let mut buffer = [0; 2000];
        for (n, &size) in sizes.iter().enumerate() {
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((len, buffer[0]), (size, n as u8));
            assert_eq!(from, socket.address());
        }
    }

    #[test]
    fn a_dual_stack_socket_shows_ipv4_peers_as_ipv4() {
        let Some((socket, mut inbox, mut outbox)) = bound(Ipv6Addr::UNSPECIFIED.into()) else {
            return; // No IPv6 on this machine.
        };
        let peer = peer();
        let to = SocketAddr::from(([127, 0, 0, 1], socket.address().port()));
        peer.send_to(b"hello", to).unwrap();
        let mut seen = None;
        while seen.is_none() {
            inbox.receive(&socket, |from, local, bytes| {
                seen = Some((from, local, bytes.to_vec()));
            });
            std::thread::yield_now();
        }
        let (from, local, bytes) = seen.unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
        assert_eq!(local, Some(to.ip()));
        outbox.send(None, from, &bytes);
        outbox.flush();
        let mut buffer = [0; 10];
        assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
    }
}
