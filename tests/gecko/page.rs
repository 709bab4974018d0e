//! A page that wants a worker, in this process: speaks the dialect, and has a session of its own.
#![allow(
    dead_code,
    reason = "tests and a benchmark compile this file, and the benchmark uses only some of it"
)]

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;
use switchboard::dialect::gecko::page::{PageClient, PageEvent};
use switchboard::dialect::negotiation::{Candidate, Sdp};
use switchboard::media::{Codec, Session, SessionConfig, SessionEvent, SessionEvents};
use switchboard::peer::link::{Dialer, Link, LinkError, ServerUrl, Trust};
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::viewer::Eyes;

/// What a page offers.
pub(crate) struct Offer {
    /// The channels that it opens.
    pub(crate) channels: &'static [&'static str],
    /// Their protocol.
    pub(crate) protocol: &'static str,
    /// Whether it wants to see and hear.
    pub(crate) watches: bool,
    /// What it sends.
    pub(crate) streams: Vec<switchboard::media::StreamConfig>,
}

/// A page.
pub(crate) struct Page {
    /// `None` once the server has closed it.
    pub(crate) link: Option<Link>,
    client: PageClient,
    pub(crate) session: Session,
    told: SessionEvents,
    pub(crate) eyes: Eyes,
    pub(crate) worker: String,
    sdp: String,
    /// What nobody has waited for yet.
    unheard: VecDeque<Heard>,
}

/// What a page hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message of the server.
    Server(Value),
    /// The server's end of the connection.
    Closed(String),
    Event(SessionEvent),
    /// The session is over.
    Over,
}

/// The usual channel.
pub(crate) fn channel() -> Offer {
    Offer {
        channels: &["worker"],
        protocol: "rws.v1",
        watches: false,
        streams: Vec::new(),
    }
}

impl Page {
    /// Says hello.
    pub(crate) async fn start(server: &str, source: &str, offer: Offer) -> Self {
        let mut page = Self::offered(server, offer).await;
        page.demand(source).await;
        page
    }

    /// A page that is connected to the server and could say hello.
    pub(crate) async fn offered(server: &str, offer: Offer) -> Self {
        let eyes = Eyes::new();
        let config = SessionConfig {
            channels: offer
                .channels
                .iter()
                .map(|&label| label.to_owned())
                .collect(),
            channel_protocol: offer.protocol.to_owned(),
            wanted: match offer.watches {
                true => vec![Codec::Vp8, Codec::Opus],
                false => Vec::new(),
            },
            streams: offer.streams,
            receive: eyes.receive(),
            queue: 100_000,
            ..SessionConfig::default()
        };
        let (mut session, told) = Session::start(config).await.unwrap();
        let sdp = session.offer().await.unwrap();
        let mut page = Self::silent(server, session, told, eyes).await;
        page.sdp = sdp;
        page
    }

    async fn silent(server: &str, session: Session, told: SessionEvents, eyes: Eyes) -> Self {
        let url = ServerUrl::new(&format!("ws://{server}"), "/").unwrap();
        let dialer = Dialer::new(url, &Trust::default()).unwrap();
        Self {
            link: Some(dialer.dial().await.unwrap()),
            client: PageClient::default(),
            session,
            told,
            eyes,
            worker: String::new(),
            sdp: String::new(),
            unheard: VecDeque::new(),
        }
    }

    /// A page that offers some text.
    pub(crate) async fn offering(server: &str, source: &str, sdp: &str) -> Self {
        let (session, told) = Session::start(SessionConfig::default()).await.unwrap();
        let mut page = Self::silent(server, session, told, Eyes::new()).await;
        page.sdp = sdp.to_owned();
        page.demand(source).await;
        page
    }

    pub(crate) async fn demand(&mut self, source: &str) {
        let sdp = std::mem::take(&mut self.sdp);
        let hello = self.client.hello("anna", source, &Sdp::new(sdp));
        self.send(hello).await;
    }

    /// A page whose worker runs and has its channel.
    pub(crate) async fn open(server: &str, source: &str, offer: Offer) -> Self {
        let channels = offer.channels;
        let mut page = Self::start(server, source, offer).await;
        page.answered().await;
        for _ in channels {
            page.opened().await;
        }
        page
    }

    /// Waits until a channel is open.
    pub(crate) async fn opened(&mut self) {
        self.heard("open channel", |heard| match heard {
            Heard::Event(SessionEvent::ChannelOpen { .. }) => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for the answer.
    pub(crate) async fn answered(&mut self) {
        self.heard("answer", |heard| match heard {
            Heard::Server(message) if message["messageType"] == "hello" => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for `connected`, and for the end of the connection to the server that follows.
    pub(crate) async fn connected(&mut self) {
        self.heard("connected", |heard| match heard {
            Heard::Server(message) if message["messageType"] == "connected" => Some(()),
            _ => None,
        })
        .await;
        let closed = self
            .heard("close", |heard| match heard {
                Heard::Closed(why) => Some(why.clone()),
                _ => None,
            })
            .await;
        assert!(closed.contains("1000"), "{closed}");
    }

    /// Waits for an error of the server or the gecko.
    pub(crate) async fn refused(&mut self) -> (i64, String) {
        self.heard("error", |heard| match heard {
            Heard::Server(message) if message["messageType"] == "worker-error" => {
                let reason = message["reason"].as_str().unwrap().to_owned();
                Some((message["errno"].as_i64().unwrap(), reason))
            }
            _ => None,
        })
        .await
    }

    /// The next text message on a channel.
    pub(crate) async fn text(&mut self, channel: &str) -> String {
        self.heard("text", |heard| match heard {
            Heard::Event(SessionEvent::Text { label, text }) if label == channel => {
                Some(text.clone())
            }
            _ => None,
        })
        .await
    }

    /// The next message on the worker's channel, as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text("worker").await).unwrap()
    }

    /// The next binary message.
    pub(crate) async fn bytes(&mut self) -> Bytes {
        self.heard("bytes", |heard| match heard {
            Heard::Event(SessionEvent::Binary { bytes, .. }) => Some(bytes.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until a channel, or the whole session, is over.
    pub(crate) async fn over(&mut self) {
        self.heard("end", |heard| match heard {
            Heard::Event(SessionEvent::ChannelClosed { .. } | SessionEvent::Failed { .. })
            | Heard::Over => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for something.
    pub(crate) async fn heard<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Heard) -> Option<T>,
    ) -> T {
        let before = std::mem::take(&mut self.unheard);
        let mut found = None;
        for heard in before {
            if found.is_none() {
                found = wanted(&heard);
                if found.is_some() {
                    continue;
                }
            }
            self.unheard.push_back(heard);
        }
        if let Some(found) = found {
            return found;
        }
        let found = timeout(PATIENCE, async {
            loop {
                let heard = self.next().await;
                if let Some(found) = wanted(&heard) {
                    return found;
                }
                self.unheard.push_back(heard);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {what}; heard {:#?}", self.unheard))
    }

    /// What comes next. Candidates and answers are taken care of.
    pub(crate) async fn next(&mut self) -> Heard {
        tokio::select! {
            frame = receive(&mut self.link) => match frame {
                Ok(frame) => {
                    self.message(&frame).await;
                    Heard::Server(serde_json::from_str(&frame).unwrap())
                }
                Err(error) => {
                    self.link = None;
                    Heard::Closed(error.to_string())
                }
            },
            event = self.told.recv() => match event {
                Some(SessionEvent::Candidate { mline_index, mid, candidate }) => {
                    let candidate = Candidate { candidate, mid, mline_index: Some(mline_index) };
                    self.send(self.client.candidate(&candidate)).await;
                    Heard::Event(SessionEvent::GatheringDone)
                }
                Some(event) => Heard::Event(event),
                None => Heard::Over,
            },
        }
    }

    async fn message(&mut self, frame: &str) {
        match self.client.frame(frame) {
            Some(PageEvent::Answered { worker, answer }) => {
                self.worker = worker;
                self.session.accept_answer(answer.as_str()).await.unwrap();
            }
            Some(PageEvent::Candidate(it)) => {
                let index = it.mline_index.unwrap();
                self.session
                    .add_candidate(index, it.mid.as_deref(), &it.candidate);
            }
            _ => {}
        }
    }

    async fn send(&mut self, frame: String) {
        if let Some(link) = &mut self.link {
            // A server that is gone is noticed by reading.
            let _ = link.send(frame).await;
        }
    }

    pub(crate) async fn close(self) {
        self.session.close().await;
    }
}

async fn receive(link: &mut Option<Link>) -> Result<String, LinkError> {
    match link {
        Some(link) => link.receive().await.map(|frame| frame.as_str().to_owned()),
        None => std::future::pending().await,
    }
}
