//! What goes over a worker's channels, and in which form (gecko.md B1). Pure.

use std::collections::VecDeque;

use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::worker::{Level, Message, Uncaught};

/// The label of the worker's own channel.
pub(super) const WORKER: &str = "worker";
/// The label of the channel for errors and console lines.
pub(super) const CONTROL: &str = "control";
/// The protocol of a channel whose text messages are values as JSON.
const JSON_PROTOCOL: &str = "rws.v1";

/// How long a channel of another label waits for one that is named `worker`.
const PREFERENCE: Duration = Duration::from_millis(200);
/// Lines for the control channel that wait until it is open; the oldest are left out.
const LINES: usize = 64;

/// Which channel is the worker's.
#[derive(Debug, Default)]
pub(super) struct Choice {
    chosen: Option<Channel>,
    /// The first channel, if it has another label, and until when it waits.
    spare: Option<(String, Instant)>,
}

/// The worker's channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) label: String,
    /// Text messages are strings, and not values as JSON.
    is_raw: bool,
}

/// What the client is told over the control channel, as soon as there is one.
#[derive(Debug, Default)]
pub(super) struct Lines {
    is_open: bool,
    waiting: VecDeque<String>,
}

impl Choice {
    /// The worker's channel, once it is chosen.
    pub(super) const fn chosen(&self) -> Option<&Channel> {
        self.chosen.as_ref()
    }

    /// A channel is open. Whether it is the worker's.
    pub(super) fn opened(&mut self, now: Instant, label: &str) -> bool {
        if label != WORKER && label != CONTROL && self.spare.is_none() {
            self.spare = Some((label.to_owned(), now + PREFERENCE));
        }
        label == WORKER && self.chosen.is_none()
    }

    /// When a channel of another label is to be chosen.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = self.chosen.is_none();
        self.spare.as_ref().filter(|_| waits).map(|(_, at)| *at)
    }

    /// The channel to choose at the deadline, or because a message came on `label`.
    pub(super) fn spare(&self, label: Option<&str>) -> Option<String> {
        let (spare, _) = self.spare.as_ref().filter(|_| self.chosen.is_none())?;
        label
            .is_none_or(|label| label == spare)
            .then(|| spare.clone())
    }

    /// Chooses a channel, which has this protocol.
    pub(super) fn choose(&mut self, label: String, protocol: &str) {
        let is_raw = protocol != JSON_PROTOCOL;
        self.chosen = Some(Channel { label, is_raw });
    }
}

impl Channel {
    /// The message for the worker, whose own form is JSON.
    pub(super) fn inward(&self, text: String) -> Message {
        Message::Text(if self.is_raw {
            json!(text).to_string()
        } else {
            text
        })
    }

    /// The worker's text message for the client; an error if the channel can't carry it.
    pub(super) fn outward(&self, text: String) -> Result<String, Uncaught> {
        if !self.is_raw {
            return Ok(text);
        }
        serde_json::from_str(&text).map_err(|_| Uncaught {
            message: format!(
                "DataCloneError: only strings and bytes can be posted over a channel without the protocol {JSON_PROTOCOL}"
            ),
            ..Uncaught::default()
        })
    }
}

impl Lines {
    /// Keeps a line until the channel is open; gives it back if it is.
    pub(super) fn add(&mut self, line: String) -> Option<String> {
        if self.is_open {
            return Some(line);
        }
        if self.waiting.len() >= LINES {
            self.waiting.pop_front();
        }
        self.waiting.push_back(line);
        None
    }

    /// The channel is open: what waited for it.
    pub(super) fn open(&mut self) -> VecDeque<String> {
        self.is_open = true;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn close(&mut self) {
        self.is_open = false;
    }
}

/// A console line for the control channel.
pub(super) fn console(level: Level, message: &str) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    json!({"type": "console", "level": level, "message": message}).to_string()
}

/// An exception for the control channel.
pub(super) fn uncaught(error: &Uncaught) -> String {
    json!({
        "type": "error",
        "message": error.message,
        "file": error.file,
        "line": error.line,
        "stack": error.stack,
        "fatal": false,
    })
    .to_string()
}

/// The worker's end, for the control channel.
pub(super) fn fatal(message: &str) -> String {
    json!({"type": "error", "message": message, "fatal": true}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_named_worker_is_preferred_and_another_is_taken_after_a_while() {
        let now = Instant::now();
        let mut choice = Choice::default();
        assert!(!choice.opened(now, CONTROL));
        assert_eq!((choice.deadline(), choice.spare(None)), (None, None));
        assert!(!choice.opened(now, "x"));
        assert!(!choice.opened(now, "y"));
        assert_eq!(choice.deadline(), Some(now + PREFERENCE));
        assert_eq!(choice.spare(Some("y")), None);
        assert_eq!(choice.spare(Some("x")).as_deref(), Some("x"));
        assert_eq!(choice.spare(None).as_deref(), Some("x"));
        assert!(choice.opened(now, WORKER));
        choice.choose(WORKER.to_owned(), "");
        assert_eq!((choice.deadline(), choice.spare(None)), (None, None));
        assert!(!choice.opened(now, WORKER));
    }

    #[test]
    fn text_is_json_only_where_the_protocol_says_so() {
        let mut choice = Choice::default();
        choice.choose("a".to_owned(), JSON_PROTOCOL);
        let json = choice.chosen().unwrap();
        assert_eq!(
            json.inward("[1]".to_owned()),
            Message::Text("[1]".to_owned())
        );
        assert_eq!(json.outward("[1]".to_owned()).unwrap(), "[1]");
        let mut choice = Choice::default();
        choice.choose("a".to_owned(), "other");
        let raw = choice.chosen().unwrap();
        assert_eq!(
            raw.inward("\"".to_owned()),
            Message::Text(r#""\"""#.to_owned())
        );
        assert_eq!(raw.outward(r#""\"""#.to_owned()).unwrap(), "\"");
        assert!(raw.outward("[1]".to_owned()).is_err());
    }

    #[test]
    fn lines_wait_for_the_control_channel_and_the_oldest_go() {
        let mut lines = Lines::default();
        for n in 0..=LINES {
            assert_eq!(lines.add(n.to_string()), None);
        }
        let waited = lines.open();
        assert_eq!((waited.len(), waited[0].as_str()), (LINES, "1"));
        assert_eq!(lines.add("x".to_owned()).as_deref(), Some("x"));
        lines.close();
        assert_eq!(lines.add("x".to_owned()), None);
    }
}
