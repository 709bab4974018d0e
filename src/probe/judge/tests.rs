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

#[test]
fn each_fault_is_counted_once_and_as_itself() {
    // Lost, repeated, out of order, corrupt.
    type Seen = fn(u32) -> Vec<(u32, bool)>;
    let cases: [(Seen, [u64; 4], Check); 4] = [
        (
            |n| if n % 10 == 5 { vec![] } else { vec![(n, true)] },
            [50, 0, 0, 0],
            Check::Lost,
        ),
        (
            |n| {
                if n % 10 == 5 {
                    vec![(n, true); 3]
                } else {
                    vec![(n, true)]
                }
            },
            [0, 100, 0, 0],
            Check::Repeated,
        ),
        (
            |n| {
                vec![(
                    if n % 10 == 5 {
                        n + 1
                    } else if n % 10 == 6 {
                        n - 1
                    } else {
                        n
                    },
                    true,
                )]
            },
            [0, 0, 50, 0],
            Check::OutOfOrder,
        ),
        (|n| vec![(n, n % 10 != 5)], [0, 0, 0, 50], Check::Corrupt),
    ];
    for (fault, [lost, repeated, out_of_order, corrupt], check) in cases {
        let seen = (0..500).flat_map(|number| {
            fault(number).into_iter().map(move |(seen, readable)| {
                let picture = picture(seen);
                let mark = picture.mark.filter(|_| readable);
                (time(number), Picture { mark, ..picture })
            })
        });
        let report = judged(seen);
        let (_, video) = report.videos().next().unwrap();
        let frames = Frames {
            sent: 500,
            received: 500 - lost + repeated,
            lost,
            repeated,
            out_of_order,
            corrupt,
            restarts: 0,
        };
        assert_eq!(video.frames, frames, "{check:?}");
        assert_eq!(checks(&report), [check]);
    }
}

#[test]
fn a_freeze_counts_while_it_goes_on_and_not_after_the_end() {
    let mut judge = Judge::new("test");
    for number in 0..50 {
        judge.observe(time(number), Observation::Picture(id(), picture(number)));
    }
    let later = time(49) + Duration::from_secs(3);
    let freeze = |report: &Report| report.videos().next().unwrap().1.longest_freeze_ms;
    assert_eq!(freeze(&judge.report(later)), 3000.0);
    assert_eq!(freeze(&judge.interval(later)), 3000.0);
    let mut ended = judge.clone();
    ended.observe(time(50), Observation::Ended(id()));
    assert_eq!(freeze(&ended.report(later)), 40.0);
    // Who comes back has not been frozen.
    ended.observe(later, Observation::Picture(id(), picture(60)));
    assert_eq!(freeze(&ended.report(later)), 40.0);
}

#[test]
fn an_interval_tells_of_its_own_time_only() {
    let mut judge = Judge::new("test");
    let feed = |judge: &mut Judge, numbers: std::ops::Range<u32>| {
        for number in numbers.filter(|number| *number != 10) {
            judge.observe(time(number), Observation::Picture(id(), picture(number)));
        }
    };
    feed(&mut judge, 0..250);
    let first = judge.interval(time(250));
    feed(&mut judge, 250..500);
    let second = judge.interval(time(500));
    let lost = |report: &Report| report.videos().next().unwrap().1.frames.lost;
    assert_eq!((lost(&first), lost(&second)), (1, 0));
    assert_eq!(lost(&judge.report(time(500))), 1);
    for report in [first, second] {
        let (_, video) = report.videos().next().unwrap();
        assert!((24.5..25.5).contains(&video.frame_rate), "{video:?}");
        assert!((9.9..10.1).contains(&report.span.seconds), "{report:?}");
        assert!(report.streams[0].curve.is_empty());
    }
}

#[test]
fn pictures_without_marks_are_judged_by_their_coming_and_their_looks() {
    let foreign = |number: u32| Picture {
        mark: None,
        ..picture(number)
    };
    let report = judged((0..500).map(|number| (time(number), foreign(number))));
    let (_, video) = report.videos().next().unwrap();
    assert!(!video.coded && video.frames.sent == 500 && video.frames.corrupt == 0);
    assert_eq!(checks(&report), []);

    // It stops, and it stands still.
    let stops = (0..500).filter(|number| !(100..200).contains(number));
    let report = judged(stops.map(|number| (time(number), foreign(number))));
    assert_eq!(checks(&report), [Check::Freeze]);
    let still = |number: u32| Picture {
        fingerprint: u64::from(number.min(100)),
        ..foreign(number)
    };
    let report = judged((0..500).map(|number| (time(number), still(number))));
    let (_, video) = report.videos().next().unwrap();
    assert_eq!(video.longest_still_ms, 40.0 * 399.0);
    assert_eq!(video.frames.repeated, 399);
    assert_eq!(checks(&report), []);
    let thresholds = Thresholds {
        still_ms: 5000.0,
        ..Thresholds::default()
    };
    assert_eq!(thresholds.verdict(&report)[0].check, Check::Still);
}

#[test]
fn a_picture_of_another_source_is_noticed() {
    let report = judged((0..100).map(|number| {
        let mut picture = picture(number);
        if number == 50 {
            picture.mark = picture.mark.map(|mark| VideoMark { source: 8, ..mark });
        }
        (time(number), picture)
    }));
    assert_eq!(checks(&report), [Check::Source]);
}

#[test]
fn sound_has_gaps_marks_and_an_offset() {
    let sound = StreamId::new("a");
    let mut judge = Judge::new("test");
    for number in 0..250_u32 {
        let at = time(number);
        judge.observe(at, Observation::Picture(id(), picture(number)));
        // The sound is 120 ms late against the picture, and 200 ms are silent.
        let due = STEP * number + Duration::from_millis(120);
        let stretch = Sound {
            due,
            length: STEP,
            audible: !(100..105).contains(&number),
        };
        judge.observe(at, Observation::Sound(sound.clone(), stretch));
        if number % 10 == 0 && number != 100 {
            let mark = AudioMark {
                due,
                source: 7,
                index: number / 10,
                captured: START + STEP * number,
            };
            judge.observe(at, Observation::Mark(sound.clone(), mark));
        }
    }
    let report = judge.report(time(249));
    let (_, audio) = report.audios().next().unwrap();
    assert_eq!((audio.gaps, audio.longest_gap_ms), (1, 200.0));
    assert_eq!((audio.marks, audio.marks_lost), (24, 1));
    assert_eq!(audio.video_offset.unwrap().p50_ms, 120.0);
    assert!((49.0..51.0).contains(&audio.latency.unwrap().p95_ms));
    let strict = Thresholds {
        audio_gap_ms: 150.0,
        av_offset_ms: 100.0,
        ..Thresholds::default()
    };
    let findings = strict.verdict(&report);
    let found: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(found, [Check::AudioGap, Check::AvOffset]);
    assert_eq!(
        findings[0].to_string(),
        "test a: longest gap in the sound: 200 ms, wanted at most 150 ms"
    );
}

#[test]
fn phases_are_told_from_the_request_and_missing_ones_are_findings() {
    let mut judge = Judge::new("test");
    let after = |ms| START + Duration::from_millis(ms);
    judge.observe(START, Observation::Phase(Phase::Requested));
    judge.observe(after(20), Observation::Phase(Phase::Signaled));
    judge.observe(after(30), Observation::Phase(Phase::Signaled));
    let report = judge.report(after(9000));
    assert_eq!(report.phases.signaled_ms, Some(20.0));
    assert_eq!(
        checks(&report),
        [Check::Connect, Check::FirstFrame, Check::Media]
    );
    let findings = Thresholds::default().verdict(&report);
    assert_eq!(
        findings[0].to_string(),
        "test: time to the connection: never, wanted at most 5000 ms"
    );
    judge.observe(after(100), Observation::Phase(Phase::Connected));
    judge.observe(after(150), Observation::Picture(id(), picture(0)));
    let report = judge.report(after(190));
    assert_eq!(report.phases.first_frame_ms, Some(150.0));
}

#[test]
fn statistics_become_rates_and_shares() {
    let mut judge = Judge::new("test");
    for second in 0..=10_u64 {
        let sample = StreamSample {
            codec: Some("VP8".to_owned()),
            bytes: 125_000 * second,
            packets: 100 * second,
            lost: 5 * second,
            retransmitted: 3 * second,
        };
        let at = START + Duration::from_secs(second);
        judge.observe(at, Observation::Stream(id(), Kind::Video, sample));
    }
    let report = judge.report(START + Duration::from_secs(10));
    let traffic = report.stream("v").unwrap().traffic.clone().unwrap();
    assert_eq!(traffic.bitrate, 1_000_000.0);
    assert_eq!((traffic.packets, traffic.lost), (1000, 50));
    assert_eq!(traffic.loss_percent, 4.76);
    assert_eq!(traffic.retransmitted, 30);
    let curve = &report.streams[0].curve;
    assert_eq!(curve.points[5].bitrate, Some(1_000_000.0));
}

#[test]
fn hours_take_no_more_memory_and_growing_latency_is_found() {
    let mut judge = Judge::new("test");
    // Two hours at five pictures a second; each hour adds 400 ms.
    for number in 0..36_000_u32 {
        let captured = START + Duration::from_millis(200) * number;
        let age = Duration::from_millis(50) + Duration::from_secs(u64::from(number)) / 45_000;
        let mark = VideoMark {
            source: 7,
            number,
            captured,
        };
        let seen = Picture {
            mark: Some(mark),
            ..picture(number % 100)
        };
        judge.observe(captured + age, Observation::Picture(id(), seen));
    }
    let report = judge.report(START + Duration::from_secs(7200));
    let curve = &report.streams[0].curve;
    assert!(curve.points.len() <= 1200 && curve.step_seconds == 8.0);
    let rates = &curve.points[1..curve.points.len() - 1];
    assert!(
        rates
            .iter()
            .all(|point| (4.5..=5.5).contains(&point.frame_rate))
    );
    let (_, video) = report.videos().next().unwrap();
    let growth = video.latency_growth_ms.unwrap();
    assert!((580.0..620.0).contains(&growth), "{growth}");
    assert!(checks(&report).contains(&Check::LatencyGrowth));
}

#[test]
fn more_streams_than_are_followed_are_left_out() {
    let mut judge = Judge::new("test");
    for stream in 0..STREAMS + 5 {
        let id = StreamId::new(&stream.to_string());
        judge.observe(time(0), Observation::Picture(id, picture(0)));
    }
    let report = judge.report(time(1));
    assert_eq!((report.streams.len(), report.left_out), (STREAMS, 5));
}

#[test]
fn thresholds_are_read_from_toml_and_unknown_ones_refused() {
    let read: Thresholds = toml::from_str("lost_percent = 5\nlatency_p95_ms = 300.5").unwrap();
    assert_eq!(
        read,
        Thresholds {
            lost_percent: 5.0,
            latency_p95_ms: 300.5,
            ..Thresholds::default()
        }
    );
    assert!(toml::from_str::<Thresholds>("lost = 5").is_err());
}
