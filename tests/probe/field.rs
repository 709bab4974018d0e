//! One end in the probe, the other one elsewhere.

use super::common::{Server, process::Process};
use super::{Probed, probe, strict};

/// Judges a device that plays this pipeline file's text.
async fn of_device(pipeline: &str, thresholds: &[&str]) -> Probed {
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("field.toml");
    std::fs::write(&file, format!("title = 'x'\npipeline = '''{pipeline}'''\n")).unwrap();
    let words = [
        "device",
        &url,
        "--id",
        "it",
        "--pipeline",
        file.to_str().unwrap(),
    ];
    let device = Process::start(&words);
    device.logged("registered").await;
    let watch = [
        "device",
        &url,
        "--receive-only",
        "--watch",
        "it",
        "--seconds",
        "5",
    ];
    let others = super::LENIENT
        .chunks(2)
        .filter(|flag| !thresholds.contains(&flag[0]));
    let others: Vec<_> = others.flatten().copied().collect();
    strict(&[&watch[..], &others, thresholds].concat()).await
}

/// Pictures of a live source.
const PICTURES: &str = "videotestsrc is-live=true pattern=ball num-buffers=NUMBER \
    ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! appsink name=video";

#[tokio::test(flavor = "multi_thread")]
async fn a_device_in_the_field_is_judged_without_marks() {
    let pipeline = PICTURES.replace("NUMBER", "-1");
    let probed = of_device(&pipeline, &[]).await;
    assert_eq!(probed.code, Some(0), "{}{}", probed.reasons(), probed.log);
    let videos = probed.videos();
    assert_eq!(videos[0]["coded"], false, "{:#}", probed.outcome);
    assert!(videos[0]["frame_rate"].as_f64() > Some(1.0));
    assert!(videos[0]["latency"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stops_is_said_to_freeze() {
    // It starts again after a while, as a camera that was plugged out does.
    let pipeline = PICTURES.replace("NUMBER", "20");
    let probed = of_device(&pipeline, &["--max-freeze", "400ms"]).await;
    assert_eq!(probed.code, Some(1), "{:#}", probed.outcome);
    assert!(
        probed.reasons().contains("longest freeze"),
        "{}",
        probed.reasons()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_repeats_one_picture_is_said_to_be_still() {
    let pipeline = "videotestsrc num-buffers=1 pattern=smpte ! imagefreeze is-live=true \
        ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! appsink name=video";
    let probed = of_device(pipeline, &["--max-still", "1s"]).await;
    assert_eq!(probed.code, Some(1), "{:#}", probed.outcome);
    let reasons = probed.reasons();
    assert!(reasons.contains("the very same picture"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_probe_sends_and_another_one_receives() {
    let server = Server::start(&[]).await;
    let url = format!("ws://{}", server.address());
    for scenario in ["device", "room", "gecko"] {
        let (here, watch) = match scenario {
            "device" => ("/devices", "there"),
            "room" => ("/getAllRooms", "there"),
            _ => ("/api/endpoints", "pipeline:probe"),
        };
        let send = ["--send-only", "--id", "there", "--seconds", "5"];
        let send = [&[scenario, &url], &send[..]].concat();
        let receive = ["--receive-only", "--watch", watch, "--seconds", "2"];
        let receive = [&[scenario, &url], &receive[..]].concat();
        let there = async || {
            super::common::wait_until(super::common::PATIENCE, async || {
                server.get(here).await.body.contains("there")
            })
            .await;
        };
        // Who sends into a room doesn't wait for anybody: there the other one comes first.
        let (sent, received) = match scenario {
            "room" => {
                let send = async {
                    there().await;
                    probe(&send).await
                };
                tokio::join!(send, probe(&receive))
            }
            _ => {
                let receive = async {
                    there().await;
                    probe(&receive).await
                };
                tokio::join!(probe(&send), receive)
            }
        };
        received.passed(1);
        assert_eq!(sent.code, Some(0), "{}{}", sent.reasons(), sent.log);
        let packets = sent.outcome["sent"][0]["packets"].as_u64();
        assert!(packets > Some(5), "{:#}", sent.outcome);
    }
}
