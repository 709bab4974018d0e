use super::*;

const SMALL: Bounds = Bounds {
    frames: 100,
    bytes: 1000,
    time: gst::ClockTime::from_seconds(4),
};
/// A picture every 40 ms, each 10 ms on its way.
const EVERY: u64 = 40;
const ON_ITS_WAY: u64 = 10;

/// Pictures that come, and a viewer's pipeline.
struct Scene {
    kept: Kept,
    pipeline: gst::Pipeline,
    input: gst_app::AppSrc,
    out: gst_app::AppSink,
    taken: u64,
}

impl Scene {
    fn new() -> Self {
        crate::media::init().unwrap();
        let text = "appsrc name=in format=time is-live=true ! appsink name=out sync=false";
        let pipeline = gst::parse::launch(text).unwrap();
        let pipeline: gst::Pipeline = pipeline.downcast().unwrap();
        let element = |name| pipeline.by_name(name).unwrap();
        let (input, out) = (element("in"), element("out"));
        pipeline.set_state(gst::State::Playing).unwrap();
        Self {
            kept: Kept::new(SMALL),
            input: input.downcast().unwrap(),
            out: out.downcast().unwrap(),
            pipeline,
            taken: 0,
        }
    }

    /// So many pictures come, of which the first is a key frame or not; whether somebody waits.
    fn come(&mut self, count: usize, is_key: bool) -> bool {
        let mut waits = false;
        for at in 0..count {
            waits = self.comes(is_key && at == 0, gst::BufferFlags::empty());
        }
        waits
    }

    fn comes(&mut self, is_key: bool, flags: gst::BufferFlags) -> bool {
        let time = ms(self.taken * EVERY);
        self.taken += 1;
        let mut buffer = gst::Buffer::with_size(10).unwrap();
        let inside = buffer.get_mut().unwrap();
        inside.set_pts(time);
        inside.set_offset(self.taken);
        inside.set_flags(flags);
        let sample = gst::Sample::builder()
            .buffer(&buffer)
            .caps(&gst::Caps::new_empty_simple("video/x-vp8"))
            .segment(&gst::FormattedSegment::<gst::ClockTime>::new())
            .build();
        let frame = Frame {
            sample,
            time,
            size: 10,
            is_key,
        };
        self.kept.take(frame, time + ms(ON_ITS_WAY))
    }

    fn now(&self) -> gst::ClockTime {
        ms((self.taken - 1) * EVERY + ON_ITS_WAY)
    }

    /// The next picture that the viewer gets: which, and its timestamp in milliseconds.
    fn got(&self) -> Option<(u64, u64)> {
        let sample = self.out.try_pull_sample(ms(200))?;
        let buffer = sample.buffer()?;
        Some((buffer.offset(), buffer.pts()?.mseconds()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

fn ms(milliseconds: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(milliseconds)
}

#[test]
fn a_new_viewer_gets_the_kept_pictures_fast_and_on_time_and_then_what_comes() {
    let mut scene = Scene::new();
    scene.come(51, true);
    let joined = scene.now();
    let viewer = scene.kept.join(scene.input.clone(), joined);
    let mut now = joined;
    while let Some(pause) = scene.kept.send_due(viewer, now) {
        let pause = gst::ClockTime::try_from(pause).unwrap();
        // Two seconds of pictures must not take longer than two eighths.
        now += pause;
        assert!(now <= joined + ms(260), "{now} after {joined}");
    }
    // Meanwhile the next six came.
    scene.taken = 51 + 6;
    scene.come(2, false);
    let got: Vec<_> = (0..53).map(|_| scene.got().unwrap()).collect();
    assert_eq!(got[0], (1, 2000), "the key frame, as if taken now");
    assert_eq!(got[8], (9, 2040), "each eighth of its distance later");
    assert_eq!(got[50], (51, 2250));
    assert!(got.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{got:?}");
    assert_eq!(
        got[51..],
        [(58, 57 * EVERY), (59, 58 * EVERY)],
        "as they are"
    );
    assert_eq!(scene.got(), None);
}

#[test]
fn a_timestamp_never_falls_even_if_the_next_picture_comes_a_little_early() {
    let mut scene = Scene::new();
    scene.come(51, true);
    let viewer = scene.kept.join(scene.input.clone(), scene.now());
    while scene.kept.send_due(viewer, ms(10_000)).is_some() {}
    scene.come(10, false);
    let got: Vec<_> = (0..61).map(|_| scene.got().unwrap().1).collect();
    assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
    assert_eq!(got.last(), Some(&(60 * EVERY)));
}

#[test]
fn a_key_frame_makes_the_older_ones_needless() {
    let mut scene = Scene::new();
    scene.come(20, true);
    let viewer = scene.kept.join(scene.input.clone(), scene.now());
    assert!(scene.kept.send_due(viewer, scene.now()).is_some());
    scene.come(2, true);
    while scene.kept.send_due(viewer, ms(10_000)).is_some() {}
    let which: Vec<_> = (0..3).map(|_| scene.got().unwrap().0).collect();
    assert_eq!(which, [1, 21, 22]);
}

#[test]
fn over_each_bound_nothing_is_kept_and_who_joins_waits_for_a_key_frame() {
    let unbounded = Bounds {
        frames: usize::MAX,
        bytes: usize::MAX,
        time: ms(u64::MAX / 1_000_000),
    };
    for (most, kept, over) in [
        (
            Bounds {
                frames: 5,
                ..unbounded
            },
            5,
            6,
        ),
        (
            Bounds {
                bytes: 50,
                ..unbounded
            },
            5,
            6,
        ),
        (
            Bounds {
                time: ms(160),
                ..unbounded
            },
            5,
            6,
        ),
    ] {
        let mut scene = Scene::new();
        scene.kept = Kept::new(most);
        scene.come(kept, true);
        assert_eq!(scene.kept.lock().group.len(), kept);
        scene.come(over - kept, false);
        assert_eq!(scene.kept.lock().group.len(), 0, "{most:?}");
        assert_eq!(scene.kept.lock().bytes, 0);
        let viewer = scene.kept.join(scene.input.clone(), scene.now());
        assert_eq!(scene.kept.send_due(viewer, scene.now()), None);
        assert!(scene.come(1, false), "somebody waits");
        assert!(!scene.come(2, true));
        let which: Vec<_> = (0..2).map(|_| scene.got().unwrap().0).collect();
        assert_eq!(which, [over as u64 + 2, over as u64 + 3]);
    }
}

#[test]
fn after_a_gap_everybody_waits_for_a_key_frame() {
    let mut scene = Scene::new();
    scene.come(1, true);
    let viewer = scene.kept.join(scene.input.clone(), scene.now());
    while scene.kept.send_due(viewer, ms(1000)).is_some() {}
    assert!(scene.comes(false, gst::BufferFlags::DISCONT));
    assert!(scene.come(1, false));
    assert_eq!(scene.kept.lock().group.len(), 0);
    assert!(!scene.comes(true, gst::BufferFlags::DISCONT));
    let which: Vec<_> = (0..2).map(|_| scene.got().unwrap().0).collect();
    assert_eq!(which, [1, 4]);
}

#[test]
fn a_viewer_that_left_gets_nothing() {
    let mut scene = Scene::new();
    scene.come(1, true);
    let viewer = scene.kept.join(scene.input.clone(), scene.now());
    scene.kept.leave(viewer);
    assert_eq!(scene.kept.send_due(viewer, ms(1000)), None);
    scene.come(3, true);
    assert_eq!(scene.got(), None);
}
