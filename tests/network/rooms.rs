//! Rooms, whose media a server forwards: how participants reach it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::Host;
use crate::process::{PATIENCE, Process};
use crate::scenes::{PUBLIC, Pair, SMALL, Town, pictures};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(100);

/// Starts a server for rooms, with these arguments.
pub(crate) async fn serve(host: &Host, arguments: &[&str]) -> Process {
    let common = [
        "serve",
        "--insecure",
        "--media-port",
        "50000",
        "--media-threads",
        "1",
    ];
    let mut server = host.switchboard(&[&common, arguments].concat());
    server.listening().await;
    server
}

/// A participant that publishes, and counts what it receives.
fn join(host: &Host, server: &str, user: &str) -> Process {
    let url = format!("ws://{server}");
    let media = ["--publish", SMALL, "--receive", "count"];
    let who = ["room", &url, "--room", "r", "--user", user];
    host.switchboard(&[&who, &media[..]].concat())
}

/// Waits until two participants, on these hosts, see each other.
pub(crate) async fn meet(hosts: [&Host; 2], servers: [&str; 2]) -> [Process; 2] {
    let mut both = [
        join(hosts[0], servers[0], "one"),
        join(hosts[1], servers[1], "two"),
    ];
    for participant in &mut both {
        pictures(participant).await;
    }
    both
}

/// By what the media goes of two participants who publish and receive, in order of name.
async fn transports(server: &Host) -> Vec<String> {
    let url = format!("http://{PUBLIC}:8080/api/rooms");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rooms = server.execute("curl", &format!("-sS {url}")).unwrap();
        let rooms: Value = serde_json::from_str(&rooms).unwrap();
        let all = rooms[0]["participants"].as_array().unwrap().iter();
        let all = all.flat_map(|it| it["media"].as_array().unwrap());
        let used = all.filter_map(|it| it["transport"].as_str());
        let mut used: Vec<_> = used.map(str::to_owned).collect();
        used.sort_unstable();
        if used.len() == 4 {
            return used;
        }
        assert!(Instant::now() < deadline, "{rooms}");
        tokio::time::sleep(POLL).await;
    }
}

pub(crate) const LISTEN: [&str; 2] = ["--listen", "0.0.0.0:8080"];

#[tokio::test(flavor = "multi_thread")]
async fn behind_nats_participants_reach_a_public_server() {
    let Some(town) = Town::new() else { return };
    let _server = serve(&town.internet, &LISTEN).await;
    let [first, second] = &town.homes;
    let _both = meet([&first.host, &second.host], ["203.0.113.1:8080"; 2]).await;
    assert_eq!(transports(&town.internet).await, ["udp"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_the_servers_own_port_takes_media() {
    let Some(town) = Town::new() else { return };
    town.homes[1].router.nft(
        "table ip firewall {
            chain pass { type filter hook forward priority -10; meta l4proto udp drop; }
        }",
    );
    let _server = serve(&town.internet, &LISTEN).await;
    let [first, second] = &town.homes;
    let _both = meet([&first.host, &second.host], ["203.0.113.1:8080"; 2]).await;
    assert_eq!(
        transports(&town.internet).await,
        ["tcp", "tcp", "udp", "udp"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_only_ipv6_participants_meet() {
    let (one, two) = ("2001:db8::1/64", "2001:db8::2/64");
    let Some(Pair { one, two }) = Pair::new(&[one], &[two]) else {
        return;
    };
    let _server = serve(&one, &["--listen", "[::]:8080"]).await;
    meet([&one, &two], ["[2001:db8::1]:8080"; 2]).await;
}

/// A server at home, whose router passes these ports on to it.
async fn at_home(town: &Town, arguments: &[&str]) -> Process {
    town.homes[0].router.nft(
        "table ip forwarded {
            chain in {
                type nat hook prerouting priority -100;
                iifname wan udp dport 50000 dnat to 10.1.0.2;
                iifname wan tcp dport 8080 dnat to 10.1.0.2;
            }
        }",
    );
    serve(&town.homes[0].host, &[&LISTEN[..], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_a_nat_is_reached_by_the_address_that_it_advertises() {
    let Some(town) = Town::new() else { return };
    let address = &town.homes[0].address;
    let _server = at_home(&town, &["--advertise", address]).await;
    let far = &town.homes[1].host;
    meet([far, far], [&format!("{address}:8080"); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_behind_a_nat_is_reached_by_the_address_that_stun_tells() {
    let Some(town) = Town::new() else { return };
    let _turn = town.turn().await;
    let stun = ["--ice-server", "stun:203.0.113.1", "--advertise", "stun"];
    let _server = at_home(&town, &stun).await;
    let server = format!("{}:8080", town.homes[0].address);
    // Those at home don't go around by the router.
    let servers = ["10.1.0.2:8080", &server];
    let hosts = [&town.homes[0].host, &town.homes[1].host];
    meet(hosts, servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_told_what_to_configure() {
    let Some(town) = Town::new() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "[limits]\nmedia_connect = 3").unwrap();
    let config = [
        "--config",
        file.path().to_str().unwrap(),
        "--media-tcp-port",
        "0",
    ];
    let server = at_home(&town, &config).await;
    server
        .logged("name the address that they reach, with --advertise")
        .await;
    let address = format!("{}:8080", town.homes[0].address);
    let lost = join(&town.homes[1].host, &address, "lost");
    let why = "no packets reached the server within 3 s at 10.1.0.2:50000 (UDP): \
               nobody outside of this network can reach these; name the address";
    server.logged(why).await;
    lost.logged(why).await;
    let url = format!("http://{address}/metrics");
    let metrics = town.homes[1]
        .host
        .execute("curl", &format!("-sS {url}"))
        .unwrap();
    let counted = "switchboard_media_failures_total{reason=\"no_packets\"}";
    assert!(metrics.contains(counted), "{metrics}");
}
