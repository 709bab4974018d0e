//! Data channels.

use bytes::Bytes;
use switchboard::media::{ChannelError, Codec, SessionConfig, SessionEvent};

use crate::pair::Pair;
use crate::{grey, video};

fn opened(told: &[SessionEvent], wanted: &str) -> bool {
    told.iter()
        .any(|event| matches!(event, SessionEvent::ChannelOpen { label } if label == wanted))
}

fn opens(told: &[SessionEvent]) -> usize {
    told.iter()
        .filter(|event| matches!(event, SessionEvent::ChannelOpen { .. }))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways_on_channels_of_either_side_first_one_included() {
    let source = grey(120).await;
    let device = SessionConfig {
        channels: vec!["device-control".into()],
        ..video(&source, Codec::Vp8)
    };
    let viewer = SessionConfig {
        channels: vec!["input-channel".into(), "adb-channel".into()],
        ..SessionConfig::default()
    };
    let mut pair = Pair::start(device, viewer).await;
    assert_eq!(
        pair.device.send_text("device-control", "too early"),
        Err(ChannelError::NotOpen("device-control".into()))
    );
    pair.device_offers().await;
    pair.until("the device's own channel", |pair| {
        opened(&pair.told_device, "device-control")
    })
    .await;
    pair.device.send_text("device-control", "first").unwrap();
    pair.until("the viewer's channels", |pair| {
        ["input-channel", "adb-channel"]
            .iter()
            .all(|label| opened(&pair.told_viewer, label))
    })
    .await;
    pair.viewer.send_text("input-channel", "touch").unwrap();
    let bytes = Bytes::from((0..=255).cycle().take(45_000).collect::<Vec<u8>>());
    pair.viewer
        .send_binary("adb-channel", bytes.clone())
        .unwrap();
    pair.until("the viewer's binary message", |pair| {
        pair.told_device.contains(&SessionEvent::Binary {
            label: "adb-channel".into(),
            bytes: bytes.clone(),
        })
    })
    .await;
    pair.device
        .send_binary("adb-channel", bytes.clone())
        .unwrap();
    pair.until("the binary message back", |pair| {
        pair.told_viewer.contains(&SessionEvent::Binary {
            label: "adb-channel".into(),
            bytes: bytes.clone(),
        })
    })
    .await;
    let text = |label: &str, text: &str| SessionEvent::Text {
        label: label.into(),
        text: text.into(),
    };
    assert!(pair.told_viewer.contains(&text("device-control", "first")));
    assert!(pair.told_device.contains(&text("input-channel", "touch")));
    assert_eq!((opens(&pair.told_device), opens(&pair.told_viewer)), (3, 3));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_right_before_the_goodbye_arrives() {
    for round in 0..10 {
        let device = SessionConfig {
            channels: vec!["a".into(), "b".into()],
            ..SessionConfig::default()
        };
        let mut pair = Pair::start(device, SessionConfig::default()).await;
        pair.device_offers().await;
        pair.until("both channels", |pair| {
            ["a", "b"]
                .iter()
                .all(|label| opened(&pair.told_device, label) && opened(&pair.told_viewer, label))
        })
        .await;
        let last = "the end".repeat(1000);
        pair.device.send_text("b", &last).unwrap();
        let told = pair.device_leaves(2).await;
        let heard = SessionEvent::Text {
            label: "b".into(),
            text: last,
        };
        assert!(told.contains(&heard), "round {round}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_leaves_is_noticed() {
    let source = grey(120).await;
    let device = SessionConfig {
        channels: vec!["c".into()],
        ..video(&source, Codec::Vp8)
    };
    let pair = Pair::start(device, SessionConfig::default()).await;
    pair.leave_and_notice().await;
}
