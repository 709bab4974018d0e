//! A peer's side of the conversation with a server: one for calls, one for rooms. Frames in, events
//! out; whatever a server sends, nothing here fails: what can't be read is an event too.

use std::fmt;
use std::sync::Arc;

use super::payload::{Message, PayloadError};

/// The close code and the reason of a server that doesn't take an id, usually because it is taken
/// (gst.md A.3).
const ID_REFUSED: (u16, &str) = (1002, "invalid peer uid");

/// The id of a peer: some text without blanks. Rust clients want a number (gst.md A.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Arc<str>);

/// The id of a room: some text without blanks that isn't `session` (gst.md A.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(Arc<str>);

/// A peer for calls between two.
#[derive(Debug)]
pub struct CallClient {
    id: PeerId,
    state: CallState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    /// `HELLO` is not answered yet.
    Registering,
    /// Can call and be called.
    Idle,
    /// `SESSION` is not answered yet.
    Calling,
    /// Everything comes from, and goes to, the partner. There is no way back.
    InCall,
}

/// What happens to a peer for calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// Registered: call, or wait for a call.
    Registered,
    /// Our call is open: negotiate.
    Opened,
    /// There is no call; we are still registered.
    Refused(Refusal),
    /// The partner says something. If we didn't call, this is how we learn of its call.
    FromPartner(Result<Message, PayloadError>),
    /// The server is not content.
    ServerError(String),
    /// Something unexpected of the server. For the log.
    Unreadable(String),
}

/// Why there is no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has that id now.
    NotFound,
    /// It is in another call, or in a room.
    Busy,
    /// Something else, in the server's words.
    Other(String),
}

/// A peer in a room.
#[derive(Debug)]
pub struct RoomClient {
    id: PeerId,
    room: RoomId,
    state: RoomState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoomState {
    Registering,
    Joining,
    In,
}

/// What happens to a peer in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEvent {
    /// Registered: send [`RoomClient::join`].
    Registered,
    /// In the room, with these already there. It is ours to offer to them.
    Joined(Vec<PeerId>),
    /// The server doesn't let us in; in its words.
    Refused(String),
    /// Another one joined, and will offer.
    PeerJoined(PeerId),
    /// Another one is gone.
    PeerLeft(PeerId),
    /// Another one says something.
    FromPeer {
        /// Who.
        from: PeerId,
        /// What.
        message: Result<Message, PayloadError>,
    },
    /// The server is not content.
    ServerError(String),
    /// Something unexpected of the server. For the log.
    Unreadable(String),
}

/// Whether a server closed the connection because it doesn't take our id.
#[must_use]
pub fn is_id_refused(code: u16, reason: &str) -> bool {
    (code, reason) == ID_REFUSED
}

impl PeerId {
    /// An id, or `None` if it is empty or has blanks.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        is_word(id).then(|| Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoomId {
    /// An id, or `None` if it is empty, has blanks, or is `session`.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        (is_word(id) && id != "session").then(|| Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CallClient {
    /// A peer that isn't connected yet.
    #[must_use]
    pub fn new(id: &PeerId) -> Self {
        Self {
            id: id.clone(),
            state: CallState::Registering,
        }
    }

    /// The connection is up: what to send.
    #[must_use]
    pub fn opened(&mut self) -> String {
        self.state = CallState::Registering;
        hello(&self.id)
    }

    /// The frame that calls a peer; `None` unless we are idle.
    #[must_use]
    pub fn call(&mut self, peer: &PeerId) -> Option<String> {
        if self.state != CallState::Idle {
            return None;
        }
        self.state = CallState::Calling;
        Some(format!("SESSION {peer}"))
    }

    /// A text frame came.
    pub fn frame(&mut self, frame: &str) -> CallEvent {
        match self.state {
            CallState::Registering => match greeting(frame) {
                Greeting::Hello => {
                    self.state = CallState::Idle;
                    CallEvent::Registered
                }
                Greeting::Error(text) => CallEvent::ServerError(text),
                Greeting::Strange(why) => CallEvent::Unreadable(why),
            },
            CallState::Calling if frame.split_whitespace().next() == Some("SESSION_OK") => {
                self.state = CallState::InCall;
                CallEvent::Opened
            }
            CallState::Calling if frame.starts_with("ERROR") => {
                self.state = CallState::Idle;
                CallEvent::Refused(Refusal::read(frame))
            }
            // While we call, too: the other side's call came first, and ours went to it as data
            // (gst.md A.4, crossing calls).
            CallState::Idle | CallState::Calling | CallState::InCall => {
                self.state = CallState::InCall;
                CallEvent::FromPartner(Message::parse(frame))
            }
        }
    }
}

impl Refusal {
    fn read(frame: &str) -> Self {
        let text = frame.trim_end();
        if text.ends_with("not found") {
            Self::NotFound
        } else if text.ends_with("busy") {
            Self::Busy
        } else {
            Self::Other(error_text(text))
        }
    }
}

impl RoomClient {
    /// A peer that isn't connected yet.
    #[must_use]
    pub fn new(id: &PeerId, room: &RoomId) -> Self {
        Self {
            id: id.clone(),
            room: room.clone(),
            state: RoomState::Registering,
        }
    }

    /// The connection is up: what to send.
    #[must_use]
    pub fn opened(&mut self) -> String {
        self.state = RoomState::Registering;
        hello(&self.id)
    }

    /// The frame that joins the room.
    #[must_use]
    pub fn join(&mut self) -> String {
        self.state = RoomState::Joining;
        format!("ROOM {}", self.room)
    }

    /// The frame that brings a message to another one in the room.
    #[must_use]
    pub fn to_peer(&self, peer: &PeerId, message: &Message) -> String {
        format!("ROOM_PEER_MSG {peer} {}", message.to_text())
    }

    /// A text frame came.
    pub fn frame(&mut self, frame: &str) -> RoomEvent {
        match self.state {
            RoomState::Registering => match greeting(frame) {
                Greeting::Hello => RoomEvent::Registered,
                Greeting::Error(text) => RoomEvent::ServerError(text),
                Greeting::Strange(why) => RoomEvent::Unreadable(why),
            },
            RoomState::Joining => self.answer(frame),
            RoomState::In => in_room(frame),
        }
    }

    /// The answer to `ROOM`.
    fn answer(&mut self, frame: &str) -> RoomEvent {
        let mut words = frame.split_whitespace();
        match words.next() {
            Some("ROOM_OK") => {
                self.state = RoomState::In;
                RoomEvent::Joined(words.filter_map(PeerId::new).collect())
            }
            Some(word) if word.starts_with("ERROR") => RoomEvent::Refused(error_text(frame)),
            _ => RoomEvent::Unreadable("ROOM was not answered by ROOM_OK".to_owned()),
        }
    }
}

/// Everything after `ROOM_OK`.
fn in_room(frame: &str) -> RoomEvent {
    let (word, rest) = split_word(frame);
    let (peer, message) = split_word(rest);
    match (word, PeerId::new(peer)) {
        ("ROOM_PEER_JOINED", Some(peer)) => RoomEvent::PeerJoined(peer),
        ("ROOM_PEER_LEFT", Some(peer)) => RoomEvent::PeerLeft(peer),
        ("ROOM_PEER_MSG", Some(from)) => RoomEvent::FromPeer {
            from,
            message: Message::parse(message),
        },
        (word, _) if word.starts_with("ERROR") => RoomEvent::ServerError(error_text(frame)),
        (word, _) => RoomEvent::Unreadable(format!(
            "an unknown message, {:?}",
            word.chars().take(32).collect::<String>()
        )),
    }
}

/// The first word, and what follows after one blank.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

enum Greeting {
    Hello,
    Error(String),
    Strange(String),
}

/// The answer to `HELLO`. Servers of later versions may add words after it.
fn greeting(frame: &str) -> Greeting {
    match frame.split_whitespace().next() {
        Some("HELLO") => Greeting::Hello,
        Some(word) if word.starts_with("ERROR") => Greeting::Error(error_text(frame)),
        _ => Greeting::Strange(
            "HELLO was not answered by HELLO; is this a GStreamer signalling server?".to_owned(),
        ),
    }
}

fn hello(id: &PeerId) -> String {
    format!("HELLO {id}")
}

fn error_text(frame: &str) -> String {
    frame
        .trim()
        .trim_start_matches("ERROR")
        .trim_start()
        .to_owned()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::negotiation::Sdp;

    fn id(text: &str) -> PeerId {
        PeerId::new(text).unwrap()
    }

    /// A registered peer for calls.
    fn idle() -> CallClient {
        let mut client = CallClient::new(&id("7"));
        assert_eq!(client.opened(), "HELLO 7");
        assert_eq!(client.frame("HELLO"), CallEvent::Registered);
        client
    }

    /// A peer in a room.
    fn inside() -> RoomClient {
        let mut client = RoomClient::new(&id("7"), &RoomId::new("r").unwrap());
        assert_eq!(client.opened(), "HELLO 7");
        assert_eq!(client.frame("HELLO"), RoomEvent::Registered);
        assert_eq!(client.join(), "ROOM r");
        assert_eq!(client.frame("ROOM_OK "), RoomEvent::Joined(vec![]));
        client
    }

    #[test]
    fn a_call_is_refused_or_opened() {
        let mut client = idle();
        assert_eq!(client.call(&id("8")).as_deref(), Some("SESSION 8"));
        assert_eq!(client.call(&id("8")), None);
        let refused = |refusal| CallEvent::Refused(refusal);
        assert_eq!(
            client.frame("ERROR peer '8' not found"),
            refused(Refusal::NotFound)
        );
        let _ = client.call(&id("8"));
        assert_eq!(client.frame("ERROR peer '8' busy"), refused(Refusal::Busy));
        let _ = client.call(&id("8"));
        assert_eq!(
            client.frame("ERROR too late"),
            refused(Refusal::Other("too late".into()))
        );
        let _ = client.call(&id("8"));
        assert_eq!(client.frame("SESSION_OK"), CallEvent::Opened);
        assert_eq!(client.call(&id("8")), None);
        assert_eq!(
            client.frame("ERROR no camera"),
            CallEvent::FromPartner(Ok(Message::Error("ERROR no camera".into())))
        );
    }

    #[test]
    fn a_call_of_another_one_starts_with_its_first_message() {
        let mut client = idle();
        assert_eq!(
            client.frame("OFFER_REQUEST"),
            CallEvent::FromPartner(Ok(Message::OfferRequest))
        );
        assert_eq!(client.call(&id("8")), None);
    }

    #[test]
    fn of_two_crossing_calls_the_loser_is_called() {
        let mut loser = idle();
        let ours = loser.call(&id("8")).unwrap();
        let offer = Message::Offer(Sdp::new("v=0"));
        assert_eq!(
            loser.frame(&offer.to_text()),
            CallEvent::FromPartner(Ok(offer))
        );
        let mut winner = idle();
        let _ = winner.call(&id("7"));
        assert_eq!(winner.frame("SESSION_OK"), CallEvent::Opened);
        assert_eq!(
            winner.frame(&ours),
            CallEvent::FromPartner(Ok(Message::Other))
        );
    }

    #[test]
    fn a_room_tells_who_is_there_comes_speaks_and_goes() {
        let mut client = inside();
        assert_eq!(
            client.frame("ROOM_PEER_JOINED 8"),
            RoomEvent::PeerJoined(id("8"))
        );
        let offer = Message::Offer(Sdp::new("v=0\r\na  b"));
        assert_eq!(
            client.to_peer(&id("8"), &Message::OfferRequest),
            "ROOM_PEER_MSG 8 OFFER_REQUEST"
        );
        assert_eq!(
            client.frame(&format!("ROOM_PEER_MSG 8 {}", offer.to_text())),
            RoomEvent::FromPeer {
                from: id("8"),
                message: Ok(offer)
            }
        );
        assert_eq!(
            client.frame("ROOM_PEER_LEFT 8"),
            RoomEvent::PeerLeft(id("8"))
        );
        assert_eq!(
            client.frame("ERROR peer '8' not found"),
            RoomEvent::ServerError("peer '8' not found".into())
        );
        let _ = client.join();
        assert_eq!(
            client.frame("ROOM_OK a b"),
            RoomEvent::Joined(vec![id("a"), id("b")])
        );
        let _ = client.join();
        assert_eq!(
            client.frame("ERROR invalid room id 'r'"),
            RoomEvent::Refused("invalid room id 'r'".into())
        );
    }

    #[test]
    fn nothing_that_a_server_sends_breaks_a_client() {
        for frame in [
            "",
            " ",
            "ROOM_PEER_MSG",
            "ROOM_PEER_LEFT ",
            "HELO",
            "ä",
            "{",
        ] {
            let mut fresh = CallClient::new(&id("7"));
            assert!(
                matches!(fresh.frame(frame), CallEvent::Unreadable(_)),
                "{frame:?}"
            );
            assert!(
                matches!(inside().frame(frame), RoomEvent::Unreadable(_)),
                "{frame:?}"
            );
        }
        assert_eq!(
            CallClient::new(&id("7")).frame("ERROR no"),
            CallEvent::ServerError("no".into())
        );
    }

    #[test]
    fn ids_are_words() {
        for wrong in ["", " ", "a b", "a\n", "\u{a0}"] {
            assert!(
                PeerId::new(wrong).is_none() && RoomId::new(wrong).is_none(),
                "{wrong:?}"
            );
        }
        assert!(PeerId::new("session").is_some() && RoomId::new("session").is_none());
        assert!(is_id_refused(1002, "invalid peer uid"));
        assert!(!is_id_refused(1002, "invalid protocol") && !is_id_refused(1000, ""));
    }
}
