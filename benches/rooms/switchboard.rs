//! `switchboard serve`, and its rooms.

use std::time::Instant;

use serde_json::{Value, json};

use super::endpoint::{Endpoint, Load, Offering};
use super::process::Process;
use super::server::{Member, Receiving, Server};
use super::socket::Socket;

pub(crate) struct Switchboard {
    process: Process,
    address: String,
}

pub(crate) struct Participant {
    socket: Socket,
    id: u64,
}

impl Server for Switchboard {
    const NAME: &str = "switchboard";

    type Member = Participant;

    async fn start() -> Self {
        let (process, address) = Process::switchboard(&[]);
        Self { process, address }
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn join(&self, room: usize, user: usize) -> Participant {
        let socket = Socket::open(&self.address, "/room", None).await.unwrap();
        let mut participant = Participant { socket, id: 0 };
        let params = json!({ "room": format!("room{room}"), "user": format!("user{user}") });
        participant.ask("joinRoom", params).await;
        participant
    }
}

impl Member for Participant {
    async fn publish(&mut self, load: Load) -> Endpoint {
        let (offering, offer) = Offering::new(Some(load));
        let params = json!({ "sdpOffer": offer, "doLoopback": false });
        let answer = self.ask("publishVideo", params).await;
        offering.answered(sdp(&answer))
    }

    async fn receive(&mut self, publisher: usize) -> Receiving {
        let (offering, offer) = Offering::new(None);
        let params = json!({ "sender": format!("user{publisher}_webcam"), "sdpOffer": offer });
        let asked = Instant::now();
        let answer = self.ask("receiveVideoFrom", params).await;
        let answered = asked.elapsed();
        Receiving {
            endpoint: offering.answered(sdp(&answer)),
            asked,
            answered,
        }
    }
}

impl Participant {
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.socket.ask(&request, |it| it["id"] == id).await
    }
}

fn sdp(answer: &Value) -> &str {
    let sdp = answer["result"]["sdpAnswer"].as_str();
    sdp.unwrap_or_else(|| panic!("no SDP in {answer}"))
}
