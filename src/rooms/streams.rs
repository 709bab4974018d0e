//! Media over TCP (RFC 6544): each packet in a frame of RFC 4571, on connections that peers have made.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use slab::Slab;
use tracing::debug;

/// The longest frame: what could come in one datagram. A longer one is nothing of ours.
pub(super) const FRAME: usize = 2_000;
/// Bytes of a frame's head: the length of the rest.
pub(super) const HEAD: usize = 2;
/// Bytes that are read of one connection at once.
const READ: usize = 16 * 1024;
/// How long a packet may wait for a slow peer, and how many bytes. What is older is dropped, what
/// has no room as well: media that comes late is worth nothing, and a queue only makes it later.
const PATIENCE: Duration = Duration::from_millis(250);
const WAITING: usize = 256 * 1024;
/// Bytes that the system may hold which haven't been sent: they wait, too.
const UNSENT: u32 = 16 * 1024;

/// One of the places for connections of a plane. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

/// A peer's connection whose first frame has been read.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) first: Vec<u8>,
    pub(super) place: Place,
}

/// One thread's connections.
pub(super) struct Streams {
    streams: Slab<Stream>,
    peers: HashMap<SocketAddr, usize>,
    epoll: Arc<OwnedFd>,
    buffer: Vec<u8>,
}

/// What reading has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be frames, and more to read.
    Some,
    /// There is no more now.
    Nothing,
    /// The connection is over.
    Over,
}

struct Stream {
    tcp: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    /// The slot of the endpoint that it is for.
    endpoint: usize,
    /// What was read, and how much of it has been taken.
    incoming: Vec<u8>,
    taken: usize,
    /// Frames, with the time since when each waits.
    outgoing: VecDeque<(Instant, Vec<u8>)>,
    waiting: usize,
    /// How much of the first is sent.
    written: usize,
    dropped: u64,
    _place: Place,
}

impl Place {
    /// Takes one of so many places, if one is free.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let free = |n: usize| (n < most).then_some(n + 1);
        let took = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        took.ok().map(|_| Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Streams {
    /// None yet. They are watched by `epoll`, each as its own number.
    pub(super) fn new(epoll: Arc<OwnedFd>) -> Self {
        Self {
            streams: Slab::new(),
            peers: HashMap::new(),
            epoll,
            buffer: vec![0; READ],
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Takes a connection over for an endpoint.
    ///
    /// # Errors
    /// The system's; or the peer has another connection from the same port.
    pub(super) fn add(&mut self, connection: Connection, endpoint: usize) -> io::Result<usize> {
        let Connection {
            stream: tcp,
            peer,
            local,
            place,
            ..
        } = connection;
        if self.peers.contains_key(&peer) {
            return Err(ErrorKind::AddrInUse.into());
        }
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        // Without it the queue in the system is only longer.
        let _ = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT);
        let entry = self.streams.vacant_entry();
        let id = entry.key();
        epoll::add(
            &*self.epoll,
            &tcp,
            EventData::new_u64(id as u64),
            EventFlags::IN,
        )?;
        self.peers.insert(peer, id);
        entry.insert(Stream {
            tcp,
            peer,
            local,
            endpoint,
            incoming: Vec::new(),
            taken: 0,
            outgoing: VecDeque::new(),
            waiting: 0,
            written: 0,
            dropped: 0,
            _place: place,
        });
        Ok(id)
    }

    /// Closes a connection, if it is there.
    pub(super) fn remove(&mut self, id: usize) {
        if let Some(stream) = self.streams.try_remove(id) {
            self.peers.remove(&stream.peer);
            let dropped = stream.dropped;
            debug!(peer = %stream.peer, dropped, "media over TCP is over");
        }
    }

    /// The endpoint of a connection, and its two ends: the peer's first.
    pub(super) fn ends(&self, id: usize) -> Option<(usize, SocketAddr, SocketAddr)> {
        let stream = self.streams.get(id)?;
        Some((stream.endpoint, stream.peer, stream.local))
    }

    /// Reads what is there, up to a bound.
    pub(super) fn read(&mut self, id: usize) -> Progress {
        let Some(stream) = self.streams.get_mut(id) else {
            return Progress::Over;
        };
        match stream.tcp.read(&mut self.buffer) {
            Ok(0) => Progress::Over,
            Ok(n) => {
                stream.incoming.drain(..std::mem::take(&mut stream.taken));
                stream.incoming.extend_from_slice(&self.buffer[..n]);
                Progress::Some
            }
            Err(error) if is_blocked(&error) => Progress::Nothing,
            Err(_) => Progress::Over,
        }
    }

    /// Takes the next frame of what was read. Some(false): there is none; None: the connection is
    /// over, or speaks another language.
    pub(super) fn frame(&mut self, id: usize, frame: &mut Vec<u8>) -> Option<bool> {
        let stream = self.streams.get_mut(id)?;
        let Some(bytes) = first_frame(&stream.incoming[stream.taken..])? else {
            return Some(false);
        };
        frame.clear();
        frame.extend_from_slice(bytes);
        stream.taken += HEAD + bytes.len();
        Some(true)
    }

    /// Sends a packet to a peer's connection, or lets it wait, or drops it.
    pub(super) fn send(&mut self, now: Instant, peer: SocketAddr, packet: &[u8]) {
        let Some((&id, stream)) = self
            .peers
            .get(&peer)
            .and_then(|id| Some((id, self.streams.get_mut(*id)?)))
        else {
            return;
        };
        let was_waiting = !stream.outgoing.is_empty();
        stream.send(now, packet);
        if !was_waiting && !stream.outgoing.is_empty() {
            watch(
                &self.epoll,
                &stream.tcp,
                id,
                EventFlags::IN | EventFlags::OUT,
            );
        }
    }

    /// Sends what waits. Errors are for [`Self::read`] to find.
    pub(super) fn flush(&mut self, now: Instant, id: usize) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        if stream.flush(now).is_err() {
            stream.outgoing.clear();
        }
        if stream.outgoing.is_empty() {
            watch(&self.epoll, &stream.tcp, id, EventFlags::IN);
        }
    }

    /// Packets that were dropped for an endpoint's peer, on the connections that it has.
    pub(super) fn dropped(&self, ids: &[usize]) -> u64 {
        let streams = ids.iter().filter_map(|id| self.streams.get(*id));
        streams.map(|stream| stream.dropped).sum()
    }
}

impl Stream {
    fn send(&mut self, now: Instant, packet: &[u8]) {
        let Ok(length) = u16::try_from(packet.len()) else {
            return;
        };
        let head = length.to_be_bytes();
        let whole = head.len() + packet.len();
        let mut sent = 0;
        if self.outgoing.is_empty() {
            let both = [IoSlice::new(&head), IoSlice::new(packet)];
            match self.tcp.write_vectored(&both) {
                Ok(n) if n == whole => return,
                Ok(n) => sent = n,
                Err(error) if is_blocked(&error) => {}
                Err(_) => return,
            }
        } else {
            self.drop_old(now);
        }
        if self.waiting + whole > WAITING {
            self.dropped += 1;
            return;
        }
        if self.outgoing.is_empty() {
            self.written = sent;
        }
        self.waiting += whole;
        self.outgoing.push_back((now, [&head, packet].concat()));
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        loop {
            self.drop_old(now);
            let Some((_, frame)) = self.outgoing.front() else {
                return Ok(());
            };
            match self.tcp.write(&frame[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if is_blocked(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.written == frame.len() {
                self.written = 0;
                self.drop_first();
            }
        }
    }

    /// Drops what has waited too long, but for a frame whose beginning is sent.
    fn drop_old(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) > PATIENCE;
        if self.written > 0 {
            let old = self.outgoing.iter().skip(1);
            let old = old.take_while(|(at, _)| is_old(*at)).count();
            for (_, frame) in self.outgoing.drain(1..=old) {
                self.waiting -= frame.len();
                self.dropped += 1;
            }
            return;
        }
        while self.outgoing.front().is_some_and(|(at, _)| is_old(*at)) {
            self.drop_first();
            self.dropped += 1;
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, frame)) = self.outgoing.pop_front() {
            self.waiting -= frame.len();
        }
    }
}

/// The first frame of these bytes, without its head (RFC 4571, section 2). Some(None): it isn't whole yet;
/// None: it is longer than any of ours.
pub(super) fn first_frame(bytes: &[u8]) -> Option<Option<&[u8]>> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Some(None);
    };
    let length = usize::from(u16::from_be_bytes(*head));
    (length <= FRAME).then(|| rest.get(..length))
}

fn watch(epoll: &OwnedFd, tcp: &TcpStream, id: usize, what: EventFlags) {
    if let Err(error) = epoll::modify(epoll, tcp, EventData::new_u64(id as u64), what) {
        debug!(%error, "cannot watch a connection");
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Streams, usize, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
        let mut streams = Streams::new(epoll);
        let place = Place::take(&Arc::default(), 1).unwrap();
        let local = stream.local_addr().unwrap();
        let connection = Connection {
            stream,
            peer,
            local,
            first: Vec::new(),
            place,
        };
        let id = streams.add(connection, 7).unwrap();
        (streams, id, client)
    }

    fn until_read(streams: &mut Streams, id: usize) -> Progress {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match streams.read(id) {
                Progress::Nothing if Instant::now() < deadline => std::thread::yield_now(),
                progress => return progress,
            }
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let (mut streams, id, mut client) = pair();
        let mut frame = Vec::new();
        let mut found = Vec::new();
        for piece in [&[0, 3, 1][..], &[2, 3, 0], &[0, 0, 1, 9, 0]] {
            client.write_all(piece).unwrap();
            assert_eq!(until_read(&mut streams, id), Progress::Some);
            while streams.frame(id, &mut frame) == Some(true) {
                found.push(frame.clone());
            }
        }
        assert_eq!(found, [vec![1, 2, 3], vec![], vec![9]]);
        drop(client);
        assert_eq!(until_read(&mut streams, id), Progress::Over);
    }

    #[test]
    fn a_frame_longer_than_a_datagram_ends_the_connection() {
        let (mut streams, id, mut client) = pair();
        client.write_all(b"GET / HTTP/1.1").unwrap();
        assert_eq!(until_read(&mut streams, id), Progress::Some);
        assert_eq!(streams.frame(id, &mut Vec::new()), None);
    }

    #[test]
    fn a_peer_that_takes_nothing_loses_what_is_old_and_never_half_a_frame() {
        let (mut streams, id, mut client) = pair();
        let peer = client.local_addr().unwrap();
        let begin = Instant::now();
        let packet = |n: u32| {
            let mut packet = n.to_be_bytes().to_vec();
            packet.resize(1_000, 0);
            packet
        };
        // Until the system takes no more, and long after.
        for n in 0..20_000 {
            streams.send(begin, peer, &packet(n));
        }
        assert!(streams.streams[id].waiting <= WAITING);
        assert!(streams.dropped(&[id]) > 1_000);
        let later = begin + 2 * PATIENCE;
        let last = 20_000;
        streams.send(later, peer, &packet(last));
        assert!(streams.streams[id].outgoing.len() <= 2);
        // What arrives is whole, in order, and ends with what was new.
        client.set_nonblocking(true).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            assert!(Instant::now() < deadline, "{:?}", numbers.last());
            streams.flush(later, id);
            if let Ok(n) = client.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..n]);
            }
            while bytes.len() >= 1_002 {
                assert_eq!(bytes[..2], 1_000_u16.to_be_bytes());
                numbers.push(u32::from_be_bytes(*bytes[2..].first_chunk().unwrap()));
                bytes.drain(..1_002);
            }
        }
        assert!(numbers.is_sorted());
    }

    #[test]
    fn there_are_only_so_many_places() {
        let taken = Arc::default();
        let one = Place::take(&taken, 1);
        assert!(one.is_some());
        assert!(Place::take(&taken, 1).is_none());
        drop(one);
        assert!(Place::take(&taken, 1).is_some());
    }
}
