//! Which addresses and ports peers use, and which they tell.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::lab::{Host, Lab};
use crate::process::{PATIENCE, Process};
use crate::scenes::{Call, Pair, Town, peer, serve};

/// The addresses and ports of the host candidates that a peer told.
fn told(peer: &Process) -> Vec<(IpAddr, u16)> {
    let log = peer.log();
    let lines = log.lines().filter(|line| line.contains("our candidate"));
    let hosts = lines.filter(|line| line.contains("typ host"));
    let words = hosts.map(|line| line.split(' ').collect::<Vec<_>>());
    let place = |words: Vec<&str>| {
        let at = words.iter().position(|word| *word == "typ").unwrap();
        (
            words[at - 2].parse().unwrap(),
            words[at - 1].parse().unwrap(),
        )
    };
    words.map(place).collect()
}

fn ips(peer: &Process) -> Vec<String> {
    told(peer).iter().map(|(ip, _)| ip.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_nat_that_passes_ports_on_the_advertised_address_is_enough() {
    let Some(town) = Town::new() else { return };
    let first = &town.homes[0];
    first.router.nft(
        "table ip forwarded {
            chain in {
                type nat hook prerouting priority -100;
                iifname wan udp dport 50000-50010 dnat to 10.1.0.2;
            }
        }",
    );
    let _turn = town.turn().await;
    let stun = ["--ice-server", "stun:203.0.113.1"];
    let written = ["--advertise", &first.address];
    // Nobody can call the second home, and its peer doesn't learn its own address.
    for (advertise, server) in [(written, &[][..]), (["--advertise", "stun"], &stun[..])] {
        let ports = ["--ports", "50000-50010"];
        let flags = [&advertise[..], &ports, server].concat();
        let mut call = town.call(None, &flags, &[]).await;
        call.flows().await;
        let told = told(&call.callee);
        assert!(!told.is_empty());
        for (ip, port) in told {
            assert_eq!(ip.to_string(), first.address);
            assert!((50000..=50010).contains(&port), "{port}");
        }
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_only_ipv6_media_flows() {
    let (one, two) = ("2001:db8::1/64", "2001:db8::2/64");
    let Some(Pair { one, two }) = Pair::new(&[one], &[two]) else {
        return;
    };
    let mut call = Call::start([&one, &one, &two], "[2001:db8::1]", None, &[], &[]).await;
    call.flows().await;
    assert_eq!(ips(&call.caller), ["2001:db8::2"]);
    assert_eq!(ips(&call.callee), ["2001:db8::1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_only_link_local_addresses_media_flows() {
    let Some(Pair { one, two }) = Pair::new(&["10.0.0.1/24"], &["10.0.0.2/24"]) else {
        return;
    };
    one.cable("wifi0", &["fe80::1/64"], &two, "wifi0", &["fe80::2/64"]);
    let flags = ["--interface", "wifi0"];
    let mut call = Call::start([&one, &one, &two], "10.0.0.1", None, &flags, &flags).await;
    call.flows().await;
    for side in [&call.caller, &call.callee] {
        let ips = ips(side);
        assert!(
            !ips.is_empty() && ips.iter().all(|ip| ip.starts_with("fe80::")),
            "{ips:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_machine_with_a_loopback_only_media_flows() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.host();
    let mut call = Call::start([&host; 3], "127.0.0.1", None, &[], &[]).await;
    call.flows().await;
    assert!(told(&call.caller).iter().all(|(ip, _)| ip.is_loopback()));
}

/// A bridge as Docker makes it, with a container behind it: without one it is down.
async fn docker(lab: &Lab, host: &Host) -> Host {
    let container = lab.host();
    host.ip("link add docker0 type bridge");
    host.ip("addr add 172.17.0.1/16 dev docker0");
    host.cable("veth1", &[], &container, "eth0", &["172.17.0.2/16"]);
    host.ip("link set veth1 master docker0");
    host.ip("link set docker0 up");
    // Nobody looks at a bridge whose cables don't pass packets on yet.
    let is_up = async {
        while !host
            .execute("ip", "link show docker0")
            .unwrap()
            .contains("state UP")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, is_up).await.expect("a bridge that is up");
    container
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_of_containers_are_not_told_unless_they_are_named() {
    let Some(lab) = Lab::new() else { return };
    let (one, two) = (lab.host(), lab.host());
    one.cable("eth0", &["10.0.0.1/24"], &two, "eth0", &["10.0.0.2/24"]);
    let _containers = [docker(&lab, &one).await, docker(&lab, &two).await];
    let named = ["--interface", "eth0", "--interface", "docker*"];
    let mut call = Call::start([&one, &one, &two], "10.0.0.1", None, &[], &named).await;
    call.flows().await;
    call.caller.logged("172.17.0.1").await;
    assert_eq!(ips(&call.callee), ["10.0.0.1"]);
    assert_eq!(ips(&call.caller), ["10.0.0.2", "172.17.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_outside_of_the_range_are_not_used_and_a_range_that_is_used_up_is_said_to_be() {
    let Some(Pair { one, two }) = Pair::new(&["10.0.0.1/24"], &["10.0.0.2/24"]) else {
        return;
    };
    let ports = ["--ports", "50000-50001"];
    let mut call = Call::start([&one, &one, &two], "10.0.0.1", None, &ports, &ports).await;
    call.flows().await;
    for side in [&call.caller, &call.callee] {
        for (_, port) in told(side) {
            assert!((50000..=50001).contains(&port), "{port}");
        }
    }
    let used = one.execute("ss", "-Huan").unwrap();
    assert!(used.contains("10.0.0.1:5000"), "{used}");
    // The other port goes to another call of the same host, and then there is none.
    let second = peer(&two, "10.0.0.1", &["--id", "9"]);
    second.logged("registered").await;
    let third = peer(&two, "10.0.0.1", &["--id", "10"]);
    third.logged("registered").await;
    let mut fits = peer(&one, "10.0.0.1", &[&ports[..], &["--peer", "9"]].concat());
    crate::scenes::pictures(&mut fits).await;
    let mut late = peer(&one, "10.0.0.1", &[&ports[..], &["--peer", "10"]].concat());
    assert_eq!(late.exit().await.code(), Some(1));
    let log = late.log();
    assert!(
        log.contains("no UDP port from 50000-50001 is free on 10.0.0.1"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_leaves_no_interface_says_what_there_is() {
    let Some(lab) = Lab::new() else { return };
    let host = lab.host();
    let _server = serve(&host, "127.0.0.1", None).await;
    let other = peer(&host, "127.0.0.1", &["--id", "7"]);
    other.logged("registered").await;
    let mut lost = peer(&host, "127.0.0.1", &["--peer", "7", "--interface", "wlan0"]);
    assert_eq!(lost.exit().await.code(), Some(1));
    let log = lost.log();
    assert!(
        log.contains("leave none of this machine's interfaces: it has lo (127.0.0.1)"),
        "{log}"
    );
}
