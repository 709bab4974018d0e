//! Any order of events, on real sockets: a short run of what the hub's own tests do at length with
//! virtual time.

use std::collections::{BTreeMap, BTreeSet};

use super::Peer;
use crate::common::{PATIENCE, Server, wait_until};

const SCHEDULES: u64 = 6;
const STEPS: usize = 120;
const IDS: usize = 7;
const ROOMS: usize = 2;

/// Peers that are in rooms, and what each must know.
struct World {
    server: Server,
    random: Random,
    /// By id: the peer, and its room once it has one.
    peers: BTreeMap<usize, (Peer, Option<usize>)>,
    said: usize,
}

#[tokio::test]
async fn any_schedule_of_members_leaves_no_ghost_and_keeps_every_promise() {
    for seed in 1..=SCHEDULES {
        let mut world = World {
            server: Server::start(&[]).await,
            random: Random(seed),
            peers: BTreeMap::new(),
            said: 0,
        };
        for _ in 0..STEPS {
            world.step().await;
        }
        world.peers.clear();
        wait_until(PATIENCE, async || {
            let shown = world.server.get("/api/endpoints").await.json();
            shown == serde_json::json!({"endpoints": [], "rooms": []})
        })
        .await;
    }
}

impl World {
    async fn step(&mut self) {
        let id = self.random.below(IDS);
        match (self.peers.contains_key(&id), self.random.below(8)) {
            (false, _) => {
                let peer = Peer::hello(&self.server, &id.to_string()).await;
                self.peers.insert(id, (peer, None));
            }
            (true, 0 | 1) => self.go(&[id]).await,
            (true, 2) => {
                let count = 1 + self.random.below(IDS);
                let all: BTreeSet<_> = (0..count).map(|_| self.random.below(IDS)).collect();
                self.go(&all.into_iter().collect::<Vec<_>>()).await;
            }
            (true, choice) => match self.peers[&id].1 {
                None => self.join(id).await,
                Some(room) if choice == 3 => self.list(id, room).await,
                Some(room) => self.message(id, room).await,
            },
        }
    }

    async fn join(&mut self, id: usize) {
        let room = self.random.below(ROOMS);
        let members = self.members(room);
        let (peer, place) = self.peers.get_mut(&id).unwrap();
        peer.say(&format!("ROOM {room}")).await;
        assert_eq!(ids(&peer.line().await, "ROOM_OK "), members);
        *place = Some(room);
        for member in members {
            let peer = &mut self.peers.get_mut(&member).unwrap().0;
            peer.hears(&format!("ROOM_PEER_JOINED {id}")).await;
        }
    }

    async fn list(&mut self, id: usize, room: usize) {
        let mut members = self.members(room);
        members.remove(&id);
        let peer = &mut self.peers.get_mut(&id).unwrap().0;
        peer.say("ROOM_PEER_LIST").await;
        assert_eq!(ids(&peer.line().await, "ROOM_PEER_LIST "), members);
    }

    /// To everyone in the room, oneself too, in one go.
    async fn message(&mut self, from: usize, room: usize) {
        let members = self.members(room);
        let said = self.said;
        self.said += members.len();
        let peer = &mut self.peers.get_mut(&from).unwrap().0;
        for (n, to) in members.iter().enumerate() {
            peer.say(&format!("ROOM_PEER_MSG {to} {}", said + n)).await;
        }
        for (n, to) in members.iter().enumerate() {
            let peer = &mut self.peers.get_mut(to).unwrap().0;
            peer.hears(&format!("ROOM_PEER_MSG {from} {}", said + n))
                .await;
        }
    }

    /// These go at once, one with a goodbye, one without, one with a reset.
    async fn go(&mut self, who: &[usize]) {
        let mut gone: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for id in who {
            let Some((peer, room)) = self.peers.remove(id) else {
                continue;
            };
            if let Some(room) = room {
                let line = format!("ROOM_PEER_LEFT {id}");
                gone.entry(room).or_default().insert(line);
            }
            match self.random.below(3) {
                0 => peer.close().await,
                1 => drop(peer),
                _ => peer.reset(),
            }
        }
        // Where nobody stays, nobody is told.
        wait_until(PATIENCE, async || {
            let shown = self.server.get("/api/endpoints").await.json();
            shown["endpoints"].as_array().unwrap().len() == self.peers.len()
        })
        .await;
        for (room, lines) in gone {
            for member in self.members(room) {
                let peer = &mut self.peers.get_mut(&member).unwrap().0;
                let mut heard = BTreeSet::new();
                for _ in 0..lines.len() {
                    heard.insert(peer.line().await);
                }
                assert_eq!(heard, lines);
            }
        }
    }

    fn members(&self, room: usize) -> BTreeSet<usize> {
        let members = self.peers.iter().filter(|(_, it)| it.1 == Some(room));
        members.map(|(id, _)| *id).collect()
    }
}

/// The ids of a list, which has no blank too many.
fn ids(line: &str, word: &str) -> BTreeSet<usize> {
    let list = line.strip_prefix(word).unwrap();
    assert_eq!(list, list.trim());
    list.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
