//! Links that die, and come back: what peers do without being told.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::lab::Host;
use crate::process::Process;
use crate::rooms;
use crate::scenes::{Pair, SMALL, Town, pictures, serve};

/// Between the return of the link and that of the pictures: a try that is under way fails after about 5 s,
/// the next one waits for 7 s at most. The rest is for busy machines.
const RETURN: Duration = Duration::from_secs(25);

/// Lets nothing through a host's cable, or no UDP, until it is mended.
struct Cut<'a>(&'a Host);

impl<'a> Cut<'a> {
    fn new(host: &'a Host, what: &str) -> Self {
        host.nft(&format!(
            "table inet outage {{
                chain incoming {{ type filter hook input priority -300; iifname eth0 {what} drop; }}
                chain outgoing {{ type filter hook output priority -300; oifname eth0 {what} drop; }}
            }}"
        ));
        Self(host)
    }

    fn mend(self) {
        self.0.nft("delete table inet outage");
    }
}

/// Two members of a room, who see each other; the server is beside the first.
async fn meet(one: &Host, two: &Host) -> [Process; 3] {
    let server = serve(one, "10.0.0.1", None).await;
    let member = |host: &Host, id| {
        let common = ["mesh", "ws://10.0.0.1:8080", "--id", id, "--room", "r"];
        host.switchboard(&[&common[..], &["--send", SMALL, "--receive", "count"]].concat())
    };
    let mut first = member(one, "1");
    first.logged("joined the room").await;
    let mut second = member(two, "2");
    pictures(&mut first).await;
    pictures(&mut second).await;
    [server, first, second]
}

/// Waits for a second without pictures.
async fn nothing(peer: &mut Process) {
    peer.line("a second without pictures", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["count"]["video"]["frames"].as_u64()? == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_a_short_outage_of_everything() {
    let Some(Pair { one, two }) = Pair::new(&["10.0.0.1/24"], &["10.0.0.2/24"]) else {
        return;
    };
    let [_server, mut first, mut second] = meet(&one, &two).await;
    let cut = Cut::new(&two, "");
    for _ in 0..4 {
        nothing(&mut first).await;
    }
    cut.mend();
    for member in [&mut first, &mut second] {
        pictures(member).await;
        let log = member.log();
        assert!(!log.contains("conversation ended"), "{log}");
    }
}

#[allow(clippy::print_stderr, reason = "how long it took is worth knowing")]
#[tokio::test(flavor = "multi_thread")]
async fn members_whose_connection_broke_connect_anew() {
    let Some(Pair { one, two }) = Pair::new(&["10.0.0.1/24"], &["10.0.0.2/24"]) else {
        return;
    };
    let [_server, mut first, mut second] = meet(&one, &two).await;
    // Signaling goes on, and so the server sees no reason to tell anybody that somebody left.
    let cut = Cut::new(&two, "meta l4proto udp");
    let died = Instant::now();
    for member in [&first, &second] {
        member.logged("the connection is lost, for now").await;
        member.logged("conversation ended").await;
    }
    let noticed = died.elapsed();
    cut.mend();
    let mended = Instant::now();
    for member in [&mut first, &mut second] {
        pictures(member).await;
    }
    let returned = mended.elapsed();
    eprintln!("given up after {noticed:?}, pictures {returned:?} after the link is back");
    assert!(returned < RETURN, "{returned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_whose_udp_dies_go_on_over_tcp() {
    let Some(town) = Town::new() else { return };
    let _server = rooms::serve(&town.internet, &rooms::LISTEN).await;
    let [first, second] = &town.homes;
    let hosts = [&first.host, &second.host];
    let [mut near, mut far] = rooms::meet(hosts, ["203.0.113.1:8080"; 2]).await;
    // It stays so.
    let _cut = Cut::new(&second.host, "meta l4proto udp");
    nothing(&mut far).await;
    nothing(&mut near).await;
    far.logged("the media connection was lost").await;
    pictures(&mut far).await;
    pictures(&mut near).await;
}
