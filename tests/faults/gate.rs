//! Where one party's messages can be held: that is the moment at which somebody is killed. And where what its
//! partner tells it of media can be made nonsense.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_tungstenite::tokio::{accept_hdr_async, client_async};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::process::PATIENCE;

/// How far a party has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The server's first word doesn't reach it; a gecko's own doesn't reach the server, which has none.
    Registering,
    /// There is an offer; the answer never arrives.
    Offered,
    /// The answer is on its way, and there is no connection yet.
    Answered,
    /// Media flows.
    Flowing,
}

/// What becomes of a description on its way to the party.
pub(crate) type Spoil = fn(&str) -> String;

/// What the party is told instead of what its partner says.
#[derive(Default)]
struct Spoils {
    /// Of the next descriptions, one after the other.
    descriptions: VecDeque<Spoil>,
    /// All of these for each candidate, if there are any.
    candidates: Vec<String>,
}

/// Stands between a party and the server, and does nothing until it is asked to.
pub(crate) struct Gate {
    /// Where it listens, as `HOST:PORT`.
    pub(crate) address: String,
    wish: watch::Sender<Option<Step>>,
    caught: mpsc::Receiver<()>,
    cut: watch::Sender<()>,
    spoils: Arc<Mutex<Spoils>>,
}

impl Gate {
    /// In front of this server; whichever runs there when a party connects. `greets`: whether it answers
    /// who registers.
    pub(crate) async fn new(server: &str, greets: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (wish, _) = watch::channel(None);
        let (catch, caught) = mpsc::channel(1);
        let (cut, _) = watch::channel(());
        let spoils = Arc::<Mutex<Spoils>>::default();
        let (wishes, server, cuts) = (wish.clone(), server.to_owned(), cut.clone());
        let spoiling = Arc::clone(&spoils);
        tokio::spawn(async move {
            while let Ok((party, _)) = listener.accept().await {
                let asked = (greets, wishes.clone(), catch.clone());
                let relay = relay(party, server.clone(), asked, Arc::clone(&spoiling));
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = relay => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            wish,
            caught,
            cut,
            spoils,
        }
    }

    /// Spoils the party's next descriptions, each in one of these ways.
    pub(crate) fn spoil(&self, ways: impl IntoIterator<Item = Spoil>) {
        lock(&self.spoils).descriptions.extend(ways);
    }

    /// Descriptions that are still to be spoilt.
    pub(crate) fn to_spoil(&self) -> usize {
        lock(&self.spoils).descriptions.len()
    }

    /// Gives the party these instead of each candidate.
    pub(crate) fn replace_candidates(&self, by: Vec<String>) {
        lock(&self.spoils).candidates = by;
    }

    /// Drops every connection without a word, as the system does for who is killed.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Waits for the message that belongs to a step; nothing does, once media flows.
    pub(crate) fn wish(&self, step: Step) {
        let held = (step != Step::Flowing).then_some(step);
        self.wish.send_replace(held);
    }

    /// Waits until that message has come.
    pub(crate) async fn caught(&mut self) {
        // A process starts, and another answers it, on a machine that may be busy.
        let caught = timeout(3 * PATIENCE, self.caught.recv()).await;
        assert!(matches!(caught, Ok(Some(()))), "the step is never reached");
    }
}

/// Carries messages until one end is gone; then so is the other, without a word, as after a kill.
async fn relay(
    party: TcpStream,
    server: String,
    (greets, wish, catch): (bool, watch::Sender<Option<Step>>, mpsc::Sender<()>),
    spoils: Arc<Mutex<Spoils>>,
) -> Option<()> {
    let server_tcp = TcpStream::connect(&server).await.ok()?;
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "it is tungstenite's")]
    let note = |request: &Request, response: Response| {
        path = request.uri().to_string();
        Ok(response)
    };
    let mut party = accept_hdr_async(party, note).await.ok()?;
    let (mut server, _) = client_async(format!("ws://{server}{path}"), server_tcp)
        .await
        .ok()?;
    loop {
        let (message, from_server) = tokio::select! {
            message = party.next() => (message?.ok()?, false),
            message = server.next() => (message?.ok()?, true),
        };
        let step = wish
            .borrow()
            .filter(|step| is_it(*step, &message, from_server == greets));
        if step.is_some() {
            wish.send_replace(None);
        }
        if step.is_none() || step == Some(Step::Answered) {
            if !from_server {
                server.send(message).await.ok()?;
            } else {
                let spoilt = lock(&spoils).of(&message);
                for message in spoilt.unwrap_or_else(|| vec![message]) {
                    party.send(message).await.ok()?;
                }
            }
        }
        if step.is_some() {
            let _ = catch.try_send(());
        }
    }
}

/// Whether a message is the one that ends a step. An answer says who begins with DTLS (RFC 5763,
/// section 5), in every dialect; an offer leaves that open.
fn is_it(step: Step, message: &Message, is_first: bool) -> bool {
    let Ok(text) = message.to_text() else {
        return false;
    };
    match step {
        Step::Registering => is_first && !text.is_empty(),
        _ => ["a=setup:active", "a=setup:passive"]
            .iter()
            .any(|it| text.contains(it)),
    }
}

fn lock(spoils: &Mutex<Spoils>) -> MutexGuard<'_, Spoils> {
    spoils.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spoils {
    /// What a party gets instead of a message; `None` if that is left alone. Descriptions and candidates are
    /// known by how they begin: each dialect has them elsewhere in its JSON.
    fn of(&mut self, message: &Message) -> Option<Vec<Message>> {
        let text = message.to_text().ok()?;
        let (head, json) = text.split_at(text.find('{')?);
        let json: Value = serde_json::from_str(json).ok()?;
        let print = |json: &Value| Message::text(format!("{head}{json}"));
        let (mut described, mut told) = (json.clone(), None);
        replace(&mut described, "v=0", &mut |sdp| {
            let spoil = self.descriptions.pop_front()?;
            told = Some(());
            Some(spoil(sdp))
        });
        if told.is_some() {
            return Some(vec![print(&described)]);
        }
        let mut others = Vec::new();
        for candidate in &self.candidates {
            let (mut other, mut is_there) = (json.clone(), false);
            replace(&mut other, "candidate:", &mut |_| {
                is_there = true;
                Some(candidate.clone())
            });
            others.extend(is_there.then(|| print(&other)));
        }
        (!others.is_empty()).then_some(others)
    }
}

/// Replaces the strings in JSON that begin like this.
fn replace(json: &mut Value, beginning: &str, by: &mut impl FnMut(&str) -> Option<String>) {
    match json {
        Value::String(text) if text.starts_with(beginning) => {
            if let Some(other) = by(text) {
                *text = other;
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| replace(it, beginning, by)),
        Value::Object(all) => all.values_mut().for_each(|it| replace(it, beginning, by)),
        _ => {}
    }
}
