//! What the other sides do, told to whoever listens: lines of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::media::Verdict;

/// One event: a message on one of the other side's data channels.
#[derive(Debug, Serialize)]
pub(super) struct Event<'a> {
    /// A viewer's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<u32>,
    /// A peer's id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<&'a str>,
    /// The label of the channel.
    pub(super) channel: &'a str,
    /// What came.
    #[serde(flatten)]
    pub(super) content: Content<'a>,
}

/// Why media doesn't come from, or to, one of the others.
#[derive(Debug, Serialize)]
struct TroubleLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    trouble: Trouble<'a>,
}

#[derive(Debug, Serialize)]
struct Trouble<'a> {
    reason: &'static str,
    what: &'a str,
    advice: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tried: &'a [String],
}

/// The content of a channel's message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    /// A JSON message.
    Message(Value),
    /// Text that is no JSON.
    Text(&'a str),
    /// So many bytes of binary content.
    Bytes(usize),
}

/// Where events go.
pub(super) struct Events {
    /// Which of several peers in this process tells them.
    user: Option<Arc<str>>,
    listeners: Vec<mpsc::Sender<Arc<str>>>,
    dropped: AtomicU64,
}

#[derive(Serialize)]
struct Named<'a, E> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(flatten)]
    event: &'a E,
}

impl<'a> Content<'a> {
    /// A text message: as JSON if it is a JSON object.
    pub(super) fn of_text(text: &'a str) -> Self {
        match serde_json::from_str(text) {
            Ok(message @ Value::Object(_)) => Self::Message(message),
            _ => Self::Text(text),
        }
    }
}

impl Events {
    pub(super) fn new(listeners: Vec<mpsc::Sender<Arc<str>>>) -> Self {
        Self {
            user: None,
            listeners,
            dropped: AtomicU64::new(0),
        }
    }

    /// The same, with this peer's name in every event.
    pub(super) fn of(self, user: Option<Arc<str>>) -> Self {
        Self { user, ..self }
    }

    /// Tells why media doesn't come from, or to, this client or peer.
    pub(super) fn trouble(&self, client: Option<u32>, peer: Option<&str>, verdict: &Verdict) {
        let trouble = Trouble {
            reason: verdict.reason.name(),
            what: &verdict.what,
            advice: &verdict.advice,
            tried: &verdict.tried,
        };
        self.tell(&TroubleLine {
            client,
            peer,
            trouble,
        });
    }

    /// Tells every listener. One that doesn't keep up misses events.
    pub(super) fn tell(&self, event: &impl Serialize) {
        let user = self.user.as_deref();
        let Ok(line) = serde_json::to_string(&Named { user, event }) else {
            return;
        };
        let line: Arc<str> = line.into();
        for listener in &self.listeners {
            if listener.try_send(Arc::clone(&line)).is_err() {
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                if dropped.is_power_of_two() {
                    tracing::warn!(dropped, "events were dropped: a listener doesn't keep up");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let (sender, mut lines) = mpsc::channel(4);
        let events = Events::new(vec![sender]);
        let contents = [
            Content::Message(serde_json::from_str("{\n\"type\":\n\"wheel\"}").unwrap()),
            Content::Text("1,2,3\n"),
            Content::Bytes(7),
        ];
        for content in contents {
            events.tell(&Event {
                client: Some(1),
                peer: None,
                channel: "input-channel",
                content,
            });
        }
        let mut next = || lines.try_recv().unwrap().to_string();
        assert_eq!(
            next(),
            r#"{"client":1,"channel":"input-channel","message":{"type":"wheel"}}"#
        );
        assert_eq!(
            next(),
            r#"{"client":1,"channel":"input-channel","text":"1,2,3\n"}"#
        );
        assert_eq!(
            next(),
            r#"{"client":1,"channel":"input-channel","bytes":7}"#
        );
    }

    #[test]
    fn a_listener_that_does_not_keep_up_misses_events_and_nothing_else_happens() {
        let (sender, mut lines) = mpsc::channel(1);
        let events = Events::new(vec![sender]);
        for client in 1..=3 {
            events.tell(&Event {
                client: Some(client),
                peer: None,
                channel: "x",
                content: Content::Bytes(0),
            });
        }
        assert!(lines.try_recv().unwrap().contains("\"client\":1"));
        assert!(lines.try_recv().is_err());
        assert_eq!(events.dropped.load(Ordering::Relaxed), 2);
    }
}
