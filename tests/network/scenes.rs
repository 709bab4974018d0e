//! The networks in which peers meet, and the peers.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Host, Lab};
use crate::process::Process;
use crate::turn::Turn;

/// A small picture, because several are encoded at once.
pub(crate) const SMALL: &str = "test width=160 height=120 fps=10 wave=sine";
/// Where the signaling server and the TURN server are.
pub(crate) const PUBLIC: &str = "203.0.113.1";

/// Two hosts on one cable.
pub(crate) struct Pair {
    pub(crate) one: Host,
    pub(crate) two: Host,
}

/// Two homes on the internet, with a server there. Nobody outside of a home reaches its hosts, unless
/// they called first.
pub(crate) struct Town {
    pub(crate) internet: Host,
    pub(crate) homes: [Home; 2],
}

/// A host behind a router that translates addresses.
pub(crate) struct Home {
    pub(crate) router: Host,
    pub(crate) host: Host,
    /// The router's.
    pub(crate) address: String,
}

/// Two peers in a call, and their server.
pub(crate) struct Call {
    pub(crate) caller: Process,
    pub(crate) callee: Process,
    server: Process,
}

impl Pair {
    /// Both with these addresses and networks.
    pub(crate) fn new(one: &[&str], two: &[&str]) -> Option<Self> {
        let lab = Lab::new()?;
        let pair = Self {
            one: lab.host(),
            two: lab.host(),
        };
        pair.one.cable("eth0", one, &pair.two, "eth0", two);
        Some(pair)
    }
}

impl Town {
    pub(crate) fn new() -> Option<Self> {
        let lab = Lab::new()?;
        let internet = lab.host();
        internet.ip(&format!("addr add {PUBLIC}/32 dev lo"));
        // What nobody has goes upstream, as in every data centre. A coturn whose machine refuses to send at
        // all to a peer's private address gives the whole allocation up.
        internet.ip("link add upstream type veth peer name nowhere");
        internet.ip("link set nowhere up");
        internet.ip("link set upstream up arp off");
        internet.ip("route add default dev upstream");
        internet.forward();
        let homes = [1, 2].map(|n| Home::new(&lab, &internet, n));
        Some(Self { internet, homes })
    }

    /// Starts a TURN server on the internet.
    pub(crate) async fn turn(&self) -> Turn {
        let stdbuf = self.internet.command("stdbuf");
        Turn::launch(stdbuf.into(), PUBLIC.parse().unwrap(), (3478, 5349)).await
    }

    /// A call from the second home to the first.
    pub(crate) async fn call(
        &self,
        config: Option<&Path>,
        callee: &[&str],
        caller: &[&str],
    ) -> Call {
        let [first, second] = &self.homes;
        let hosts = [&self.internet, &first.host, &second.host];
        Call::start(hosts, PUBLIC, config, callee, caller).await
    }
}

impl Home {
    fn new(lab: &Lab, internet: &Host, n: u8) -> Self {
        let (router, host) = (lab.host(), lab.host());
        let address = format!("198.51.{n}.2");
        router.cable(
            "wan",
            &[&format!("{address}/24")],
            internet,
            &format!("home{n}"),
            &[&format!("198.51.{n}.1/24")],
        );
        let (near, far) = (format!("10.{n}.0.1/24"), format!("10.{n}.0.2/24"));
        router.cable("lan", &[&near], &host, "eth0", &[&far]);
        router.ip(&format!("route add default via 198.51.{n}.1"));
        host.ip(&format!("route add default via 10.{n}.0.1"));
        router.forward();
        // What comes unasked is dropped without a trace. Otherwise it would take the port that the host
        // inside is about to use on its way to the very same sender.
        router.nft(
            "table ip nat {
                chain out { type nat hook postrouting priority 100; oifname wan masquerade; }
            }
            table ip filter {
                chain pass {
                    type filter hook forward priority 0;
                    ct status dnat accept;
                    iifname wan ct state new drop;
                }
                chain take { type filter hook input priority 0; iifname wan ct state new drop; }
            }",
        );
        Self {
            router,
            host,
            address,
        }
    }
}

impl Call {
    /// Starts a server on the first of these hosts, a peer on the second, and one on the third that
    /// calls it.
    pub(crate) async fn start(
        [at, first, second]: [&Host; 3],
        address: &str,
        config: Option<&Path>,
        callee: &[&str],
        caller: &[&str],
    ) -> Self {
        let server = serve(at, address, config).await;
        let callee = peer(first, address, &[&["--id", "7"], callee].concat());
        callee.logged("registered").await;
        let caller = peer(second, address, &[&["--peer", "7"], caller].concat());
        Self {
            caller,
            callee,
            server,
        }
    }

    /// Waits until both count pictures of the other.
    pub(crate) async fn flows(&mut self) {
        for peer in [&mut self.caller, &mut self.callee] {
            pictures(peer).await;
        }
    }

    /// Hangs up, and frees the server's port.
    pub(crate) async fn end(mut self) {
        for process in [&mut self.caller, &mut self.callee, &mut self.server] {
            process.end(Signal::TERM).await;
        }
    }
}

/// Starts a signaling server on an address of a host.
pub(crate) async fn serve(host: &Host, address: &str, config: Option<&Path>) -> Process {
    let listen = format!("{address}:8080");
    let mut arguments = vec!["serve", "--insecure", "--listen", &listen];
    if let Some(config) = config {
        arguments.extend(["--config", config.to_str().unwrap()]);
    }
    let mut server = host.switchboard(&arguments);
    server.listening().await;
    server
}

/// Starts a peer for calls, which counts what it receives.
pub(crate) fn peer(host: &Host, server: &str, arguments: &[&str]) -> Process {
    let url = format!("ws://{server}:8080");
    let common = ["--log", "info,switchboard::media=trace", "call", &url];
    let media = ["--send", SMALL, "--receive", "count"];
    host.switchboard(&[&common, &media[..], arguments].concat())
}

/// Waits for a second with pictures.
pub(crate) async fn pictures(peer: &mut Process) {
    // Its start has a deadline of its own.
    peer.logged("media comes").await;
    peer.line("a second with pictures", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let frames = line["count"]["video"]["frames"].as_u64()?;
        (frames > 3).then_some(())
    })
    .await;
}
