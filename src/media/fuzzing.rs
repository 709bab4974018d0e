//! For the targets of `fuzz/`: what sessions are told, marks in pictures and sound that came over a network, and
//! files of pipelines.

pub use super::session::fuzzing::{candidates, descriptions, ice_server};

use std::time::Duration;

use super::code::picture::{self, Luma};
use super::code::sound::Ear;
use super::congestion::{Estimator, Packet};
use super::pipeline::{Origin, PipelineFile};

/// A picture with this brightness, of which rows may be missing.
pub fn picture(data: &[u8], width: u16, height: u16, stride: u16) {
    let luma = Luma {
        data,
        stride: stride.into(),
        width: width.into(),
        height: height.into(),
    };
    let _ = (picture::read(&luma), picture::look(&luma));
}

/// Sound of this rate comes in chunks, each so many milliseconds after the one before began.
///
/// # Panics
/// If more marks are heard than there can be.
pub fn sound(rate: u32, chunks: &[(u16, &[u8])]) {
    let mut ear = Ear::new(rate.clamp(8_000, 192_000));
    let mut due = Duration::ZERO;
    for (after, bytes) in chunks {
        due += Duration::from_millis((*after).into());
        let samples = bytes.chunks_exact(2);
        let samples = samples.map(|it| f32::from(i16::from_le_bytes([it[0], it[1]])) / 32_768.0);
        let heard = ear.listen(due, due, samples);
        assert!(heard.len() <= bytes.len());
    }
}

/// The other side says what has arrived of what was sent: how much later each time, and of a packet, in
/// microseconds, when it was sent and arrived, and its bytes.
///
/// # Panics
/// If what is estimated is no rate that a path has.
pub fn feedback(reports: &[(u16, u32, Option<u32>, u16)]) {
    let mut estimator = Estimator::default();
    let mut now = Duration::ZERO;
    for (after, sent, arrived, bytes) in reports {
        now += Duration::from_millis((*after).into());
        estimator.sending(now);
        let packet = Packet {
            sent: Duration::from_micros((*sent).into()),
            arrived: arrived.map(|it| Duration::from_micros(it.into())),
            bytes: (*bytes).into(),
        };
        estimator.feedback(now, [packet]);
        let estimate = estimator.estimate();
        assert!((200_000..=20_000_000).contains(&estimate), "{estimate}");
        assert!(estimator.target() <= estimate);
    }
}

/// A file of a pipeline, with a value for one of its variables.
///
/// # Panics
/// If it is wrong, and there is nothing to say about that.
pub fn pipeline(text: &str, variable: &str, value: &str) {
    let origin = || Origin::File("fuzz.toml".into());
    let values = [(variable.to_owned(), value.to_owned())];
    for values in [&values[..], &[]] {
        if let Err(error) = PipelineFile::parse("fuzz", origin(), text, values) {
            assert!(!error.to_string().is_empty());
        }
    }
}
