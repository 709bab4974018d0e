//! A page's side of the conversation with a server (gecko.md A2, A4): it demands a worker, and offers
//! its media and channels. Frames in, events out; whatever a server sends, nothing here fails.

use serde_json::json;

use super::wire::Message;
use crate::dialect::cause::Errno;
use crate::dialect::negotiation::{Candidate, Sdp};

/// A page that wants one worker.
#[derive(Debug, Default)]
pub struct PageClient {
    worker: Option<String>,
}

/// What a server tells a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageEvent {
    /// A gecko runs the worker and answers the offer.
    Answered {
        /// The worker's id.
        worker: String,
        /// The answer.
        answer: Sdp,
    },
    /// A way to reach the worker.
    Candidate(Candidate),
    /// Page and worker are connected; the server closes the connection now.
    Connected,
    /// There is no worker.
    Refused {
        /// The number of the error.
        errno: Errno,
        /// Why, in the server's or the gecko's words.
        reason: String,
    },
    /// Something unexpected. For the log.
    Unreadable(String),
}

impl PageClient {
    /// The demand, the first that is sent: whose it is, what is to run, and the offer.
    #[must_use]
    pub fn hello(&self, token: &str, source: &str, offer: &Sdp) -> String {
        json!({
            "messageType": "hello",
            "action": "client-hello",
            "authorization": format!("Bearer {token}"),
            "source": source,
            "webrtcOffer": offer.as_str(),
        })
        .to_string()
    }

    /// The frame that brings a candidate to the worker.
    #[must_use]
    pub fn candidate(&self, it: &Candidate) -> String {
        let candidate = json!({
            "candidate": it.candidate,
            "sdpMid": it.mid,
            "sdpMLineIndex": it.mline_index,
        });
        json!({"messageType": "ice", "action": "client-candidate", "candidate": candidate})
            .to_string()
    }

    /// The worker's id, once it is known.
    #[must_use]
    pub fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// A text frame came; `None` if it means nothing to a page.
    pub fn frame(&mut self, frame: &str) -> Option<PageEvent> {
        let unreadable = |why: String| Some(PageEvent::Unreadable(why));
        let Some(message) = Message::parse(frame) else {
            return unreadable("it is no JSON object".to_owned());
        };
        match message.message_type().unwrap_or_default().as_str() {
            "hello" => match (message.worker_id(), message.answer_text()) {
                (Some(worker), Some(answer)) => {
                    self.worker = Some(worker.clone());
                    let answer = Sdp::new(answer);
                    Some(PageEvent::Answered { worker, answer })
                }
                _ => unreadable("a hello without workerId or webrtcAnswer".to_owned()),
            },
            "ice" => match message.candidate_line() {
                Some(candidate) => Some(PageEvent::Candidate(candidate)),
                None => unreadable("there is no candidate in it".to_owned()),
            },
            "connected" => Some(PageEvent::Connected),
            "worker-error" => Some(PageEvent::Refused {
                errno: message.errno().unwrap_or(Errno::INTERNAL),
                reason: message.reason().unwrap_or_default(),
            }),
            // An old server's error.
            "progress" => Some(PageEvent::Refused {
                errno: Errno::INTERNAL,
                reason: message.reason().unwrap_or_default(),
            }),
            other => unreadable(format!("{other:?} is unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn demands_a_worker_and_hears_how_it_goes() {
        let mut page = PageClient::default();
        let hello = page.hello("anna", "pipeline:test", &Sdp::new("v=0"));
        let hello: Value = serde_json::from_str(&hello).unwrap();
        assert_eq!(hello["authorization"], "Bearer anna");
        assert_eq!(hello["webrtcOffer"], "v=0");
        let answer = json!({"messageType": "hello", "action": "worker-hello", "workerId": "7", "webrtcAnswer": "v=1"});
        assert!(matches!(
            page.frame(&answer.to_string()),
            Some(PageEvent::Answered { worker, answer }) if worker == "7" && answer.as_str() == "v=1"
        ));
        assert_eq!(page.worker(), Some("7"));
        assert_eq!(
            page.frame(r#"{"messageType":"worker-error","errno":301,"reason":"none here"}"#),
            Some(PageEvent::Refused {
                errno: Errno::NO_GECKO,
                reason: "none here".to_owned()
            })
        );
        assert_eq!(
            page.frame(r#"{"messageType":"connected"}"#),
            Some(PageEvent::Connected)
        );
    }

    #[test]
    fn nothing_that_a_server_sends_breaks_a_page() {
        for frame in [
            "",
            "[]",
            "7",
            "{}",
            r#"{"messageType":"hello"}"#,
            r#"{"messageType":"ice"}"#,
        ] {
            let event = PageClient::default().frame(frame);
            assert!(matches!(event, Some(PageEvent::Unreadable(_))), "{frame}");
        }
    }
}
