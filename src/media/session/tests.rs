use gstreamer_app as gst_app;

use super::*;
use crate::media::codec::{Codec, Kind};
use crate::media::{Activity, PipelineFile, SourceOptions};

const DEADLINE: Duration = Duration::from_secs(20);

/// Two joined sessions and the task that carries their candidates.
struct Call {
    device: Session,
    viewer: Arc<tokio::sync::Mutex<Session>>,
    carrier: tokio::task::JoinHandle<()>,
}

async fn call(source: &Arc<Source>) -> Call {
    let stream = StreamConfig {
        source: source.clone(),
        stream_id: "display_0".to_owned(),
        kind: Kind::Video,
        codecs: vec![Codec::Vp8],
    };
    let config = SessionConfig {
        streams: vec![stream],
        ..SessionConfig::default()
    };
    let (mut device, mut events) = Session::start(config).await.unwrap();
    let (mut viewer, others) = Session::start(SessionConfig::default()).await.unwrap();
    let offer = device.offer().await.unwrap();
    let answer = viewer.answer(&offer).await.unwrap();
    device.accept_answer(&answer).await.unwrap();
    let viewer = Arc::new(tokio::sync::Mutex::new(viewer));
    let to = viewer.clone();
    // The viewer learns the device's candidates; the device learns the viewer's from its checks.
    let carrier = tokio::spawn(async move {
        let _others = others;
        while let Some(event) = events.recv().await {
            if let SessionEvent::Candidate {
                mline_index,
                mid,
                candidate,
            } = event
            {
                to.lock()
                    .await
                    .add_candidate(mline_index, mid.as_deref(), &candidate);
            }
        }
    });
    Call {
        device,
        viewer,
        carrier,
    }
}

impl Call {
    async fn received(&self) -> u64 {
        self.viewer
            .lock()
            .await
            .stats()
            .await
            .unwrap()
            .received_packets
    }

    /// Waits until the viewer has this many packets.
    async fn reach(&self, packets: u64) {
        let reached = async {
            while self.received().await < packets {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached)
            .await
            .expect("packets arrive");
    }

    async fn close(self) {
        self.device.close().await;
        self.carrier.abort();
    }
}

async fn source() -> Arc<Source> {
    let file = PipelineFile::find("test", &[]).unwrap();
    let options = SourceOptions {
        linger: Duration::from_millis(10),
        ..SourceOptions::default()
    };
    Source::open(file, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_viewer_slows_nobody_else_and_can_be_closed() {
    let source = source().await;
    let (good, bad) = (call(&source).await, call(&source).await);
    good.reach(30).await;
    bad.reach(30).await;

    // As stuck as it gets: the session's own thread can't get rid of its frame.
    let pipeline = bad.device.pipeline.get().unwrap().clone();
    let feed = pipeline
        .iterate_elements()
        .into_iter()
        .flatten()
        .find(|element| element.is::<gst_app::AppSrc>())
        .unwrap();
    drop(pipeline);
    let pad = feed.static_pad("src").unwrap();
    let (blocked, wait) = std::sync::mpsc::channel();
    pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, move |_, _| {
        let _ = blocked.send(());
        gst::PadProbeReturn::Ok
    });
    tokio::task::spawn_blocking(move || wait.recv_timeout(DEADLINE).unwrap())
        .await
        .unwrap();

    let (start, before, stuck) = (Instant::now(), good.received().await, bad.received().await);
    good.reach(before + 90).await;
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "90 packets took {:?}",
        start.elapsed()
    );
    assert!(
        bad.received().await < stuck + 10,
        "the stuck one isn't stuck"
    );

    let start = Instant::now();
    bad.close().await;
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "closing took {:?}",
        start.elapsed()
    );
    good.close().await;
    let mut activity = source.activity();
    tokio::time::timeout(DEADLINE, activity.wait_for(|now| *now == Activity::Idle))
        .await
        .expect("the source stops")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_out_of_order_are_refused_and_do_no_harm() {
    let (mut session, _events) = Session::start(SessionConfig {
        channels: vec!["c".to_owned()],
        ..SessionConfig::default()
    })
    .await
    .unwrap();
    session.add_candidate(0, None, "candidate:1 1 UDP 1 192.0.2.1 9 typ host");
    for _ in 0..1000 {
        session.add_candidate(7, Some("x"), "nonsense");
    }
    assert!(matches!(
        session.accept_answer("v=0").await,
        Err(MediaError::OutOfOrder(_))
    ));
    assert!(session.answer("this is no SDP").await.is_err());
    let offer = session.offer().await.unwrap();
    assert!(offer.contains("m=application"), "{offer}");
    assert!(matches!(
        session.offer().await,
        Err(MediaError::OutOfOrder(_))
    ));
    assert!(matches!(
        session.answer(&offer).await,
        Err(MediaError::OutOfOrder(_))
    ));
    assert!(session.accept_answer("v=0").await.is_err());
    session.close().await;
}

/// What webrtc-sendrecv.c needs of an offer that it asked for (gst.md A.8): it sends VP8 as 96 and
/// Opus as 97 whatever is offered, its sound is mono, and its webrtcbin compares `sprop-stereo`.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_suits_old_peers_and_no_payload_type_is_taken_twice() {
    let source = source().await;
    let stream = |kind, codec| StreamConfig {
        source: source.clone(),
        stream_id: "stream".to_owned(),
        kind,
        codecs: vec![codec],
    };
    let (video, audio) = ((Kind::Video, Codec::Vp8), (Kind::Audio, Codec::Opus));
    for kinds in [vec![video, audio], vec![video, video, audio]] {
        let config = SessionConfig {
            streams: kinds
                .iter()
                .map(|&(kind, codec)| stream(kind, codec))
                .collect(),
            channels: vec!["c".to_owned()],
            ..SessionConfig::default()
        };
        let (mut session, _events) = Session::start(config).await.unwrap();
        let offer = session.offer().await.unwrap();
        session.close().await;

        assert!(!offer.contains("sprop-stereo"), "{offer}");
        let formats: Vec<_> = sdp::sections(&offer)
            .iter()
            .map(|section| section.formats.iter().map(|it| it.pt).collect::<Vec<_>>())
            .collect();
        let mut all = formats.concat();
        all.sort_unstable();
        let taken = all.len();
        all.dedup();
        assert_eq!(all.len(), taken, "{formats:?}");
        if kinds.len() == 2 {
            assert_eq!((formats[0][0], &formats[1][..]), (96, &[97][..]));
        }
    }
}

/// What mp-webrtc-sendrecv.c needs: it sends Opus as 96 only, and each of its sections
/// has a transport of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_unbundled_offer_has_a_transport_for_each_section_and_is_answered_so() {
    let source = source().await;
    let streams = [(Kind::Audio, Codec::Opus), (Kind::Video, Codec::Vp8)];
    let config = SessionConfig {
        streams: streams
            .map(|(kind, codec)| StreamConfig {
                source: source.clone(),
                stream_id: "stream".to_owned(),
                kind,
                codecs: vec![codec],
            })
            .into(),
        bundle: false,
        ..SessionConfig::default()
    };
    let (mut session, _events) = Session::start(config).await.unwrap();
    let offer = session.offer().await.unwrap();
    let (mut other, _events) = Session::start(SessionConfig::default()).await.unwrap();
    let answer = other.answer(&offer).await.unwrap();
    session.accept_answer(&answer).await.unwrap();
    for sdp in [&offer, &answer] {
        let mut transports: Vec<_> = sdp
            .lines()
            .filter(|line| line.starts_with("a=ice-ufrag:"))
            .collect();
        transports.dedup();
        assert_eq!(transports.len(), 2, "{sdp}");
        assert!(!sdp.contains("BUNDLE"), "{sdp}");
        assert_eq!(sdp::sections(sdp)[0].formats[0].pt, 96, "{sdp}");
    }
    session.close().await;
    other.close().await;
}
