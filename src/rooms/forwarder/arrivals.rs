//! What comes from the network, and whose it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use str0m::Input;
use str0m::net::{Protocol, Receive};
use tracing::debug;

use super::super::demux::Demux;
use super::super::streams::{Connection, Progress};
use super::Forwarder;

/// Connections of one endpoint at once; one more closes the oldest. Browsers make one for each address
/// and listener that they are told, and keep the best.
const STREAMS: usize = 8;
/// Reads of one connection in one turn.
const READS: usize = 4;

/// The beginning of a connectivity check (RFC 8489, section 5): its length, its type, and what is the same
/// in all. Then come attributes (section 14), of which this one names the endpoint.
const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: [u8; 2] = [0, 6];

impl Forwarder {
    /// Takes a datagram from the network. `local`: the address of this machine that it came to.
    pub(in crate::rooms) fn datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: Option<IpAddr>,
        bytes: &[u8],
    ) {
        // Checks go by their user name, since a path may be new, or have changed hands.
        let fragment = check(bytes);
        let slot = match &fragment {
            Some(fragment) => self.demux.by_fragment(fragment),
            None => self.demux.by_address(source),
        };
        let Some(slot) = slot else {
            if self.mapping.answer(source, bytes) {
                self.tell_addresses();
            } else {
                self.strays += 1;
            }
            return;
        };
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        let Some(to) = endpoint.addresses.datagrams(source, local) else {
            return;
        };
        let Ok(receive) = Receive::new(Protocol::Udp, source, to, bytes) else {
            return;
        };
        let input = Input::Receive(now, receive);
        if fragment.is_some() {
            let is_right = endpoint.accepts(&input);
            endpoint.checked(now, source, is_right);
            let new = Demux::is_new(&endpoint.held, source);
            if !is_right || new && !self.demux.learn(&mut endpoint.held, slot, source) {
                self.strays += 1;
                return;
            }
            endpoint.local = local.filter(|_| self.config.bind.is_unspecified());
        } else if endpoint.numbers.takes(bytes) && endpoint.intake.take(now, bytes) {
            endpoint.reach.received(source, bytes);
        } else {
            self.strays += 1;
            return;
        }
        self.arrived(now, slot, input);
    }

    /// Takes a peer's connection over, if its first frame is a check of one of these endpoints.
    pub(in crate::rooms) fn connect(&mut self, now: Instant, mut connection: Connection) {
        let first = std::mem::take(&mut connection.first);
        let (peer, local) = (connection.peer, connection.local);
        let slot = check(&first).and_then(|fragment| self.demux.by_fragment(fragment));
        let found = slot.and_then(|slot| Some((slot, self.endpoints.get_mut(slot)?)));
        let Some((slot, endpoint)) = found else {
            debug!(%peer, "media over TCP for nobody here");
            return;
        };
        let Some(input) = endpoint.addresses.streams(local).and_then(|to| {
            let receive = Receive::new(Protocol::Tcp, peer, to, &first).ok()?;
            Some(Input::Receive(now, receive))
        }) else {
            return;
        };
        let is_right = endpoint.accepts(&input);
        endpoint.checked(now, peer, is_right);
        if !is_right || !Demux::count(&mut endpoint.held, peer) {
            return;
        }
        match self.streams.add(connection, slot) {
            Ok(id) => endpoint.streams.push(id),
            Err(error) => return debug!(%peer, %error, "cannot take media over TCP"),
        }
        if endpoint.streams.len() > STREAMS {
            let oldest = endpoint.streams.remove(0);
            self.streams.remove(oldest);
        }
        debug!(%peer, media = endpoint.key.0, "media over TCP");
        self.arrived(now, slot, input);
    }

    /// A connection is ready.
    pub(in crate::rooms) fn stream(&mut self, now: Instant, id: usize, ready: EventFlags) {
        if ready.contains(EventFlags::OUT) {
            self.streams.flush(now, id);
        }
        if !ready.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let mut frame = std::mem::take(&mut self.frame);
        for _ in 0..READS {
            match self.streams.read(id) {
                Progress::Some => {}
                Progress::Nothing => break,
                Progress::Over => {
                    self.end_stream(id);
                    break;
                }
            }
            loop {
                match self.streams.frame(id, &mut frame) {
                    Some(true) => self.framed(now, id, &frame),
                    Some(false) => break,
                    None => {
                        self.end_stream(id);
                        break;
                    }
                }
            }
        }
        self.frame = frame;
    }

    /// Whether peers are connected over TCP.
    pub(in crate::rooms) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    fn framed(&mut self, now: Instant, id: usize, bytes: &[u8]) {
        let Some((slot, peer, local)) = self.streams.ends(id) else {
            return;
        };
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        let Some(to) = endpoint.addresses.streams(local) else {
            return;
        };
        let Ok(receive) = Receive::new(Protocol::Tcp, peer, to, bytes) else {
            return;
        };
        let input = Input::Receive(now, receive);
        if check(bytes).is_some() && !endpoint.accepts(&input)
            || !endpoint.numbers.takes(bytes)
            || !endpoint.intake.take(now, bytes)
        {
            return;
        }
        endpoint.reach.received(peer, bytes);
        self.arrived(now, slot, input);
    }

    fn end_stream(&mut self, id: usize) {
        if let Some((slot, ..)) = self.streams.ends(id)
            && let Some(endpoint) = self.endpoints.get_mut(slot)
        {
            endpoint.streams.retain(|other| *other != id);
        }
        self.streams.remove(id);
    }

    fn arrived(&mut self, now: Instant, slot: usize, input: Input<'_>) {
        let Some(endpoint) = self.endpoints.get_mut(slot) else {
            return;
        };
        endpoint.heard = now;
        match endpoint.take(input) {
            Ok(()) => self.drive(now, slot),
            Err(why) => self.fail(now, slot, why),
        }
    }
}

/// Our user name fragment in a connectivity check (RFC 8445, section 7.2.2), if that is what it is.
///
/// Read by hand: anyone can send these, and the parser warns of what is odd in them, a line for each.
pub(in crate::rooms) fn check(bytes: &[u8]) -> Option<&str> {
    let (head, mut attributes) = bytes.split_at_checked(HEADER)?;
    if !head.starts_with(&BINDING_REQUEST) || head[4..8] != COOKIE {
        return None;
    }
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head.starts_with(&USERNAME) {
            let name = std::str::from_utf8(rest.get(..length)?).ok()?;
            return name.split_once(':').map(|(ours, _)| ours);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use str0m::ice::{StunMessage, TransId};

    use super::*;

    #[test]
    fn a_check_is_known_by_its_user_name() {
        let message =
            StunMessage::binding_request("ours:theirs", TransId::new(), true, 1, 1, false);
        let mut bytes = vec![0; 500];
        let length = message
            .to_bytes(Some(b"password"), &mut bytes, |_, _| [0; 20])
            .unwrap();
        bytes.truncate(length);
        assert_eq!(check(&bytes), Some("ours"));
        // Behind another attribute, whose length is no multiple of four.
        let mut other = bytes[..HEADER].to_vec();
        other.extend([0x80, 0x22, 0, 3, b'x', b'y', b'z', 0]);
        other.extend(&bytes[HEADER..]);
        assert_eq!(check(&other), Some("ours"));
        // A response, another cookie, and all that is cut.
        for (at, byte) in [(0, 1), (4, 0)] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert_eq!(check(&wrong), None);
        }
        for length in 0..bytes.len() {
            assert!(check(&bytes[..length]).is_none_or(|it| it == "ours"));
        }
    }
}
