//! What is put into media before they are encoded: touches, a clock that machines can read, and marks.

pub(crate) mod code;

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer_video as gst_video;

use gst_video::prelude::*;

use super::codec::Kind;

/// How long a touch stays visible after the finger was lifted.
const TOUCH_FADE: Duration = Duration::from_millis(400);
/// A touch's radius, in pixels.
const TOUCH_RADIUS: i32 = 14;
/// The side of one bit of the clock, in pixels.
const BLOCK: usize = 16;
/// How many bits the clock has.
const BITS: usize = 24;

/// Which overlays a pipeline file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// A mark where a viewer touches the picture.
    Touch,
    /// The time of capture as black and white blocks; `pipelines/test-clock.toml` describes them.
    Timestamp,
    /// Marks in picture and sound by which the probe judges what arrives; `pipelines/probe.toml`
    /// describes them.
    Code,
}

/// What the painter shares with others.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// Where the picture is touched.
    mark: Mutex<Option<Mark>>,
    /// How many pictures were numbered: a source that starts again goes on counting.
    pictures: Arc<AtomicU32>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    x: i32,
    y: i32,
    lifted: Option<Instant>,
}

impl Touch {
    /// A finger is at this pixel (`down`), or was lifted there.
    pub(super) fn set(&self, x: i32, y: i32, down: bool) {
        let lifted = (!down).then(Instant::now);
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(Mark { x, y, lifted });
    }

    fn get(&self) -> Option<(i32, i32)> {
        let mark = (*self.mark.lock().unwrap_or_else(PoisonError::into_inner))?;
        let visible = mark.lifted.is_none_or(|at| at.elapsed() < TOUCH_FADE);
        visible.then_some((mark.x, mark.y))
    }
}

/// Puts a pipeline file's overlays into all media that reach the pad; `source` is for the marks.
pub(super) fn attach(
    pad: &gst::Pad,
    kind: Kind,
    overlays: &[Overlay],
    source: u8,
    touch: &Arc<Touch>,
) {
    let marks = overlays.contains(&Overlay::Code);
    match kind {
        Kind::Video => {
            paint_on(pad, overlays, touch.clone());
            if marks {
                code::mark_pictures(pad, source, touch.pictures.clone());
            }
        }
        Kind::Audio if marks => code::mark_sound(pad, source),
        Kind::Audio => {}
    }
}

fn paint_on(pad: &gst::Pad, overlays: &[Overlay], touch: Arc<Touch>) {
    if !overlays.iter().any(|it| *it != Overlay::Code) {
        return;
    }
    let overlays = overlays.to_vec();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let mark = if overlays.contains(&Overlay::Touch) {
            touch.get()
        } else {
            None
        };
        let clock = overlays.contains(&Overlay::Timestamp);
        if mark.is_none() && !clock {
            return gst::PadProbeReturn::Ok;
        }
        let video = pad
            .current_caps()
            .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        if let (Some(video), Some(buffer)) = (video, info.buffer_mut())
            && let Ok(mut frame) =
                gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &video)
        {
            if let Some((x, y)) = mark {
                paint_touch(&mut Luma::of(&mut frame), x, y);
                // Colour is left alone: the mark is a white ring with a black rim.
            }
            if clock {
                paint_clock(&mut frame, unix_millis());
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn unix_millis() -> u32 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Only 24 bits are painted.
    u32::try_from(now.as_millis() & 0xff_ffff).unwrap_or_default()
}

/// One plane of a picture.
struct Luma<'a> {
    data: &'a mut [u8],
    stride: usize,
    width: i32,
    height: i32,
}

impl<'a> Luma<'a> {
    fn of(frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Self {
        let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or_default();
        let size = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let (width, height) = (size(frame.width()), size(frame.height()));
        let data = frame.plane_data_mut(0).unwrap_or_default();
        Self {
            data,
            stride,
            width,
            height,
        }
    }

    /// Sets a pixel; outside the picture, nothing.
    fn set(&mut self, x: i32, y: i32, value: u8) {
        if (0..self.width).contains(&x)
            && (0..self.height).contains(&y)
            && let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
            && let Some(pixel) = self.data.get_mut(y * self.stride + x)
        {
            *pixel = value;
        }
    }
}

fn paint_touch(luma: &mut Luma<'_>, x: i32, y: i32) {
    // Far outside is nowhere, and keeps the sums below from overflowing.
    if !(-TOUCH_RADIUS..luma.width.saturating_add(TOUCH_RADIUS)).contains(&x)
        || !(-TOUCH_RADIUS..luma.height.saturating_add(TOUCH_RADIUS)).contains(&y)
    {
        return;
    }
    let outer = TOUCH_RADIUS * TOUCH_RADIUS;
    let inner = (TOUCH_RADIUS - 3) * (TOUCH_RADIUS - 3);
    for dy in -TOUCH_RADIUS..=TOUCH_RADIUS {
        for dx in -TOUCH_RADIUS..=TOUCH_RADIUS {
            let distance = dx * dx + dy * dy;
            if distance <= inner {
                luma.set(x + dx, y + dy, 235);
            } else if distance <= outer {
                luma.set(x + dx, y + dy, 16);
            }
        }
    }
}

fn paint_clock(frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>, millis: u32) {
    let strides = frame.plane_stride().to_vec();
    for plane in 0..3_u32 {
        let stride = strides
            .get(plane as usize)
            .and_then(|&s| usize::try_from(s).ok())
            .unwrap_or_default();
        let Ok(data) = frame.plane_data_mut(plane) else {
            return;
        };
        // Colour planes have half the size, and 128 is grey.
        let block = if plane == 0 { BLOCK } else { BLOCK / 2 };
        for row in data.chunks_mut(stride.max(1)).take(block) {
            for bit in 0..BITS {
                let white = millis >> (BITS - 1 - bit) & 1 == 1;
                let value = match (plane, white) {
                    (0, true) => 235,
                    (0, false) => 16,
                    _ => 128,
                };
                if let Some(pixels) = row.get_mut(bit * block..(bit + 1) * block) {
                    pixels.fill(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(paint: impl Fn(&mut gst_video::VideoFrameRef<&mut gst::BufferRef>)) -> Vec<u8> {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 640, 480)
            .build()
            .unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![0_u8; info.size()]);
        {
            let buffer = buffer.get_mut().unwrap();
            let mut frame =
                gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).unwrap();
            paint(&mut frame);
        }
        let map = buffer.map_readable().unwrap();
        map[..640 * 480].to_vec()
    }

    #[test]
    fn the_clock_can_be_read_back() {
        let luma = picture(|frame| paint_clock(frame, 0xabc_123));
        let read = (0..BITS).fold(0, |sum, bit| {
            sum << 1 | u32::from(luma[640 * 8 + bit * BLOCK + 8] > 128)
        });
        assert_eq!(read, 0xabc_123);
    }

    #[test]
    fn a_touch_is_white_where_it_is_and_nothing_elsewhere() {
        let luma = picture(|frame| paint_touch(&mut Luma::of(frame), 100, 50));
        assert_eq!(luma[640 * 50 + 100], 235);
        assert_eq!(luma[640 * 50 + 200], 0);
    }

    #[test]
    fn touches_outside_the_picture_do_no_harm() {
        for (x, y) in [
            (-5, -5),
            (i32::MIN, i32::MAX),
            (639, 479),
            (640 + 13, 0),
            (i32::MAX, i32::MAX),
        ] {
            picture(|frame| paint_touch(&mut Luma::of(frame), x, y));
        }
    }

    #[test]
    fn a_lifted_finger_fades() {
        let touch = Touch::default();
        touch.set(1, 2, true);
        assert_eq!(touch.get(), Some((1, 2)));
        *touch.mark.lock().unwrap() = Some(Mark {
            x: 1,
            y: 2,
            lifted: Instant::now().checked_sub(TOUCH_FADE),
        });
        assert_eq!(touch.get(), None);
    }
}
