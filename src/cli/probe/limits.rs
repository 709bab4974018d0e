//! Flags for what is good enough.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::probe::judge::Thresholds;

/// What is good enough; durations as 300ms or 1.5s.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Thresholds")]
pub(super) struct Limits {
    /// Read thresholds from this file (TOML); flags go before it
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// The longest time to a connection [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_connect: Option<f64>,
    /// The longest time to the first picture [default: 6s]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_first_frame: Option<f64>,
    /// The fewest new pictures per second [default: 5]
    #[arg(long, value_name = "N", value_parser = number)]
    min_fps: Option<f64>,
    /// The longest freeze of the picture [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_freeze: Option<f64>,
    /// The longest time with the very same picture, where pictures aren't coded [default: any]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_still: Option<f64>,
    /// The most lost pictures, of 100 [default: 2]
    #[arg(long, value_name = "PERCENT", value_parser = number)]
    max_lost: Option<f64>,
    /// The greatest median of the latency [default: any]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_latency_p50: Option<f64>,
    /// The greatest latency of 95 of 100 pictures [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_latency_p95: Option<f64>,
    /// The greatest latency of 99 of 100 pictures [default: any]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_latency_p99: Option<f64>,
    /// The most that the latency may grow over a minute or more [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_latency_growth: Option<f64>,
    /// The longest gap in the sound [default: 250ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_audio_gap: Option<f64>,
    /// The most missing sound, of 100 [default: 2]
    #[arg(long, value_name = "PERCENT", value_parser = number)]
    max_silence: Option<f64>,
    /// The most that sound and picture are apart [default: 150ms]
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_av_offset: Option<f64>,
    /// The most lost packets, of 100 [default: any]
    #[arg(long, value_name = "PERCENT", value_parser = number)]
    max_packet_loss: Option<f64>,
    /// The fewest bits of video per second [default: any]
    #[arg(long, value_name = "BITS", value_parser = number)]
    min_bitrate: Option<f64>,
}

impl Limits {
    /// What is good enough: the flags, before the file, before these.
    pub(super) fn thresholds(&self, defaults: Thresholds) -> anyhow::Result<Thresholds> {
        let mut all = match &self.thresholds {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let read = toml::from_str::<Thresholds>(&text);
                read.with_context(|| path.display().to_string())?
            }
            None => defaults,
        };
        for (flag, field) in [
            (self.max_connect, &mut all.connect_ms),
            (self.max_first_frame, &mut all.first_frame_ms),
            (self.min_fps, &mut all.min_frame_rate),
            (self.max_freeze, &mut all.freeze_ms),
            (self.max_still, &mut all.still_ms),
            (self.max_lost, &mut all.lost_percent),
            (self.max_latency_p50, &mut all.latency_p50_ms),
            (self.max_latency_p95, &mut all.latency_p95_ms),
            (self.max_latency_p99, &mut all.latency_p99_ms),
            (self.max_latency_growth, &mut all.latency_growth_ms),
            (self.max_audio_gap, &mut all.audio_gap_ms),
            (self.max_silence, &mut all.silent_percent),
            (self.max_av_offset, &mut all.av_offset_ms),
            (self.max_packet_loss, &mut all.packet_loss_percent),
            (self.min_bitrate, &mut all.min_bitrate),
        ] {
            *field = flag.unwrap_or(*field);
        }
        Ok(all)
    }

    /// Whether any is given.
    pub(super) fn is_any(&self) -> bool {
        let flags = [
            self.max_connect,
            self.max_first_frame,
            self.min_fps,
            self.max_freeze,
            self.max_still,
            self.max_lost,
            self.max_latency_p50,
            self.max_latency_p95,
            self.max_latency_p99,
            self.max_latency_growth,
            self.max_audio_gap,
            self.max_silence,
            self.max_av_offset,
            self.max_packet_loss,
            self.min_bitrate,
        ];
        self.thresholds.is_some() || flags.iter().any(Option::is_some)
    }
}

/// `300ms` and `1.5s`, in milliseconds.
fn milliseconds(text: &str) -> Result<f64, String> {
    let wrong = || "write a time as 300ms or 1.5s".to_owned();
    let (figure, unit) = match text.strip_suffix("ms") {
        Some(figure) => (figure, 1.0),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000.0),
    };
    number(figure)
        .map(|figure| figure * unit)
        .map_err(|_| wrong())
}

fn number(text: &str) -> Result<f64, String> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| "write a number, 0 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(milliseconds("300ms"), Ok(300.0));
        assert_eq!(milliseconds("1.5s"), Ok(1500.0));
        for wrong in ["300", "ms", "-1s", "1 h", "infs"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_go_before_the_file_and_that_before_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("limits.toml");
        std::fs::write(&path, "freeze_ms = 700\nlatency_p95_ms = 250\n").unwrap();
        let limits = Limits {
            thresholds: Some(path),
            max_latency_p95: Some(400.0),
            ..Limits::default()
        };
        let expected = Thresholds {
            freeze_ms: 700.0,
            latency_p95_ms: 400.0,
            ..Thresholds::default()
        };
        assert_eq!(limits.thresholds(Thresholds::default()).unwrap(), expected);
        assert!(limits.is_any() && !Limits::default().is_any());
    }
}
