//! Partners that were let in and then say nonsense of media: descriptions that are none, cut, endless or in
//! contradiction with themselves, and candidates that lead nowhere. Each peer refuses them with a reason, and
//! serves the next one.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::common::{Server, wait_until};
use crate::gate::{Gate, Spoil, Step};
use crate::kills::{Scene, Who};
use crate::peers::receives;
use crate::process::{PATIENCE, Process};
use crate::{SMALL, say};

/// What becomes of a description: one that each peer must refuse.
const NONSENSE: &[Spoil] = &[
    |_| String::new(),
    // Cut, with the first section's head as its last line.
    |sdp| {
        let (session, sections) = sdp.split_once("m=").unwrap();
        format!("{session}m={}", sections.lines().next().unwrap())
    },
    // Two roles at once.
    |sdp| sdp.replacen("a=setup:", "a=setup:passive\r\na=setup:", 1),
    // More than anybody would read.
    |sdp| {
        format!(
            "{sdp}{}",
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(20_000)
        )
    },
    |sdp| sdp.repeat(3),
    |_| format!("v=0\r\na={}", "x".repeat(500_000)),
    // Media of another kind.
    |sdp| {
        sdp.replace("m=video", "m=image")
            .replace("m=audio", "m=text")
            .replace("m=application", "m=message")
    },
    // What names no section, or one that isn't there.
    |sdp| sdp.replace("a=mid:", "a=nomid:"),
    |sdp| sdp.replacen("a=group:BUNDLE", "a=group:BUNDLE elsewhere", 1),
    // Bytes that no line may have.
    |sdp| sdp.replacen("a=mid:", "a=\u{1}\u{7f}\u{0}:\r\na=mid:", 1),
];
/// Of these, those that peers are given who take their time before they try again.
const FEW: usize = 4;
/// More descriptors and threads than before are nobody's.
const LEFT: [usize; 2] = [4, 10];

/// Candidates that are none, or lead nowhere.
fn candidates() -> Vec<String> {
    let long = "x".repeat(2_000);
    let odd = [
        "candidate:",
        "candidate:1 1 UDP 99999999999999999999 192.0.2.1 99999 typ host",
        "candidate:1 300 UDP 1 192.0.2.1 9 typ host",
        "candidate:1 1 UDP 1 ::::: 9 typ host",
        "candidate:1 1 TCP 1 192.0.2.1 9 typ host tcptype sideways",
        "candidate:%s%n 1 UDP 1 192.0.2.1 9 typ %d",
        "candidate:1 1 UDP 1 192.0.2.1 9 typ srflx raddr 0 rport -1",
        "candidate:1 1 UDP 1 nobody.local 9 typ host",
    ];
    let long = format!("candidate:{long} 1 UDP 1 192.0.2.1 9 typ host");
    odd.map(str::to_owned).into_iter().chain([long]).collect()
}

/// What a process has open, and how many threads.
fn has(process: &Process) -> [usize; 2] {
    ["fd", "task"].map(|kind| {
        let directory = format!("/proc/{}/{kind}", process.id());
        std::fs::read_dir(directory).unwrap().count()
    })
}

/// Waits until a process has refused so many descriptions, each with a reason.
async fn refused(party: &Process, marker: &str, count: usize) {
    let refused = || party.log().matches(marker).count();
    wait_until(3 * PATIENCE, async || refused() >= count).await;
}

/// Waits until nothing is left of those who are gone.
async fn is_clean(party: &Process, before: [usize; 2]) {
    let is_clean = || {
        let now = has(party);
        now[0] <= before[0] + LEFT[0] && now[1] <= before[1] + LEFT[1]
    };
    let end = Instant::now() + 2 * PATIENCE;
    while !is_clean() {
        assert!(
            Instant::now() < end,
            "{:?}, and {before:?} before",
            has(party)
        );
        sleep(Duration::from_millis(100)).await;
    }
    assert!(!party.log().contains("panicked"), "{}", party.log());
}

/// The reasons, for who looks at them.
fn tell(who: &str, party: &Process, marker: &str) {
    for line in party.log().lines().filter(|line| line.contains(marker)) {
        let (_, reason) = line.split_once(marker).unwrap_or_default();
        let reason: String = reason.chars().take(150).collect();
        say(&format!("{who}: {reason}"));
    }
}

/// Partners come to one that stays, each with another nonsense, and then a good one.
async fn serves_the_next(who: Who, marker: &str) {
    let mut scene = Scene::new(who).await;
    scene.gate.wish(Step::Flowing);
    scene.gate.replace_candidates(candidates());
    let mut party = scene.launch();
    scene.meet(Step::Flowing).await;
    scene.flows(&mut party).await;
    let before = has(&party);
    for (number, spoil) in NONSENSE.iter().enumerate() {
        scene.part().await;
        scene.gate.spoil([*spoil]);
        scene.meet(Step::Flowing).await;
        refused(&party, marker, number + 1).await;
    }
    scene.part().await;
    scene.meet(Step::Flowing).await;
    scene.flows(&mut party).await;
    is_clean(&party, before).await;
    tell(&format!("{who:?}"), &party, marker);
}

/// One that takes nonsense from its server, and tries again until it is none.
async fn tries_again(who: Who, marker: &str) {
    let mut scene = Scene::new(who).await;
    scene.gate.wish(Step::Flowing);
    scene.gate.replace_candidates(candidates());
    scene.gate.spoil(NONSENSE[..FEW].iter().copied());
    let mut party = scene.launch();
    wait_until(3 * PATIENCE, async || scene.gate.to_spoil() == 0).await;
    refused(&party, marker, FEW).await;
    scene.flows(&mut party).await;
    tell(&format!("{who:?}"), &party, marker);
    say(&format!("{who:?} has {:?}", has(&party)));
    assert!(!party.log().contains("panicked"), "{}", party.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_answered_nonsense_serves_the_next_viewer() {
    serves_the_next(Who::Device, "the viewer's session ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gecko_that_is_offered_nonsense_serves_the_next_page() {
    serves_the_next(Who::Gecko, "worker ended errno=").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_that_are_answered_nonsense_try_again() {
    for who in [Who::Publisher, Who::Subscriber] {
        tries_again(who, "conversation ended why=").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_answered_nonsense_says_why_and_its_partner_takes_the_next_call() {
    let mut scene = Scene::new(Who::Caller).await;
    scene.gate.wish(Step::Flowing);
    scene.gate.replace_candidates(candidates());
    for spoil in &NONSENSE[..FEW] {
        scene.gate.spoil([*spoil]);
        let mut party = scene.launch();
        let code = party.exit_in(3 * PATIENCE).await.code();
        assert_eq!(code, Some(1), "{}", party.log());
        party.logged("the call did not come about: ").await;
        tell("Caller", &party, "the call did not come about: ");
    }
    let mut party = scene.launch();
    scene.flows(&mut party).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_offered_nonsense_meets_the_next_one() {
    let server = Server::start(&[]).await;
    let gate = Gate::new(server.address(), true).await;
    gate.replace_candidates(candidates());
    let member = |address: &str, id: &str, rest: &[&str]| {
        let url = format!("ws://{address}");
        let mesh = ["mesh", &url, "--room", "r", "--id", id];
        Process::start(&[&mesh[..], rest].concat())
    };
    let mut party = member(&gate.address, "it", &["--receive", "count"]);
    party.logged("joined the room").await;
    let mut count = 0;
    let mut next = || {
        count += 1;
        let id = format!("m{count}");
        (member(server.address(), &id, &["--send", SMALL]), id)
    };
    let (first, id) = next();
    receives(&mut party, &[&id]).await;
    let before = has(&party);
    drop(first);
    for (number, spoil) in NONSENSE[..FEW].iter().enumerate() {
        gate.spoil([*spoil]);
        let (_other, _) = next();
        refused(&party, "conversation ended why=", number + 1).await;
    }
    let (_last, id) = next();
    receives(&mut party, &[&id]).await;
    is_clean(&party, before).await;
    tell("member", &party, "conversation ended why=");
}
