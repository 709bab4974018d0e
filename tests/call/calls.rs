//! Calls between two.

use rustix::process::Signal;
use serde_json::json;
use switchboard::dialect::gstreamer::client::CallEvent;
use switchboard::dialect::gstreamer::payload::Message;
use switchboard::dialect::negotiation::Sdp;

use crate::call;
use crate::guest::{Begin, Guest, Talk, an_offer};
use crate::peers::{result, server};
use crate::process::Process;

/// What the built peer sends in these tests, and that it counts what it gets.
const MEDIA: &[&str] = &[
    "--send",
    "test pattern=white wave=sine",
    "--receive",
    "count",
];

/// Pictures and sound in both directions, then the guest hangs up.
async fn both_ways(process: &mut Process, mut talk: Talk) {
    talk.until("white picture and tone", |seen| {
        let white = seen.pictures.values().any(|it| {
            let middle = it.luma.get(it.width * (it.height / 2) + it.width / 2);
            it.frames > 30 && middle.is_some_and(|luma| *luma > 200)
        });
        // audiotestsrc plays 440 Hz.
        let tone = seen.sounds.values().any(|it| {
            let hertz = it.waves * 48_000 / it.samples.max(1);
            it.samples > 96_000 && it.peak > 10_000 && (400..480).contains(&hertz)
        });
        white && tone
    })
    .await;
    process
        .line("a second with pictures and sound", |line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let count = &line["count"];
            let enough = count["video"]["frames"].as_u64()? > 15
                && count["audio"]["frames"].as_u64()? > 30
                && count["video"]["width"] == 640
                && count["video"]["height"] == 480
                && count["video"]["bitrate"].as_u64()? > 1000;
            enough.then_some(())
        })
        .await;
    drop(talk);
    let (total, _) = result(process, "total").await;
    assert!(total["video"]["frames"].as_u64() > Some(30), "{total}");
    assert_eq!(process.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_offers() {
    let (_server, address) = server("127.0.0.1:0").await;
    let mut guest = Guest::register(&address, "guest").await;
    let mut caller = call(&address, &[&["--peer", "guest"], MEDIA].concat());
    // The offer itself is the first that a callee hears.
    let CallEvent::FromPartner(Ok(Message::Offer(offer))) = guest.event().await else {
        panic!("no offer");
    };
    assert!(offer.as_str().contains("webrtc-datachannel"));
    drop(guest);
    assert_eq!(caller.exit().await.code(), Some(1));

    let guest = Guest::register(&address, "guest").await;
    let mut caller = call(&address, &[&["--peer", "guest"], MEDIA].concat());
    let talk = guest.talk(Begin::Listen).await;
    both_ways(&mut caller, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_offers_old_peers_neither_a_channel_nor_a_bundle() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = [&["--peer", "guest", "--channel", "none"], MEDIA].concat();
    let mut guest = Guest::register(&address, "guest").await;
    let mut caller = call(&address, &arguments);
    let CallEvent::FromPartner(Ok(Message::Offer(offer))) = guest.event().await else {
        panic!("no offer");
    };
    let offer = offer.as_str();
    assert!(!offer.contains("webrtc-datachannel"), "{offer}");
    assert!(!offer.contains("BUNDLE"), "{offer}");
    drop(guest);
    assert_eq!(caller.exit().await.code(), Some(1));

    let guest = Guest::register(&address, "guest").await;
    let mut caller = call(&address, &arguments);
    let talk = guest.talk(Begin::Listen).await;
    both_ways(&mut caller, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_lets_the_other_side_offer() {
    let (_server, address) = server("127.0.0.1:0").await;
    let guest = Guest::register(&address, "guest").await;
    let arguments = [&["--peer", "guest", "--remote-offerer"], MEDIA].concat();
    let mut caller = call(&address, &arguments);
    let talk = guest.talk(Begin::Listen).await;
    both_ways(&mut caller, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_answers() {
    let (_server, address) = server("127.0.0.1:0").await;
    let mut callee = call(&address, &[&["--id", "7"], MEDIA].concat());
    callee.logged("registered").await;
    let talk = Guest::call(&address, "guest", "7")
        .await
        .talk(Begin::Offer)
        .await;
    both_ways(&mut callee, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_offers_when_it_is_asked_to() {
    let (_server, address) = server("127.0.0.1:0").await;
    let mut callee = call(&address, &[&["--id", "7"], MEDIA].concat());
    callee.logged("registered").await;
    let guest = Guest::call(&address, "guest", "7").await;
    let talk = guest.talk(Begin::AskForOffer).await;
    both_ways(&mut callee, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_receives_gets_pictures_and_sound_whoever_offers() {
    let (_server, address) = server("127.0.0.1:0").await;
    for direction in [&["--peer", "7"][..], &["--peer", "7", "--remote-offerer"]] {
        let callee = call(&address, &["--id", "7"]);
        callee.logged("registered").await;
        let arguments = [direction, &["--send", "none", "--receive", "count"]].concat();
        let mut caller = call(&address, &arguments);
        let enough = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let count = &line["count"];
            (count["video"]["frames"].as_u64()? > 10 && count["audio"]["frames"].as_u64()? > 10)
                .then_some(())
        };
        caller.line("pictures and sound", enough).await;
        assert_eq!(caller.end(Signal::TERM).await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_both_ways_over_a_channel_of_any_label() {
    let (_server, address) = server("127.0.0.1:0").await;
    let url = format!("ws://{address}");
    let callee = ["call", &url, "--id", "7", "--send", "none"];
    let mut callee = Process::with_input(&callee, "hello\n{\"a\":1}\n").await;
    callee.logged("registered").await;
    let caller = [
        "call",
        &url,
        "--peer",
        "7",
        "--send",
        "none",
        "--channel",
        "channel",
    ];
    let mut caller = Process::with_input(&caller, "good day\n").await;
    let any = |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(
        callee.line("line", any).await,
        json!({"channel": "channel", "text": "good day"})
    );
    assert_eq!(
        caller.line("line", any).await,
        json!({"peer": "7", "channel": "channel", "text": "hello"})
    );
    assert_eq!(
        caller.line("line", any).await,
        json!({"peer": "7", "channel": "channel", "message": {"a": 1}})
    );
    assert_eq!(caller.end(Signal::INT).await.code(), Some(0));
    assert_eq!(callee.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_plain_words() {
    let (_server, address) = server("127.0.0.1:0").await;
    let refused = async |arguments: &[&str], why: &str| {
        let mut process = call(&address, &[arguments, &["--send", "none"]].concat());
        assert_eq!(process.exit().await.code(), Some(1));
        process.logged(why).await;
    };
    refused(
        &["--peer", "nobody"],
        "nobody is not registered at this server",
    )
    .await;
    let holder = Guest::register(&address, "holder").await;
    refused(&["--id", "holder"], "the id holder is taken at this server").await;
    let _caller = Guest::call(&address, "caller", "holder").await;
    refused(&["--peer", "holder"], "holder is busy").await;
    drop(holder);
    let nowhere = call("127.0.0.1:1", &["--send", "none"]);
    nowhere.logged("cannot connect to 127.0.0.1:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_caller_finds_a_peer_that_comes_later() {
    let (_server, address) = server("127.0.0.1:0").await;
    let mut caller = call(&address, &[&["--peer", "late", "--wait"], MEDIA].concat());
    caller.logged("late is not registered").await;
    let talk = Guest::register(&address, "late")
        .await
        .talk(Begin::Listen)
        .await;
    both_ways(&mut caller, talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_keeps_on_takes_call_after_call_and_survives_nonsense() {
    let (_server, address) = server("127.0.0.1:0").await;
    let arguments = [&["--id", "7", "--keep"], MEDIA].concat();
    let callee = call(&address, &arguments);
    let offer = |sdp: &str| Message::Offer(Sdp::new(sdp)).to_text();
    let many = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(1000);
    let good = an_offer().await;
    let (before, audio) = good.split_once("m=audio").unwrap();
    let nonsense = [
        // At these webrtcbin aborts the process.
        offer(&format!("{before}{}", audio.split_once('\n').unwrap().1)),
        offer(&good.replacen("a=recvonly\r\n", "", 1)),
        offer("no description"),
        offer("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"),
        offer(&format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{many}"
        )),
        Message::Answer(Sdp::new("v=0")).to_text(),
        r#"{"sdp":7}"#.to_owned(),
        "ERROR no camera".to_owned(),
    ];
    for (number, text) in nonsense.iter().enumerate() {
        let mut guest = caller_of(&callee, &address, number).await;
        guest.link.send(text.as_str()).await.unwrap();
        // It ends the call, and says so as the dialect does.
        let goodbye = guest.closed().await;
        assert!(goodbye.contains("1000"), "{text}: {goodbye}");
    }
    // Candidates that make no sense to ICE, for sections that aren't there, and words of others'.
    let mut guest = caller_of(&callee, &address, nonsense.len()).await;
    for text in [
        r#"{"STATE":1}"#,
        "SESSION x",
        "",
        r#"{"ice":7}"#,
        r#"{"ice":{"candidate":"nonsense","sdpMLineIndex":0}}"#,
        r#"{"ice":{"candidate":null,"sdpMLineIndex":0}}"#,
        r#"{"ice":{"candidate":"candidate:","sdpMLineIndex":99}}"#,
        r#"{"ice":{"candidate":"candidate:x y z","sdpMLineIndex":"4000000000"}}"#,
    ] {
        guest.link.send(text).await.unwrap();
    }
    let talk = guest.talk(Begin::Offer).await;
    let mut keeper = callee;
    keeper.logged("connected").await;
    drop(talk);
    let guest = caller_of(&keeper, &address, nonsense.len() + 1).await;
    drop(guest);
    assert_eq!(keeper.end(Signal::TERM).await.code(), Some(0));
    assert!(!keeper.log().contains("panicked"), "{}", keeper.log());
}

/// Calls a peer that has registered so many times before.
async fn caller_of(callee: &Process, address: &str, before: usize) -> Guest {
    let deadline = tokio::time::Instant::now() + crate::process::PATIENCE;
    while callee.log().matches("registered id").count() <= before {
        assert!(tokio::time::Instant::now() < deadline, "no registration");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Guest::call(address, "guest", "7").await
}
