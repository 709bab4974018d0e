//! Streams with known faults give exactly those findings.

use super::*;

/// A stream of pictures with marks, 25 in a second, each 50 ms old when it is decoded.
fn picture(number: u32) -> Picture {
    let captured = START + STEP * number;
    Picture {
        due: Some(captured - START),
        mark: Some(VideoMark {
            source: 7,
            number,
            captured,
        }),
        fingerprint: u64::from(number),
        size: (640, 480),
    }
}

const START: Duration = Duration::from_secs(1_700_000_000);
const STEP: Duration = Duration::from_millis(40);
const AGE: Duration = Duration::from_millis(50);

/// When a picture is decoded if nothing is wrong.
fn time(number: u32) -> Duration {
    START + STEP * number + AGE
}

fn id() -> StreamId {
    StreamId::new("v")
}

/// What the judge says of pictures, each decoded at its time, given as pairs of time and number.
fn judged(seen: impl IntoIterator<Item = (Duration, Picture)>) -> Report {
    let mut judge = Judge::new("test");
    let mut last = START;
    for (at, picture) in seen {
        judge.observe(at, Observation::Picture(id(), picture));
        last = at;
    }
    judge.report(last)
}

fn checks(report: &Report) -> Vec<Check> {
    let findings = Thresholds::default().verdict(report);
    findings.into_iter().map(|finding| finding.check).collect()
}

#[test]
fn a_stream_without_faults_has_no_findings() {
    let report = judged((0..500).map(|number| (time(number), picture(number))));
    let (_, video) = report.videos().next().unwrap();
    assert_eq!(
        video.frames,
        Frames {
            sent: 500,
            received: 500,
            ..Frames::default()
        }
    );
    assert_eq!(video.sources, [7]);
    assert_eq!(video.longest_freeze_ms, 40.0);
    assert!((24.9..25.2).contains(&video.frame_rate), "{video:?}");
    let latency = video.latency.unwrap();
    assert!((49.5..50.5).contains(&latency.p95_ms), "{latency:?}");
    assert_eq!(checks(&report), []);
}
