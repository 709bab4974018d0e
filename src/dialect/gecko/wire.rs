//! The messages, as the server and a gecko read and print them (gecko.md A2 to A5).
//!
//! What is relayed (`source`, `webrtcOffer`, `webrtcAnswer`, `candidate`) is cut out of its frame as
//! it was sent, never parsed into values and printed again.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::IceServer;
use crate::dialect::cause::Errno;
use crate::dialect::negotiation::{Candidate, Sdp, ice_servers};
use crate::hub::{Access, AccountId, Closed, Payload, SessionId, Step};

/// What a gecko says in its hello's `capabilities` if it wants to hear `worker-closed`.
pub const HEARS_CLOSES: &str = "worker-closed";

/// An ICE user name fragment is 4 to 256 characters long (RFC 8839 section 5.4).
const UFRAG_BYTES: usize = 256;

/// The fields of a message that are read, each as it was sent. The last of a name counts.
#[derive(Debug, Default, Clone, Copy)]
pub struct Message<'a> {
    message_type: Option<&'a RawValue>,
    action: Option<&'a RawValue>,
    authorization: Option<&'a RawValue>,
    source: Option<&'a RawValue>,
    webrtc_offer: Option<&'a RawValue>,
    webrtc_answer: Option<&'a RawValue>,
    candidate: Option<&'a RawValue>,
    worker_id: Option<&'a RawValue>,
    gecko_id: Option<&'a RawValue>,
    user_id: Option<&'a RawValue>,
    errno: Option<&'a RawValue>,
    reason: Option<&'a RawValue>,
    capacity: Option<&'a RawValue>,
    capabilities: Option<&'a RawValue>,
    ice_servers: Option<&'a RawValue>,
}

/// A gecko's `capacity` is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCapacity;

impl<'a> Message<'a> {
    /// Reads a JSON object; `None` if it is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// `messageType`
    #[must_use]
    pub fn message_type(&self) -> Option<String> {
        text_of(self.message_type?)
    }

    /// `action`; anything but a text as it was sent.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        let action = self.action?;
        Some(text_of(action).unwrap_or_else(|| action.get().to_owned()))
    }

    /// `authorization`
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        text_of(self.authorization?)
    }

    /// `geckoId`
    #[must_use]
    pub fn gecko_id(&self) -> Option<String> {
        text_of(self.gecko_id?)
    }

    /// `workerId`; anything but a text as it was sent. `null` is none.
    #[must_use]
    pub fn worker_id(&self) -> Option<String> {
        let id = self.worker_id.filter(|id| id.get() != "null")?;
        Some(text_of(id).unwrap_or_else(|| id.get().to_owned()))
    }

    /// `userId`
    #[must_use]
    pub fn user_id(&self) -> Option<String> {
        text_of(self.user_id?)
    }

    /// `reason`
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        text_of(self.reason?)
    }

    /// `errno`, if it is a number that fits.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        serde_json::from_str(self.errno?.get()).ok().map(Errno)
    }

    /// What `webrtcAnswer` says.
    #[must_use]
    pub fn answer_text(&self) -> Option<String> {
        text_of(self.webrtc_answer?)
    }

    /// What `source` says.
    #[must_use]
    pub fn source_text(&self) -> Option<String> {
        text_of(self.source?)
    }

    /// What `webrtcOffer` says.
    #[must_use]
    pub fn offer_text(&self) -> Option<String> {
        text_of(self.webrtc_offer?)
    }

    /// What `candidate` says. An empty `sdpMid`, which the documents' own sample has, is none, and
    /// `sdpLineIndex`, as their list of fields calls it, is `sdpMLineIndex` (gecko.md A2).
    #[must_use]
    pub fn candidate_line(&self) -> Option<Candidate> {
        #[derive(Deserialize)]
        struct Written {
            candidate: String,
            #[serde(rename = "sdpMid")]
            mid: Option<String>,
            #[serde(rename = "sdpMLineIndex", alias = "sdpLineIndex")]
            mline_index: Option<u32>,
        }
        let written: Written = serde_json::from_str(self.candidate?.get()).ok()?;
        Some(Candidate {
            candidate: written.candidate,
            mid: written.mid.filter(|mid| !mid.is_empty()),
            mline_index: written.mline_index,
        })
    }

    /// `capacity`; `null` is none.
    ///
    /// # Errors
    /// [`BadCapacity`]
    pub fn capacity(&self) -> Result<Option<usize>, BadCapacity> {
        match self.capacity {
            Some(capacity) => serde_json::from_str(capacity.get()).map_err(|_| BadCapacity),
            None => Ok(None),
        }
    }

    /// Whether `capabilities` has an entry.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        let list = self.capabilities.map(RawValue::get).unwrap_or_default();
        serde_json::from_str::<Vec<String>>(list)
            .is_ok_and(|list| list.iter().any(|known| known == capability))
    }

    /// `source`, verbatim with its quotes, if it is a text and not empty.
    #[must_use]
    pub fn source(&self, frame: &Payload) -> Option<Payload> {
        quoted(self.source, frame)
    }

    /// `webrtcOffer`, as [`Self::source`].
    #[must_use]
    pub fn offer(&self, frame: &Payload) -> Option<Payload> {
        quoted(self.webrtc_offer, frame)
    }

    /// `webrtcAnswer`, as [`Self::source`].
    #[must_use]
    pub fn answer(&self, frame: &Payload) -> Option<Payload> {
        quoted(self.webrtc_answer, frame)
    }

    /// `candidate`, verbatim, whatever it is.
    #[must_use]
    pub fn candidate(&self, frame: &Payload) -> Option<Payload> {
        self.candidate.map(|it| frame.slice(it.get()))
    }

    /// The step that the answer is, with the ICE user name fragments in it: what candidates without
    /// a `workerId` are known by (gecko.md A4).
    #[must_use]
    pub fn answered(&self) -> Step {
        let answer = self.webrtc_answer.and_then(text_of).unwrap_or_default();
        let mut tags: Vec<Box<str>> = Vec::new();
        for line in answer.lines() {
            if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:").map(str::trim)
                && ufrag.len() <= UFRAG_BYTES
                && tags.len() < Step::TAGS
                && !tags.iter().any(|known| **known == *ufrag)
            {
                tags.push(ufrag.into());
            }
        }
        Step::Answer { tags }
    }

    /// The ICE servers that a server tells, an addition of ours; none is fine.
    #[must_use]
    pub fn ice_servers(&self) -> Vec<IceServer> {
        let list = self.ice_servers.map(RawValue::get).unwrap_or_default();
        serde_json::from_str(list).map_or_else(|_| Vec::new(), |list| ice_servers(&list))
    }

    /// The ICE user name fragment that the candidate names, as a field of its own or in its line
    /// (RFC 8839 section 5.1, extension attribute `ufrag`).
    #[must_use]
    pub fn candidate_ufrag(&self) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Candidate {
            candidate: Option<String>,
            username_fragment: Option<String>,
        }
        let candidate: Candidate = serde_json::from_str(self.candidate?.get()).ok()?;
        candidate.username_fragment.or_else(|| {
            let line = candidate.candidate?;
            let mut words = line.split_ascii_whitespace();
            words.find(|word| *word == "ufrag")?;
            words.next().map(str::to_owned)
        })
    }

    /// A gecko's `worker-error` for the client: verbatim if its `errno` is an integer, as it should
    /// be; else with one, which is the one in its text if there is one.
    #[must_use]
    pub fn failure(&self, frame: &Payload) -> Payload {
        let errno = self.errno.map(RawValue::get).unwrap_or_default();
        if serde_json::from_str::<i64>(errno).is_ok() {
            return frame.clone();
        }
        let in_text = self.errno.and_then(text_of);
        let errno = in_text.and_then(|text| text.trim().parse::<i64>().ok());
        let errno = errno.unwrap_or_else(|| Errno::GECKO_PROTOCOL.0.into());
        let Ok(mut members) =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(frame.as_str())
        else {
            return frame.clone();
        };
        members.insert("errno".to_owned(), errno.into());
        Payload::from(serde_json::Value::Object(members).to_string())
    }
}

/// `new-worker`, to a gecko. ICE servers are an addition of ours (gecko.md A10).
#[must_use]
pub fn new_worker(
    account: &AccountId,
    worker: SessionId,
    source: &Payload,
    offer: &Payload,
    ice_servers: Option<&Payload>,
) -> Payload {
    let user = json(account.as_str());
    let (source, offer) = (source.as_str(), offer.as_str());
    let more = ice_servers_field(ice_servers);
    Payload::from(format!(
        r#"{{"messageType":"new-worker","userId":{user},"workerId":"{worker}","source":{source},"webrtcOffer":{offer}{more}}}"#
    ))
}

/// What a demand for this source asks for: a script is run; a pipeline (`pipeline:NAME`, an addition
/// of ours) is only seen and heard.
#[must_use]
pub fn access(source: &Payload) -> Access {
    let source: String = serde_json::from_str(source.as_str()).unwrap_or_default();
    match source.split_once(':') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("pipeline") => Access::View,
        _ => Access::Control,
    }
}

/// A client's candidate, to a gecko.
#[must_use]
pub fn client_candidate(worker: SessionId, candidate: &Payload) -> Payload {
    ice(
        "client-candidate",
        &json(worker.to_string().as_str()),
        candidate,
    )
}

/// A gecko's candidate, to a client.
#[must_use]
pub fn worker_candidate(worker: SessionId, candidate: &Payload) -> Payload {
    ice(
        "worker-candidate",
        &json(worker.to_string().as_str()),
        candidate,
    )
}

/// A gecko's answer, to a client. ICE servers are an addition of ours (gecko.md A10).
#[must_use]
pub fn worker_hello(worker: SessionId, answer: &Payload, ice_servers: Option<&Payload>) -> Payload {
    let answer = answer.as_str();
    let more = ice_servers_field(ice_servers);
    Payload::from(format!(
        r#"{{"messageType":"hello","action":"worker-hello","workerId":"{worker}","webrtcAnswer":{answer}{more}}}"#
    ))
}

/// A gecko's first message. It has `capacity` workers at once, and hears `worker-closed`.
#[must_use]
pub fn gecko_hello(id: &str, capacity: usize) -> Payload {
    let id = json(id);
    Payload::from(format!(
        r#"{{"messageType":"hello","action":"worker-hello","geckoId":{id},"capacity":{capacity},"capabilities":["{HEARS_CLOSES}"]}}"#
    ))
}

/// A gecko's answer.
#[must_use]
pub fn worker_created(worker: &str, answer: &Sdp) -> Payload {
    let (worker, answer) = (json(worker), json(answer.as_str()));
    Payload::from(format!(
        r#"{{"messageType":"worker-created","workerId":{worker},"webrtcAnswer":{answer}}}"#
    ))
}

/// A gecko's candidate, with the section's real name or none: browsers refuse an empty one.
#[must_use]
pub fn gecko_candidate(worker: &str, candidate: &Candidate) -> Payload {
    let mut object = serde_json::json!({ "candidate": candidate.candidate });
    if let Some(mid) = &candidate.mid {
        object["sdpMid"] = mid.as_str().into();
    }
    object["sdpMLineIndex"] = candidate.mline_index.unwrap_or(0).into();
    ice(
        "worker-candidate",
        &json(worker),
        &Payload::from(object.to_string()),
    )
}

/// A gecko's last word on a worker: it and its client are connected.
#[must_use]
pub fn connected(worker: &str) -> Payload {
    let worker = json(worker);
    Payload::from(format!(
        r#"{{"messageType":"connected","workerId":{worker}}}"#
    ))
}

/// `worker-error`
#[must_use]
pub fn worker_error(worker: Option<&str>, errno: Errno, reason: &str) -> Payload {
    let (worker, errno, reason) = (json(worker), errno.0, json(reason));
    Payload::from(format!(
        r#"{{"messageType":"worker-error","workerId":{worker},"errno":{errno},"reason":{reason}}}"#
    ))
}

/// An error in the reference server's own form.
#[must_use]
pub fn progress(worker: Option<&str>, reason: &str) -> Payload {
    let (worker, reason) = (json(worker), json(reason));
    Payload::from(format!(
        r#"{{"messageType":"progress","workerId":{worker},"status":"terminated","reason":{reason}}}"#
    ))
}

/// `worker-closed`, to a gecko that wants it.
#[must_use]
pub fn worker_closed(worker: SessionId, why: Closed) -> Payload {
    let reason = match why {
        Closed::CallerLeft => "client-gone",
        Closed::TimedOut => "timeout",
    };
    Payload::from(format!(
        r#"{{"messageType":"worker-closed","workerId":"{worker}","reason":"{reason}"}}"#
    ))
}

/// `worker` is JSON.
fn ice(action: &str, worker: &str, candidate: &Payload) -> Payload {
    let candidate = candidate.as_str();
    Payload::from(format!(
        r#"{{"messageType":"ice","workerId":{worker},"action":"{action}","candidate":{candidate}}}"#
    ))
}

fn ice_servers_field(servers: Option<&Payload>) -> String {
    servers.map_or_else(String::new, |servers| {
        format!(r#","iceServers":{}"#, servers.as_str())
    })
}

/// A text, or nothing, as JSON.
fn json<'a>(text: impl Into<Option<&'a str>>) -> String {
    serde_json::json!(text.into()).to_string()
}

fn quoted(field: Option<&RawValue>, frame: &Payload) -> Option<Payload> {
    let raw = field?;
    text_of(raw).filter(|text| !text.is_empty())?;
    Some(frame.slice(raw.get()))
}

/// The text of a JSON string.
fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The names of the fields that are read.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    MessageType,
    Action,
    Authorization,
    Source,
    WebrtcOffer,
    WebrtcAnswer,
    Candidate,
    WorkerId,
    GeckoId,
    UserId,
    Errno,
    Reason,
    Capacity,
    Capabilities,
    IceServers,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Message<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut message = Message::default();
                while let Some(field) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    let place = match field {
                        Field::MessageType => &mut message.message_type,
                        Field::Action => &mut message.action,
                        Field::Authorization => &mut message.authorization,
                        Field::Source => &mut message.source,
                        Field::WebrtcOffer => &mut message.webrtc_offer,
                        Field::WebrtcAnswer => &mut message.webrtc_answer,
                        Field::Candidate => &mut message.candidate,
                        Field::WorkerId => &mut message.worker_id,
                        Field::GeckoId => &mut message.gecko_id,
                        Field::UserId => &mut message.user_id,
                        Field::Reason => &mut message.reason,
                        Field::Errno => &mut message.errno,
                        Field::Capacity => &mut message.capacity,
                        Field::Capabilities => &mut message.capabilities,
                        Field::IceServers => &mut message.ice_servers,
                        Field::Other => continue,
                    };
                    *place = Some(value);
                }
                Ok(message)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
