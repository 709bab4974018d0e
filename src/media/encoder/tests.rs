use gstreamer_app as gst_app;

use super::*;
use crate::media::guard::Guard;

/// Bytes of the second half of 100 moving frames, which were encoded at this rate.
fn bytes(encoder: Encoder, first: u32, later: u32) -> usize {
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
    let all = all.filter(|it| it.kind() == EncoderKind::Software && it.0.codec != Codec::Opus);
    let mut count = 0;
    for encoder in all {
        let (low, high) = (
            bytes(encoder, 2_000_000, 200_000),
            bytes(encoder, 200_000, 2_000_000),
        );
        println!("{} {low} {high}", encoder.element());
        assert!(high > low * 3 / 2, "{}: {low}, {high}", encoder.element());
        count += 1;
    }
    assert!(count >= 3, "VP8, VP9 and H264 are installed");
}
