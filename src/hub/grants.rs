//! What a connection may do, by its token: the one place where commands are allowed or refused.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conference::{Ask, Asked, Denied, Rights, Told, Visitor};
use super::{
    Access, CallError, Command, EndpointId, Event, JoinError, Namespace, NotGranted, Offer,
    PairError, RegistrationError, Request, RoomId, SessionError,
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
        /// Do more than see and hear what a device or a gecko shows: touch, type, talk, use adb, run
        /// workers.
        #[serde(default = "yes")]
        control: bool,
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
        /// Say something to the others in text, and over data channels.
        #[serde(default = "yes")]
        message: bool,
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
        self.access(device).is_some()
    }

    /// Whether the holder may know that this device is here, and what it says of itself.
    #[must_use]
    pub fn knows_device(&self, device: &EndpointId) -> bool {
        self.any(|grant| match grant {
            Grant::Admin => true,
            Grant::Client { ids, .. } | Grant::Device { ids } => ids.has(device.as_str()),
            _ => false,
        })
    }

    /// Whether the holder may know that there is this room, whose media the server forwards.
    #[must_use]
    pub fn knows_room(&self, room: &str) -> bool {
        self.any(|grant| match grant {
            Grant::Admin => true,
            Grant::Participant { rooms, .. } => rooms.has(room),
            _ => false,
        })
    }

    /// What may be done at this device, if it may be called at all.
    fn access(&self, device: &EndpointId) -> Option<Access> {
        let may = |wanted: bool| {
            self.any(|grant| {
                matches!(grant, Grant::Client { ids, control } if (*control || !wanted) && ids.has(device.as_str()))
            })
        };
        match (may(true), may(false)) {
            (true, _) => Some(Access::Control),
            (false, true) => Some(Access::View),
            (false, false) => None,
        }
    }

    /// The command as it is allowed. `place` tells the room of a visitor, and its name there.
    ///
    /// # Errors
    /// What the hub would say of a command that isn't.
    pub fn check(
        &self,
        command: Command,
        place: impl FnOnce(Visitor) -> Option<(Arc<str>, Arc<str>)>,
    ) -> Result<Command, Event> {
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
            Command::Call {
                endpoint,
                when_absent,
                ..
            } => match self.access(&endpoint) {
                Some(access) => Ok(Command::Call {
                    endpoint,
                    when_absent,
                    access,
                }),
                None => Err(Event::CallRefused(CallError::Forbidden(endpoint))),
            },
            Command::Conference(asked) => self.conference(asked, place),
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
            Command::Demand(demand) => self.no_demand(demand.access).map(Event::SessionEnded),
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

    fn no_demand(&self, access: Access) -> Option<SessionError> {
        if !self.has_any(&[Role::Client]) {
            return Some(SessionError::Forbidden);
        }
        let controls = || self.any(|grant| matches!(grant, Grant::Client { control: true, .. }));
        (access == Access::Control && !controls()).then_some(SessionError::ViewOnly)
    }

    /// Whoever enters gets the rights that the grants for this room and name give; the hub keeps to
    /// them. Whoever speaks for somebody who is there already needs grants for that place, too.
    fn conference(
        &self,
        mut asked: Asked,
        place: impl FnOnce(Visitor) -> Option<(Arc<str>, Arc<str>)>,
    ) -> Result<Command, Event> {
        let refused = |asked: &Asked, what: String| {
            Err(Event::Conference(Told::Answer {
                visitor: asked.named.unwrap_or(asked.own),
                outcome: Err(Denied::Forbidden(what.into())),
            }))
        };
        if let Some((room, user)) = asked.named.and_then(place) {
            match self.rights(&room, &user) {
                Some(given) => asked.rights = given,
                None => return refused(&asked, format!("be \"{user}\" in room \"{room}\"")),
            }
        }
        if let Ask::Enter { room, user, rights } = &mut asked.ask {
            match self.rights(room, user) {
                Some(given) => *rights = given,
                None => {
                    let what = format!("join room \"{room}\" as \"{user}\"");
                    return refused(&asked, what);
                }
            }
        }
        Ok(Command::Conference(asked))
    }

    /// What may be done in a room under this name; `None` if that is not to be entered at all.
    fn rights(&self, room: &str, user: &str) -> Option<Rights> {
        let mut given = None;
        for grant in self.0.iter().flat_map(|grants| grants.iter()) {
            if let Grant::Participant {
                rooms,
                ids,
                publish,
                subscribe,
                message,
            } = grant
                && rooms.has(room)
                && ids.has(user)
            {
                let given = given.get_or_insert(Rights::NONE);
                given.publish |= publish;
                given.subscribe |= subscribe;
                given.message |= message;
            }
        }
        given
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

    /// The same, and only to see and hear. `None` for roles in which there is nothing to see.
    #[must_use]
    pub fn only_viewing(self) -> Option<Self> {
        match self {
            Self::Client { ids, .. } => Some(Self::Client {
                ids,
                control: false,
            }),
            Self::Participant {
                rooms,
                ids,
                subscribe,
                ..
            } => Some(Self::Participant {
                rooms,
                ids,
                publish: false,
                subscribe,
                message: false,
            }),
            Self::Device { .. } | Self::Gecko { .. } | Self::Peer { .. } | Self::Admin => None,
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
mod tests;
