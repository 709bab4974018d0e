//! A gecko's side of the conversation with a server (gecko.md A3). Frames in, events out; whatever a
//! server sends, nothing here fails: what can't be read is an event too.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{self, Message};
use crate::config::IceServer;
use crate::dialect::cause::Errno;
use crate::dialect::negotiation::{Candidate, Sdp};
use crate::hub::Payload;

/// Bytes in a worker's id. It is a UUID, but nothing here needs it to be one.
const WORKER_ID_BYTES: usize = 128;
/// Workers that candidates may wait for at once; those of one more are dropped.
const EARLY_WORKERS: usize = 64;
/// Candidates that wait for one worker; more are dropped. Browsers send about a dozen.
const EARLY_CANDIDATES: usize = 64;
/// How long candidates wait for their worker's demand.
const EARLY_TIME: Duration = Duration::from_secs(5);

/// The id of a worker, as the server gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(Arc<str>);

/// What is to run, as a client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// `http:` or `https:`: a worker script at this URL, not checked any further.
    Script(String),
    /// `pipeline:NAME`: no script; this pipeline plays on the offer's media sections.
    Pipeline(String),
}

/// A client wants a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The worker's id.
    pub worker: WorkerId,
    /// Whose it is, as the server says.
    pub user: String,
    /// What is to run.
    pub job: Job,
    /// The client's offer.
    pub offer: Sdp,
    /// What the server tells of ICE servers.
    pub ice_servers: Vec<IceServer>,
    /// The client's candidates that were here first.
    pub candidates: Vec<Candidate>,
}

/// What a server tells a gecko.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeckoEvent {
    /// Start a worker. It counts until [`GeckoClient::ended`].
    NewWorker(Demand),
    /// A way to reach a worker's client.
    Candidate {
        /// Which worker's.
        worker: WorkerId,
        /// The way.
        candidate: Candidate,
    },
    /// A worker's client is gone, or took too long, before they were connected.
    Closed {
        /// Which worker's.
        worker: WorkerId,
        /// Why, in the server's words.
        reason: String,
    },
    /// Send this: a demand can't be met.
    Reply {
        /// The frame.
        frame: Payload,
        /// Why, for the log.
        why: String,
    },
    /// The server is not content with what we sent.
    ServerError(String),
    /// Something unexpected of the server. For the log.
    Unreadable(String),
}

/// A gecko.
#[derive(Debug)]
pub struct GeckoClient {
    id: String,
    capacity: usize,
    live: HashSet<WorkerId>,
    early: HashMap<WorkerId, Early>,
}

/// Candidates of a worker that wasn't demanded yet.
#[derive(Debug)]
struct Early {
    until: Instant,
    candidates: Vec<Candidate>,
}

impl WorkerId {
    /// An id, or `None` if it is empty or absurdly long.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        (1..=WORKER_ID_BYTES)
            .contains(&id.len())
            .then(|| Self(id.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Job {
    /// Reads a `source`, or says what it should be.
    fn parse(source: &str) -> Result<Self, String> {
        let (scheme, rest) = source.split_once(':').unwrap_or(("", source));
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Self::Script(source.to_owned())),
            "pipeline" => Ok(Self::Pipeline(rest.to_owned())),
            _ => Err(
                "the source must be the http or https URL of a script, or pipeline:NAME".to_owned(),
            ),
        }
    }
}

impl GeckoClient {
    /// A gecko with an id that survives its restarts, which runs at most `capacity` workers at once.
    #[must_use]
    pub fn new(id: &str, capacity: usize) -> Self {
        Self {
            id: id.to_owned(),
            capacity,
            live: HashSet::new(),
            early: HashMap::new(),
        }
    }

    /// The connection is up: what to send. There is no answer to it (gecko.md A3). Workers live on
    /// over connections.
    #[must_use]
    pub fn opened(&self) -> Payload {
        wire::gecko_hello(&self.id, self.capacity)
    }

    /// A text frame came; `None` if it means nothing to a gecko.
    pub fn frame(&mut self, now: Instant, frame: &str) -> Option<GeckoEvent> {
        let Some(message) = Message::parse(frame) else {
            return unreadable("it is no JSON object");
        };
        let kind = message.message_type().unwrap_or_default();
        if kind == "worker-error" {
            let reason = message.reason().unwrap_or_default();
            return Some(GeckoEvent::ServerError(reason));
        }
        let worker = message.worker_id().and_then(|id| WorkerId::new(&id));
        let Some(worker) = worker else {
            return unreadable(&format!("{kind:?} has no workerId"));
        };
        match kind.as_str() {
            "new-worker" => self.demand(now, worker, &message),
            "ice" => match message.candidate_line() {
                Some(candidate) => self.candidate(now, worker, candidate),
                None => unreadable("there is no candidate in it"),
            },
            "worker-closed" => {
                self.early.remove(&worker);
                let reason = message.reason().unwrap_or_default();
                let is_live = self.live.contains(&worker);
                is_live.then_some(GeckoEvent::Closed { worker, reason })
            }
            other => unreadable(&format!("{other:?} is unknown")),
        }
    }

    /// A worker is over: it counts no longer, and nothing more is told of it.
    pub fn ended(&mut self, worker: &WorkerId) {
        self.live.remove(worker);
    }

    fn demand(
        &mut self,
        now: Instant,
        worker: WorkerId,
        message: &Message<'_>,
    ) -> Option<GeckoEvent> {
        self.forget_old(now);
        let early = self.early.remove(&worker);
        if self.live.contains(&worker) {
            // A server may repeat what it isn't sure of.
            return None;
        }
        let refuse = |errno, why: String| {
            let frame = wire::worker_error(Some(worker.as_str()), errno, &why);
            Some(GeckoEvent::Reply { frame, why })
        };
        if self.live.len() >= self.capacity {
            let why = format!("this gecko runs no more than {} workers", self.capacity);
            return refuse(Errno::LIMIT, why);
        }
        let job = match Job::parse(&message.source_text().unwrap_or_default()) {
            Ok(job) => job,
            Err(why) => return refuse(Errno::UNABLE_TO_FETCH_WORKER_CODE, why),
        };
        let Some(offer) = message.offer_text() else {
            return refuse(Errno::BAD_MESSAGE, "webrtcOffer is missing".to_owned());
        };
        self.live.insert(worker.clone());
        Some(GeckoEvent::NewWorker(Demand {
            worker,
            user: message.user_id().unwrap_or_default(),
            job,
            offer: Sdp::new(offer),
            ice_servers: message.ice_servers(),
            candidates: early.map(|early| early.candidates).unwrap_or_default(),
        }))
    }

    /// A candidate goes to its worker, or waits for it a while.
    fn candidate(
        &mut self,
        now: Instant,
        worker: WorkerId,
        candidate: Candidate,
    ) -> Option<GeckoEvent> {
        if self.live.contains(&worker) {
            return Some(GeckoEvent::Candidate { worker, candidate });
        }
        self.forget_old(now);
        if self.early.len() >= EARLY_WORKERS && !self.early.contains_key(&worker) {
            return unreadable("too many workers have candidates, but no demand");
        }
        let early = self.early.entry(worker).or_insert_with(|| Early {
            until: now + EARLY_TIME,
            candidates: Vec::new(),
        });
        if early.candidates.len() < EARLY_CANDIDATES {
            early.candidates.push(candidate);
        }
        None
    }

    fn forget_old(&mut self, now: Instant) {
        self.early.retain(|_, early| early.until > now);
    }
}

fn unreadable(why: &str) -> Option<GeckoEvent> {
    Some(GeckoEvent::Unreadable(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn demand(worker: &str, source: &str) -> String {
        json!({"messageType": "new-worker", "userId": "anna", "workerId": worker, "source": source, "webrtcOffer": "v=0"}).to_string()
    }

    fn ice(worker: &str, candidate: Value) -> String {
        json!({"messageType": "ice", "action": "client-candidate", "workerId": worker, "candidate": candidate}).to_string()
    }

    fn line(n: u32) -> Value {
        json!({"candidate": format!("candidate:{n}"), "sdpMid": "", "sdpMLineIndex": n})
    }

    fn id(worker: &str) -> WorkerId {
        WorkerId::new(worker).unwrap()
    }

    fn candidates(event: Option<GeckoEvent>) -> usize {
        match event {
            Some(GeckoEvent::NewWorker(demand)) => demand.candidates.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_who_it_is_and_what_it_can() {
        let hello: Value =
            serde_json::from_str(GeckoClient::new("g\"1", 8).opened().as_str()).unwrap();
        assert_eq!(
            hello,
            json!({"messageType": "hello", "action": "worker-hello", "geckoId": "g\"1", "capacity": 8, "capabilities": ["worker-closed"]})
        );
    }

    #[test]
    fn takes_demands_up_to_its_capacity_and_refuses_with_a_reason() {
        let (mut gecko, now) = (GeckoClient::new("g", 1), Instant::now());
        let refused = |event: Option<GeckoEvent>| match event {
            Some(GeckoEvent::Reply { frame, .. }) => {
                let error: Value = serde_json::from_str(frame.as_str()).unwrap();
                (error["errno"].clone(), error["workerId"].clone())
            }
            other => panic!("{other:?}"),
        };
        let odd = gecko.frame(now, &demand("0", "file:///etc/passwd"));
        assert_eq!(refused(odd), (json!(201), json!("0")));
        let bare = json!({"messageType": "new-worker", "workerId": "0", "source": "http://x"});
        let bare = gecko.frame(now, &bare.to_string());
        assert_eq!(refused(bare), (json!(400), json!("0")));

        let first = gecko.frame(now, &demand("1", "HTTPS://x/w.js"));
        assert_eq!(
            first,
            Some(GeckoEvent::NewWorker(Demand {
                worker: id("1"),
                user: "anna".to_owned(),
                job: Job::Script("HTTPS://x/w.js".to_owned()),
                offer: Sdp::new("v=0"),
                ice_servers: Vec::new(),
                candidates: Vec::new(),
            }))
        );
        assert_eq!(gecko.frame(now, &demand("1", "https://x/w.js")), None);
        let second = gecko.frame(now, &demand("2", "pipeline:test"));
        assert_eq!(refused(second), (json!(429), json!("2")));
        gecko.ended(&id("1"));
        let second = gecko.frame(now, &demand("2", "pipeline:test"));
        assert!(
            matches!(second, Some(GeckoEvent::NewWorker(Demand { job: Job::Pipeline(name), .. })) if name == "test")
        );
    }

    #[test]
    fn a_demand_may_bring_ice_servers() {
        let mut demand: Value = serde_json::from_str(&demand("1", "pipeline:test")).unwrap();
        for (list, expected) in [
            (
                json!([{"urls": ["stun:s"]}]),
                vec![IceServer::bare("stun:s")],
            ),
            (json!("none"), Vec::new()),
        ] {
            demand["iceServers"] = list;
            let mut gecko = GeckoClient::new("g", 1);
            let event = gecko.frame(Instant::now(), &demand.to_string());
            assert!(
                matches!(event, Some(GeckoEvent::NewWorker(Demand { ice_servers, .. })) if ice_servers == expected)
            );
        }
    }

    #[test]
    fn candidates_may_come_before_their_demand_but_not_long_before_and_not_too_many() {
        let (mut gecko, now) = (GeckoClient::new("g", 8), Instant::now());
        let later = now + EARLY_TIME;
        assert_eq!(gecko.frame(now, &ice("1", line(0))), None);
        assert_eq!(
            candidates(gecko.frame(now, &demand("1", "pipeline:test"))),
            1
        );
        assert!(matches!(
            gecko.frame(now, &ice("1", line(1))),
            Some(GeckoEvent::Candidate { candidate, .. }) if candidate.mid.is_none() && candidate.mline_index == Some(1)
        ));

        assert_eq!(gecko.frame(now, &ice("2", line(0))), None);
        assert_eq!(
            candidates(gecko.frame(later, &demand("2", "pipeline:test"))),
            0
        );

        for n in 0..2 * EARLY_CANDIDATES {
            let n = u32::try_from(n).unwrap();
            assert_eq!(gecko.frame(now, &ice("3", line(n))), None);
        }
        assert_eq!(
            candidates(gecko.frame(now, &demand("3", "pipeline:test"))),
            EARLY_CANDIDATES
        );
        for n in 0..2 * EARLY_WORKERS {
            let _ = gecko.frame(now, &ice(&format!("w{n}"), line(0)));
        }
        assert_eq!(gecko.early.len(), EARLY_WORKERS);
    }

    #[test]
    fn both_names_of_the_section_index_are_known() {
        let (mut gecko, now) = (GeckoClient::new("g", 8), Instant::now());
        let _ = gecko.frame(now, &demand("1", "pipeline:test"));
        let alias = json!({"candidate": "c", "sdpMid": "data", "sdpLineIndex": 3});
        assert_eq!(
            gecko.frame(now, &ice("1", alias)),
            Some(GeckoEvent::Candidate {
                worker: id("1"),
                candidate: Candidate {
                    candidate: "c".to_owned(),
                    mid: Some("data".to_owned()),
                    mline_index: Some(3),
                },
            })
        );
    }

    #[test]
    fn hears_of_the_end_of_a_client_and_of_its_own_mistakes() {
        let (mut gecko, now) = (GeckoClient::new("g", 8), Instant::now());
        let _ = gecko.frame(now, &demand("1", "pipeline:test"));
        let closed = |worker: &str| {
            json!({"messageType": "worker-closed", "workerId": worker, "reason": "client-gone"})
                .to_string()
        };
        assert_eq!(
            gecko.frame(now, &closed("1")),
            Some(GeckoEvent::Closed {
                worker: id("1"),
                reason: "client-gone".to_owned()
            })
        );
        assert_eq!(gecko.frame(now, &closed("2")), None);
        let error = json!({"messageType": "worker-error", "workerId": null, "errno": 400, "reason": "Wrong message"});
        assert_eq!(
            gecko.frame(now, &error.to_string()),
            Some(GeckoEvent::ServerError("Wrong message".to_owned()))
        );
    }

    #[test]
    fn what_it_says_is_what_the_server_reads() {
        let quoted = |payload: &Payload| serde_json::from_str::<Value>(payload.as_str()).unwrap();
        let candidate = |mid: Option<&str>| Candidate {
            candidate: "candidate:1".to_owned(),
            mid: mid.map(str::to_owned),
            mline_index: Some(0),
        };
        assert_eq!(
            quoted(&wire::gecko_candidate("w", &candidate(None))),
            json!({"messageType": "ice", "workerId": "w", "action": "worker-candidate", "candidate": {"candidate": "candidate:1", "sdpMLineIndex": 0}})
        );
        let named = quoted(&wire::gecko_candidate("w", &candidate(Some("0"))));
        assert_eq!(named["candidate"]["sdpMid"], "0");
        assert_eq!(
            quoted(&wire::worker_created("w", &Sdp::new("v=0\r\n"))),
            json!({"messageType": "worker-created", "workerId": "w", "webrtcAnswer": "v=0\r\n"})
        );
        assert_eq!(
            quoted(&wire::connected("w")),
            json!({"messageType": "connected", "workerId": "w"})
        );
    }

    fn a_frame() -> impl Strategy<Value = String> {
        let kind = prop::sample::select(vec![
            "new-worker",
            "ice",
            "worker-closed",
            "worker-error",
            "x",
        ]);
        let made = (kind, "[a-c]{0,1}", ".*", any::<bool>()).prop_map(|(kind, worker, text, whole)| {
            let candidate = if whole { line(0) } else { json!(text) };
            json!({"messageType": kind, "workerId": worker, "source": format!("http:{text}"), "webrtcOffer": text, "candidate": candidate}).to_string()
        });
        prop_oneof![made, ".*"]
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_nothing_breaks_or_grows(frames in prop::collection::vec(a_frame(), 0..60)) {
            let (mut gecko, now) = (GeckoClient::new("g", 2), Instant::now());
            for frame in frames {
                let _ = gecko.frame(now, &frame);
                prop_assert!(gecko.live.len() <= 2 && gecko.early.len() <= EARLY_WORKERS);
            }
        }
    }
}
