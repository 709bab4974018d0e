//! Any operations in any order, of every kind that there is: nobody who left is told of anything, no
//! limit is exceeded, time moves on, and when all have left nothing is left.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use switchboard::hub::{
    Access, AccountId, Addressee, Ask, Asked, CallId, CallNumber, Command, ConnectionId, Demand,
    EndpointId, Event, MuteChange, Namespace, Offer, Output, Payload, Request, Rights, RoomId,
    SessionId, Step, Ticket, Visitor, WhenAbsent,
};
use switchboard_fuzz::{CONNECTIONS, House, Media};

#[derive(Debug, Arbitrary)]
enum Operation {
    Command {
        who: u8,
        what: What,
    },
    Media(Media),
    CloseRoom {
        room: u8,
    },
    Evict {
        room: u8,
        user: u8,
    },
    Wait {
        milliseconds: u16,
    },
    Mute {
        room: u8,
        user: u8,
        audio: Option<bool>,
        video: Option<bool>,
    },
    /// One of the open calls, or one that never was.
    EndCall {
        nth: u8,
    },
}

#[derive(Debug, Arbitrary)]
enum What {
    Register {
        peer: bool,
        id: u8,
    },
    Call {
        peer: bool,
        id: u8,
        waits: bool,
    },
    ToCaller {
        call: u8,
    },
    ToEndpoint,
    Frame,
    Pair {
        id: u8,
    },
    Join {
        room: u8,
    },
    ToMember {
        id: u8,
    },
    Members,
    Serve {
        id: u8,
        owner: Option<u8>,
        capacity: Option<u8>,
        hears: bool,
    },
    Demand {
        account: u8,
    },
    ToServer {
        size: u8,
    },
    Taken {
        all: bool,
    },
    ToSession {
        to: To,
        step: Said,
    },
    Ask {
        as_whom: Option<u8>,
        ask: Asks,
    },
    Alive,
    Leave,
}

#[derive(Debug, Arbitrary)]
enum To {
    Session(u8),
    Tagged(u8),
    Latest,
    Only,
}

#[derive(Debug, Arbitrary)]
enum Said {
    Answer(u8),
    Message,
    Mistake,
    FatalMistake,
    Connected,
    Failed,
}

#[derive(Debug, Arbitrary)]
enum Asks {
    Begin,
    Resume,
    Enter { room: u8, user: u8 },
    Publish { loopback: bool },
    Unpublish,
    Receive { from: u8 },
    Unsubscribe { from: u8 },
    Candidate,
    Say { room: u8, user: u8 },
    Locate,
    Exit,
    End,
}

struct Seat {
    id: ConnectionId,
    tickets: Vec<Ticket>,
}

struct World {
    house: House,
    seats: Vec<Seat>,
    connections: u64,
}

fuzz_target!(|operations: Vec<Operation>| {
    let seat = |n| Seat {
        id: ConnectionId(n),
        tickets: Vec::new(),
    };
    let mut world = World {
        house: House::new(),
        seats: (0..CONNECTIONS as u64).map(seat).collect(),
        connections: CONNECTIONS as u64,
    };
    for operation in operations {
        let out = match operation {
            Operation::Command { who, what } => world.command(usize::from(who) % CONNECTIONS, what),
            Operation::Media(media) => world.house.media(media),
            Operation::CloseRoom { room } => world
                .house
                .change(|_, hub, out| hub.close_room(&name("r", room, 3), out)),
            Operation::Evict { room, user } => world
                .house
                .change(|_, hub, out| hub.evict(&name("r", room, 3), &name("u", user, 4), out)),
            Operation::Mute {
                room,
                user,
                audio,
                video,
            } => world.house.change(|_, hub, _| {
                let change = MuteChange { audio, video };
                hub.mute(&name("r", room, 3), &name("u", user, 4), change)
            }),
            Operation::EndCall { nth } => world.house.change(|now, hub, out| {
                let nobody = CallId::Call(ConnectionId(u64::MAX));
                let open = hub.call_ids().nth(nth.into());
                let id = open.unwrap_or(nobody);
                hub.end_call(now, id, out)
            }),
            Operation::Wait { milliseconds } => {
                world.house.wait(Duration::from_millis(milliseconds.into()))
            }
        };
        world.told(out);
    }
    for place in 0..CONNECTIONS {
        let out = world.command(place, What::Leave);
        world.told(out);
    }
    world.house.end();
});

impl World {
    fn command(&mut self, place: usize, what: What) -> Vec<Output> {
        let from = self.seats[place].id;
        if let What::Leave = what {
            self.connections += 1;
            let id = ConnectionId(self.connections);
            self.seats[place] = Seat {
                id,
                tickets: Vec::new(),
            };
        }
        let command = match what {
            What::Taken { all } => {
                let tickets = &mut self.seats[place].tickets;
                let Some(ticket) = (if all {
                    tickets.pop()
                } else {
                    tickets.first().copied()
                }) else {
                    return Vec::new();
                };
                tickets.retain(|other| *other > ticket);
                Command::Taken(ticket)
            }
            what => self.words(from, what),
        };
        self.house.command(from, command)
    }

    fn words(&self, from: ConnectionId, what: What) -> Command {
        let payload = || Payload::from("p");
        let ask = |otherwise| Command::ToPartner {
            frame: payload(),
            otherwise,
        };
        match what {
            What::Register { peer, id } => Command::Register {
                id: endpoint(space(peer), id),
                info: Some(payload()),
                holds_viewers: id % 2 == 0,
            },
            What::Call { peer, id, waits } => Command::Call {
                endpoint: endpoint(space(peer), id),
                when_absent: if waits {
                    WhenAbsent::Wait
                } else {
                    WhenAbsent::Refuse
                },
                access: access(id),
            },
            What::ToCaller { call } => Command::ToCaller {
                call: CallNumber(u32::from(call % 8)),
                payload: payload(),
            },
            What::ToEndpoint => Command::ToEndpoint { payload: payload() },
            What::Frame => ask(None),
            What::Pair { id } => ask(Some(Request::Pair(endpoint(Namespace::Peer, id)))),
            What::Join { room } => {
                let room = RoomId::new(Namespace::Peer, &name("r", room, 3)).expect("not empty");
                ask(Some(Request::Join(room)))
            }
            What::ToMember { id } => {
                let to = endpoint(Namespace::Peer, id);
                ask(Some(Request::ToMember {
                    to,
                    payload: payload(),
                }))
            }
            What::Members => ask(Some(Request::Members)),
            What::Serve {
                id,
                owner,
                capacity,
                hears,
            } => Command::Serve(Offer {
                id: endpoint(Namespace::Gecko, id),
                owner: owner.map(account),
                capacity: capacity.map(|it| usize::from(it % 4)),
                hears_closes: hears,
            }),
            What::Demand { account: whose } => Command::Demand(Demand {
                session: SessionId(from.0.into()),
                account: account(whose),
                access: access(whose),
                payload: payload(),
            }),
            What::ToServer { size } => Command::ToServer {
                payload: Payload::from("p".repeat(usize::from(size) * 4).as_str()),
            },
            What::ToSession { to, step } => Command::ToSession {
                to: self.addressee(&to),
                step: said(&step),
                payload: payload(),
            },
            What::Ask { as_whom, ask } => Command::Conference(Asked {
                named: as_whom.map(|it| self.visitor(it)),
                own: Visitor(from.0.into()),
                rights: Rights::ALL,
                ask: asked(&ask),
            }),
            What::Alive => Command::Alive,
            // The other one is made by who knows the tickets.
            What::Leave | What::Taken { .. } => Command::Leave,
        }
    }

    fn addressee(&self, to: &To) -> Addressee {
        match to {
            To::Session(nth) => Addressee::Session(SessionId(self.visitor(*nth).0)),
            To::Tagged(tag) => Addressee::Tagged((*name("t", *tag, 3)).into()),
            To::Latest => Addressee::Latest,
            To::Only => Addressee::Only,
        }
    }

    /// One of those that are here, or was once.
    fn visitor(&self, nth: u8) -> Visitor {
        let seat = self.seats.get(usize::from(nth) % (CONNECTIONS + 2));
        Visitor(seat.map_or(u128::from(nth), |seat| seat.id.0.into()))
    }

    fn told(&mut self, out: Vec<Output>) {
        for Output { to, event } in out {
            let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == to) else {
                continue;
            };
            match event {
                Event::FromSession { ticket, .. } | Event::SessionClosed { ticket, .. } => {
                    assert!(seat.tickets.last().is_none_or(|last| *last < ticket));
                    seat.tickets.push(ticket);
                }
                // A real connection ends here. This one may serve again, and is told all that waits.
                Event::Replaced => seat.tickets.clear(),
                _ => {}
            }
        }
    }
}

fn space(peer: bool) -> Namespace {
    if peer {
        Namespace::Peer
    } else {
        Namespace::Device
    }
}

fn endpoint(space: Namespace, id: u8) -> EndpointId {
    EndpointId::new(space, &name("e", id, 6)).expect("not empty")
}

fn account(nth: u8) -> AccountId {
    AccountId::new(&name("a", nth, 3))
}

fn name(of: &str, nth: u8, count: u8) -> Arc<str> {
    format!("{of}{}", nth % count).into()
}

/// The upper half of the numbers may only look on.
fn access(nth: u8) -> Access {
    if nth < 128 {
        Access::Control
    } else {
        Access::View
    }
}

fn said(step: &Said) -> Step {
    match step {
        Said::Answer(tag) => Step::Answer {
            tags: vec![(*name("t", *tag, 3)).into()],
        },
        Said::Message => Step::Message,
        Said::Mistake => Step::Mistake,
        Said::FatalMistake => Step::FatalMistake,
        Said::Connected => Step::Connected,
        Said::Failed => Step::Failed,
    }
}

fn asked(ask: &Asks) -> Ask {
    let offer = || "o".to_owned();
    let user = |nth| name("u", nth, 4);
    match *ask {
        Asks::Begin => Ask::Begin,
        Asks::Resume => Ask::Resume,
        Asks::Enter { room, user: nth } => Ask::Enter {
            room: name("r", room, 3),
            user: user(nth),
            rights: Rights {
                publish: nth & 0x20 == 0,
                subscribe: nth & 0x40 == 0,
                message: nth & 0x80 == 0,
            },
        },
        Asks::Publish { loopback } => Ask::Publish {
            offer: offer(),
            loopback,
        },
        Asks::Unpublish => Ask::Unpublish,
        Asks::Receive { from } => Ask::Receive {
            from: user(from),
            offer: offer(),
        },
        Asks::Unsubscribe { from } => Ask::Unsubscribe { from: user(from) },
        Asks::Candidate => Ask::Candidate,
        Asks::Say { room, user: nth } => Ask::Say {
            user: user(nth),
            room: name("r", room, 3),
            message: "m".into(),
        },
        Asks::Locate => Ask::Locate,
        Asks::Exit => Ask::Exit,
        Asks::End => Ask::End,
    }
}
