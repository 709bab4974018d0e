use gstreamer_app as gst_app;

use super::*;
use crate::media::guard::Guard;

/// Bytes of the second half of 100 moving frames, which were encoded at this rate.
fn bytes(encoder: &Encoder, first: u32, later: u32) -> usize {
    let text = format!(
        "videotestsrc num-buffers=100 pattern=zone-plate kx2=6 ky2=6 kt=3 ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! {} ! appsink name=out sync=false max-buffers=1",
        encoder.launch_text(320 * 240)
    );
    let pipeline = Guard::launch(&text).unwrap();
    let element: gst::Element = pipeline.find(ELEMENT_NAME).unwrap();
    let out: gst_app::AppSink = pipeline.find("out").unwrap();
    encoder.set_bitrate(&element, first);
    pipeline.set_state(gst::State::Playing).unwrap();
    let sizes = (0..100).map_while(|frame| {
        if frame == 20 {
            encoder.set_bitrate(&element, later);
        }
        Some(out.pull_sample().ok()?.buffer()?.size())
    });
    sizes.skip(50).sum()
}

#[test]
fn every_software_encoder_of_pictures_changes_its_rate_while_it_plays() {
    crate::media::init().unwrap();
    let all = Codec::ALL.into_iter().flat_map(installed);
    let all = all.filter(|it| it.kind() == Some(EncoderKind::Software) && it.is_for(Kind::Video));
    let mut count = 0;
    for encoder in all {
        let (low, high) = (
            bytes(&encoder, 2_000_000, 200_000),
            bytes(&encoder, 200_000, 2_000_000),
        );
        assert!(high > low * 3 / 2, "{}: {low}, {high}", encoder.name());
        count += 1;
    }
    assert!(count >= 3, "VP8, VP9 and H264 are installed");
}

/// For each of 40 frames whether it is a whole one, when those after the 10th and 20th are asked for.
fn whole_frames(encoder: &Encoder) -> Vec<bool> {
    let text = format!(
        "videotestsrc num-buffers=40 ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! {} ! appsink name=out sync=false max-buffers=1",
        encoder.launch_text(320 * 240)
    );
    let pipeline = Guard::launch(&text).unwrap();
    let out: gst_app::AppSink = pipeline.find("out").unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let frames = (0..40).map_while(|frame| {
        if frame == 10 || frame == 20 {
            let request = gst_video::UpstreamForceKeyUnitEvent::builder();
            let pad = out.static_pad("sink").unwrap();
            assert!(pad.push_event(request.all_headers(true).build()));
        }
        let sample = out.pull_sample().ok()?;
        let flags = sample.buffer()?.flags();
        Some(!flags.contains(gst::BufferFlags::DELTA_UNIT))
    });
    frames.collect()
}

#[test]
fn every_software_encoder_gives_a_whole_picture_when_it_is_asked_for_one() {
    crate::media::init().unwrap();
    let all = Codec::ALL.into_iter().flat_map(installed);
    for encoder in all.filter(|it| it.is_for(Kind::Video)) {
        let whole = whole_frames(&encoder);
        let count = |range: std::ops::Range<usize>| whole[range].iter().filter(|it| **it).count();
        let counts = [count(0..10), count(10..20), count(20..40)];
        let expected = match encoder.name() {
            // It ignores the request, but doesn't leave who asked alone for long.
            "av1enc" => [1, 0, 1],
            _ => [1, 1, 1],
        };
        assert_eq!(counts, expected, "{}: {whole:?}", encoder.name());
    }
}

fn written(launch: &str) -> Vec<(Codec, Arc<Written>)> {
    let written = Written {
        launch: launch.to_owned(),
        bitrate_property: None,
        bitrate_unit: Unit::Bits,
    };
    vec![(Codec::Vp8, Arc::new(written))]
}

#[test]
fn each_encoder_is_tried_once_and_its_state_is_known() {
    crate::media::init().unwrap();
    let encoders = Encoders::choose(&[Codec::Vp8], &EncoderChoice::Best, &[]).unwrap();
    let best = encoders.best(Codec::Vp8).unwrap();
    let all = super::encoders();
    let info = all.iter().find(|it| it.element == best.name()).unwrap();
    assert_eq!(info.state, EncoderState::Works);
    for it in try_encoders() {
        assert_ne!(it.state, EncoderState::Untried, "{}", it.element);
        let software = it.kind == EncoderKind::Software;
        let installed = !matches!(it.state, EncoderState::Missing { .. });
        if software && installed {
            assert_eq!(it.state, EncoderState::Works, "{}", it.element);
        }
    }
}

#[test]
fn an_encoder_that_fails_at_its_trial_is_passed_over() {
    crate::media::init().unwrap();
    for (launch, why) in [
        ("videoconvert ! avenc_h264_omx name=enc", ""),
        (
            "videoconvert ! identity error-after=3 ! vp8enc name=enc",
            "",
        ),
        (
            "videoconvert ! x264enc name=enc bframes=2 b-adapt=false",
            "B-frames",
        ),
        (
            "videoconvert ! there-is-no-such-element name=enc",
            "no element",
        ),
        ("identity drop-probability=1 ! vp8enc name=enc", "0 of 10"),
    ] {
        let written = written(launch);
        let encoders = Encoders::choose(&[Codec::Vp8], &EncoderChoice::Best, &written).unwrap();
        assert_eq!(
            encoders.best(Codec::Vp8).unwrap().name(),
            "vp8enc",
            "{launch}"
        );
        let own = Encoder::Written(Arc::clone(&written[0].1));
        let error = trial::outcome(&own).unwrap_err();
        assert!(error.contains(why), "{launch}: {error}");
    }
}

#[test]
fn when_all_have_failed_each_reason_is_told_and_they_may_try_again() {
    crate::media::init().unwrap();
    let own = written("videoconvert ! vp8enc name=enc");
    let encoders = Encoders::choose(&[Codec::Vp8], &EncoderChoice::Best, &own).unwrap();
    for _ in 0..2 {
        let first = encoders.best(Codec::Vp8).unwrap();
        assert_eq!(first, Encoder::Written(Arc::clone(&own[0].1)));
        encoders.fail(&first);
        let second = encoders.best(Codec::Vp8).unwrap();
        assert_eq!(second.name(), "vp8enc");
        encoders.fail(&second);
        let error = encoders.best(Codec::Vp8).unwrap_err().to_string();
        assert!(
            error.contains("vp8enc: it failed while it was used"),
            "{error}"
        );
        assert!(error.contains("not installed: "), "{error}");
    }
}

#[test]
fn a_user_chooses_by_name_or_kind() {
    crate::media::init().unwrap();
    let codecs = [Codec::Vp8, Codec::H264];
    let choice = |name: &str| name.parse::<EncoderChoice>();
    let open = Encoders::choose(&codecs, &choice("openh264enc").unwrap(), &[]).unwrap();
    assert_eq!(open.codecs(), [Codec::H264, Codec::Vp8]);
    assert_eq!(open.best(Codec::H264).unwrap().name(), "openh264enc");
    let software = Encoders::choose(&codecs, &choice("software").unwrap(), &[]).unwrap();
    assert_eq!(software.codecs(), codecs);
    let unknown = choice("x265enc").unwrap_err().to_string();
    assert!(
        unknown.contains("x264enc") && unknown.contains("vah264enc"),
        "{unknown}"
    );
    let hardware: Vec<_> = encoders()
        .into_iter()
        .filter(|it| {
            it.kind == EncoderKind::Hardware && matches!(it.state, EncoderState::Missing { .. })
        })
        .collect();
    for it in hardware {
        let named = EncoderChoice::Named(it.element);
        let error = Encoders::choose(&[it.codec], &named, &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(it.element) && error.contains("vp8enc"),
            "{error}"
        );
    }
}
