//! The WebSocket at `/`, where two dialects meet: the first frame tells which one is spoken. A JSON
//! object is a gecko's client, anything else a GStreamer peer.

use std::sync::Arc;

use super::gecko::server::{ClientSession, Settings};
use super::gstreamer::server::PeerSession;
use super::{Dialect, Effect, Session, Unverified};
use crate::hub::{AccountId, Event, Payload, SessionId};

/// The server's side of a connection whose dialect shows with its first frame.
#[derive(Debug)]
pub struct FrontSession(State);

#[derive(Debug)]
enum State {
    Undecided {
        peer: PeerSession,
        settings: Arc<Settings>,
        worker: SessionId,
    },
    Peer(PeerSession),
    Client(Box<ClientSession>),
}

impl FrontSession {
    /// A connection that has said nothing yet. If it turns out to be a gecko's client, this is its
    /// worker's id.
    #[must_use]
    pub const fn new(peer: PeerSession, settings: Arc<Settings>, worker: SessionId) -> Self {
        Self(State::Undecided {
            peer,
            settings,
            worker,
        })
    }

    fn decide(&mut self, first: &[u8]) {
        if let State::Undecided {
            peer,
            settings,
            worker,
        } = &mut self.0
        {
            self.0 = if first.trim_ascii_start().starts_with(b"{") {
                let client = ClientSession::new(Arc::clone(settings), *worker);
                State::Client(Box::new(client))
            } else {
                State::Peer(peer.clone())
            };
        }
    }

    fn inner(&mut self) -> &mut dyn Session {
        match &mut self.0 {
            State::Undecided { peer, .. } | State::Peer(peer) => peer,
            State::Client(client) => client.as_mut(),
        }
    }
}

impl Session for FrontSession {
    /// Until it shows, GStreamer's.
    fn dialect(&self) -> Dialect {
        match &self.0 {
            State::Undecided { peer, .. } | State::Peer(peer) => peer.dialect(),
            State::Client(client) => client.dialect(),
        }
    }

    fn role(&self) -> &'static str {
        match &self.0 {
            State::Undecided { peer, .. } | State::Peer(peer) => peer.role(),
            State::Client(client) => client.role(),
        }
    }

    fn opened(&mut self, out: &mut Vec<Effect>) {
        self.inner().opened(out);
    }

    fn text(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.decide(frame.as_str().as_bytes());
        self.inner().text(frame, out);
    }

    fn binary(&mut self, frame: &Payload, out: &mut Vec<Effect>) {
        self.decide(frame.as_bytes());
        self.inner().binary(frame, out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        self.inner().event(event, out);
    }

    fn verified(&mut self, outcome: Result<AccountId, Unverified>, out: &mut Vec<Effect>) {
        self.inner().verified(outcome, out);
    }
}
