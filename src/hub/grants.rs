//! What a connection may do, by its token: the one place where commands are allowed or refused.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conference::{Ask, Denied, Told};
use super::{
    CallError, Command, EndpointId, Event, JoinError, Namespace, NotGranted, Offer, PairError,
    RegistrationError, Request, RoomId, SessionError,
};

/// What a connection may do. By default everything, as where no tokens are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Option<Arc<[Grant]>>);

/// One thing that a token allows. In a token as JSON: `{"role": "device", "ids": ["cam-*"]}`. Lists
/// that are left out allow every name, and flags that are left out are true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase", deny_unknown_fields)]
pub enum Grant {
    /// Register as a Cuttlefish device.
    Device {
        /// Under which ids.
        #[serde(default)]
        ids: Names,
    },
    /// Register as a gecko.
    Gecko {
        /// Under which ids.
        #[serde(default)]
        ids: Names,
    },
    /// Register as a GStreamer peer.
    Peer {
        /// Under which ids.
        #[serde(default)]
        ids: Names,
        /// Which peers to call.
        #[serde(default)]
        calls: Names,
        /// Which rooms to join.
        #[serde(default)]
        rooms: Names,
    },
    /// Call a Cuttlefish device, or ask geckos for a worker.
    Client {
        /// Which devices.
        #[serde(default)]
        ids: Names,
    },
    /// Be in rooms whose media the server forwards.
    Participant {
        /// In which.
        #[serde(default)]
        rooms: Names,
        /// Under which names.
        #[serde(default)]
        ids: Names,
        /// Send media there.
        #[serde(default = "yes")]
        publish: bool,
        /// Receive the others' media.
        #[serde(default = "yes")]
        subscribe: bool,
    },
    /// See and change everything over HTTP, and nothing else.
    Admin,
}

/// Which names are meant: each as it is, or all that begin as a pattern does that ends with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(Vec<String>);

/// The roles of [`Grant`], as tokens name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// [`Grant::Device`]
    Device,
    /// [`Grant::Gecko`]
    Gecko,
    /// [`Grant::Peer`]
    Peer,
    /// [`Grant::Client`]
    Client,
    /// [`Grant::Participant`]
    Participant,
    /// [`Grant::Admin`]
    Admin,
}

impl Grants {
    /// These and nothing else.
    #[must_use]
    pub fn new(grants: Vec<Grant>) -> Self {
        Self(Some(grants.into()))
    }

    /// Whether there is anything in one of these roles that is allowed.
    #[must_use]
    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.any(|grant| roles.contains(&grant.role()))
    }

    /// Whether this device may be called, and its files read.
    #[must_use]
    pub fn allows_call(&self, device: &EndpointId) -> bool {
        self.any(|grant| matches!(grant, Grant::Client { ids } if ids.has(device.as_str())))
    }

    /// The command as it is allowed.
    ///
    /// # Errors
    /// What the hub would say of a command that isn't.
    pub fn check(&self, command: Command) -> Result<Command, Event> {
        if self.0.is_none() {
            return Ok(command);
        }
        match command {
            Command::ToPartner {
                frame,
                otherwise: Some(request),
            } => Ok(Command::ToPartner {
                frame,
                otherwise: Some(self.request(request)),
            }),
            command => match self.refusal(&command) {
                Some(event) => Err(event),
                None => Ok(command),
            },
        }
    }

    fn refusal(&self, command: &Command) -> Option<Event> {
        match command {
            Command::Register { id, .. } | Command::Serve(Offer { id, .. }) => {
                let why = || RegistrationError::Forbidden(id.clone());
                (!self.may_be(id)).then(|| Event::RegistrationRefused(why()))
            }
            Command::Call { endpoint, .. } => (!self.allows_call(endpoint))
                .then(|| Event::CallRefused(CallError::Forbidden(endpoint.clone()))),
            Command::Demand(_) => (!self.has_any(&[Role::Client]))
                .then_some(Event::SessionEnded(SessionError::Forbidden)),
            Command::Conference(asked) => self.denied(&asked.ask).map(|denied| {
                let visitor = asked.named.unwrap_or(asked.own);
                let outcome = Err(denied);
                Event::Conference(Told::Answer { visitor, outcome })
            }),
            _ => None,
        }
    }

    fn may_be(&self, id: &EndpointId) -> bool {
        self.any(|grant| match (grant, id.space()) {
            (Grant::Device { ids }, Namespace::Device)
            | (Grant::Gecko { ids }, Namespace::Gecko)
            | (Grant::Peer { ids, .. }, Namespace::Peer) => ids.has(id.as_str()),
            _ => false,
        })
    }

    /// Only a peer that has no partner asks for anything; the hub knows.
    fn request(&self, request: Request) -> Request {
        let may_call = |id: &EndpointId| {
            self.any(|grant| matches!(grant, Grant::Peer { calls, .. } if calls.has(id.as_str())))
        };
        let may_join = |id: &RoomId| {
            self.any(|grant| matches!(grant, Grant::Peer { rooms, .. } if rooms.has(id.as_str())))
        };
        match request {
            Request::Pair(with) if !may_call(&with) => {
                Request::NotGranted(NotGranted::Pair(PairError::Forbidden(with)))
            }
            Request::Join(room) if !may_join(&room) => {
                Request::NotGranted(NotGranted::Join(JoinError::Forbidden(room)))
            }
            request => request,
        }
    }

    fn denied(&self, ask: &Ask) -> Option<Denied> {
        let may = |allows: &dyn Fn(&Names, &Names, bool, bool) -> bool| {
            self.any(|grant| match grant {
                Grant::Participant {
                    rooms,
                    ids,
                    publish,
                    subscribe,
                } => allows(rooms, ids, *publish, *subscribe),
                _ => false,
            })
        };
        let (is_allowed, what) = match ask {
            Ask::Enter { room, user } => (
                may(&|rooms, ids, _, _| rooms.has(room) && ids.has(user)),
                format!("join room \"{room}\" as \"{user}\""),
            ),
            Ask::Publish { .. } => (may(&|_, _, publish, _| publish), "publish".to_owned()),
            Ask::Receive { .. } => (may(&|_, _, _, subscribe| subscribe), "receive".to_owned()),
            _ => return None,
        };
        (!is_allowed).then(|| Denied::Forbidden(what.into()))
    }

    fn any(&self, is_meant: impl Fn(&Grant) -> bool) -> bool {
        self.0
            .as_ref()
            .is_none_or(|grants| grants.iter().any(is_meant))
    }
}

impl Grant {
    /// The role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Device { .. } => Role::Device,
            Self::Gecko { .. } => Role::Gecko,
            Self::Peer { .. } => Role::Peer,
            Self::Client { .. } => Role::Client,
            Self::Participant { .. } => Role::Participant,
            Self::Admin => Role::Admin,
        }
    }
}

impl Names {
    /// These.
    #[must_use]
    pub const fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether a name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            })
    }
}

impl Default for Names {
    /// All of them.
    fn default() -> Self {
        Self(vec!["*".to_owned()])
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Gecko => "gecko",
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Participant => "participant",
            Self::Admin => "admin",
        })
    }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::super::{Payload, WhenAbsent};
    use super::*;

    fn grants(json: serde_json::Value) -> Grants {
        Grants::new(serde_json::from_value(json).unwrap())
    }

    fn register(space: Namespace, id: &str) -> Command {
        let id = EndpointId::new(space, id).unwrap();
        Command::Register { id, info: None }
    }

    #[test]
    fn names_are_whole_or_begin_so() {
        let names = Names::new(vec!["cam-*".to_owned(), "x".to_owned()]);
        assert!(names.has("cam-1") && names.has("cam-") && names.has("x"));
        assert!(!names.has("cam") && !names.has("xx") && !names.has("CAM-1"));
        assert!(Names::default().has("") && !Names::new(Vec::new()).has("x"));
    }

    #[test]
    fn without_tokens_everything_is_allowed_and_with_none_nothing() {
        let all = Grants::default();
        let command = register(Namespace::Device, "d");
        assert_eq!(all.check(command.clone()), Ok(command.clone()));
        assert!(all.has_any(&[Role::Admin]));
        let none = grants(serde_json::json!([]));
        assert!(none.check(command).is_err());
        assert!(!none.has_any(&[Role::Admin, Role::Client]));
        for kept in [Command::Leave, Command::Alive] {
            assert_eq!(none.check(kept.clone()), Ok(kept));
        }
    }

    #[test]
    fn a_role_is_for_its_own_namespace() {
        let device = grants(serde_json::json!([{"role": "device", "ids": ["a*"]}]));
        assert!(device.check(register(Namespace::Device, "ab")).is_ok());
        assert!(device.check(register(Namespace::Device, "b")).is_err());
        assert!(device.check(register(Namespace::Peer, "ab")).is_err());
        let call = Command::Call {
            endpoint: EndpointId::new(Namespace::Device, "ab").unwrap(),
            when_absent: WhenAbsent::Wait,
        };
        assert!(device.check(call.clone()).is_err());
        assert!(
            grants(serde_json::json!([{"role": "client"}]))
                .check(call)
                .is_ok()
        );
    }

    #[test]
    fn a_peers_frame_reaches_its_partner_whatever_it_would_ask_for() {
        let peer = grants(serde_json::json!([{"role": "peer", "calls": [], "rooms": []}]));
        let with = EndpointId::new(Namespace::Peer, "p").unwrap();
        let frame = Payload::from("SESSION p");
        let command = Command::ToPartner {
            frame: frame.clone(),
            otherwise: Some(Request::Pair(with.clone())),
        };
        let refused = NotGranted::Pair(PairError::Forbidden(with));
        let expected = Command::ToPartner {
            frame,
            otherwise: Some(Request::NotGranted(refused)),
        };
        assert_eq!(peer.check(command), Ok(expected));
    }
}
