//! The other end of a call, in this process: speaks the dialect, sees, hears, and plays a source.

use std::sync::Arc;

use switchboard::dialect::gstreamer::client::{CallClient, CallEvent, PeerId};
use switchboard::dialect::gstreamer::payload::Message;
use switchboard::dialect::negotiation::{Candidate, Sdp};
use switchboard::media::{
    Codec, Kind, PipelineFile, Session, SessionConfig, SessionEvent, SessionEvents, Source,
    SourceOptions, StreamConfig,
};
use switchboard::peer::link::{Dialer, Link, ServerUrl, Trust};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::viewer::{Eyes, Seen};

/// A peer in this process.
pub(crate) struct Guest {
    pub(crate) link: Link,
    pub(crate) client: CallClient,
}

/// A guest in a call. It leaves when dropped.
pub(crate) struct Talk {
    seen: watch::Receiver<Seen>,
    task: tokio::task::JoinHandle<()>,
}

/// What a guest does once it is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Offer,
    AskForOffer,
    Listen,
}

impl Guest {
    /// Registers.
    pub(crate) async fn register(server: &str, id: &str) -> Self {
        let url = ServerUrl::new(&format!("ws://{server}"), "/").unwrap();
        let dialer = Dialer::new(url, &Trust::default()).unwrap();
        let mut link = dialer.dial().await.unwrap();
        let mut client = CallClient::new(&PeerId::new(id).unwrap());
        link.send(client.opened()).await.unwrap();
        let mut guest = Self { link, client };
        assert_eq!(guest.event().await, CallEvent::Registered);
        guest
    }

    /// Registers and calls.
    pub(crate) async fn call(server: &str, id: &str, partner: &str) -> Self {
        let mut guest = Self::register(server, id).await;
        let call = guest.client.call(&PeerId::new(partner).unwrap()).unwrap();
        guest.link.send(call).await.unwrap();
        assert_eq!(guest.event().await, CallEvent::Opened);
        guest
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> CallEvent {
        let frame = timeout(PATIENCE, self.link.receive())
            .await
            .unwrap()
            .unwrap();
        self.client.frame(&frame)
    }

    /// Waits until the server closes the connection; with which code.
    pub(crate) async fn closed(&mut self) -> String {
        let closed = async {
            loop {
                if let Err(error) = self.link.receive().await {
                    return error.to_string();
                }
            }
        };
        timeout(PATIENCE, closed).await.unwrap()
    }

    /// Exchanges media from now on: a grey picture and a tone for whatever the other side sends.
    pub(crate) async fn talk(mut self, begin: Begin) -> Talk {
        let source = source().await;
        let stream = |kind| StreamConfig {
            source: Arc::clone(&source),
            stream_id: "guest".to_owned(),
            kind,
            codecs: match kind {
                Kind::Video => vec![Codec::Vp8],
                Kind::Audio => vec![Codec::Opus],
            },
        };
        let eyes = Eyes::new();
        let config = SessionConfig {
            streams: vec![stream(Kind::Video), stream(Kind::Audio)],
            receive: eyes.receive(),
            ..SessionConfig::default()
        };
        let (mut session, events) = Session::start(config).await.unwrap();
        match begin {
            Begin::Offer => {
                let offer = Message::Offer(Sdp::new(session.offer().await.unwrap()));
                self.link.send(offer.to_text()).await.unwrap();
            }
            Begin::AskForOffer => self
                .link
                .send(Message::OfferRequest.to_text())
                .await
                .unwrap(),
            Begin::Listen => {}
        }
        Talk {
            seen: eyes.watch(),
            task: tokio::spawn(self.run(session, events)),
        }
    }

    async fn run(mut self, mut session: Session, mut events: SessionEvents) {
        loop {
            tokio::select! {
                frame = self.link.receive() => {
                    let Ok(frame) = frame else { break };
                    let CallEvent::FromPartner(message) = self.client.frame(&frame) else { continue };
                    if let Some(reply) = answer(&mut session, message.unwrap()).await {
                        self.link.send(reply.to_text()).await.unwrap();
                    }
                }
                event = events.recv() => match event {
                    Some(SessionEvent::Candidate { mline_index, mid, candidate }) => {
                        let mline_index = Some(mline_index);
                        let it = Message::Candidate(Candidate { candidate, mid, mline_index });
                        if self.link.send(it.to_text()).await.is_err() {
                            break;
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
            }
        }
        session.close().await;
    }
}

impl Talk {
    /// Waits until what was seen and heard is as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let found = timeout(PATIENCE, self.seen.wait_for(wanted)).await;
        assert!(matches!(found, Ok(Ok(_))), "no {what}");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(session: &mut Session, message: Message) -> Option<Message> {
    match message {
        Message::Offer(sdp) => {
            let answer = session.answer(sdp.as_str()).await.unwrap();
            return Some(Message::Answer(Sdp::new(answer)));
        }
        Message::OfferRequest => {
            let offer = session.offer().await.unwrap();
            return Some(Message::Offer(Sdp::new(offer)));
        }
        Message::Answer(sdp) => session.accept_answer(sdp.as_str()).await.unwrap(),
        Message::Candidate(it) => {
            // What the C and Rust clients insist on (gst.md A.8).
            let index = it.mline_index.expect("an integer index");
            session.add_candidate(index, None, &it.candidate);
        }
        other => panic!("{other:?}"),
    }
    None
}

/// What a good offer looks like.
pub(crate) async fn an_offer() -> String {
    let config = SessionConfig {
        wanted: vec![Codec::Vp8, Codec::Opus],
        ..SessionConfig::default()
    };
    let (mut session, _events) = Session::start(config).await.unwrap();
    let offer = session.offer().await.unwrap();
    session.close().await;
    offer
}

async fn source() -> Arc<Source> {
    let words = ["pattern", "wave"].map(str::to_owned);
    let values = ["black", "sine"].map(str::to_owned);
    let pairs: Vec<_> = words.into_iter().zip(values).collect();
    let file = PipelineFile::find("test", &pairs).unwrap();
    Source::open(file, SourceOptions::default()).await.unwrap()
}
