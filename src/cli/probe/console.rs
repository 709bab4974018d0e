//! What a person sees: bars on a terminal, plain lines elsewhere, and the verdict.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::probe::judge::{Percentiles, Report};
use crate::probe::outcome::{Minute, Outcome, Summary};
use crate::probe::plan::Plan;
use crate::probe::{News, Tick};

/// How often a plain line is printed.
const PLAIN: Duration = Duration::from_secs(10);

/// Where progress is told. Everything but the verdict goes to standard error.
pub(super) struct Console {
    /// Whether standard output is for something else.
    quiet: bool,
    bar: Option<ProgressBar>,
    plain: Mutex<Duration>,
}

impl Console {
    pub(super) fn new(quiet: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(4));
            let style =
                ProgressStyle::with_template("{prefix:.bold} {bar:24} {pos:>4}/{len} s  {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            quiet,
            bar,
            plain: Mutex::new(Duration::ZERO),
        }
    }

    pub(super) fn begin(&self, plan: &Plan) {
        *self.plain() = Duration::ZERO;
        self.line(&format!(
            "{}: {} at {}",
            plan.title(),
            plan.description(),
            plan.way.url
        ));
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(plan.length.as_secs().max(1));
            bar.set_prefix(plan.title());
            bar.set_message("preparing");
        }
    }

    pub(super) fn news(&self, news: News) {
        match (news, &self.bar) {
            (News::Step(step), Some(bar)) => bar.set_message(step),
            (News::Step(step), None) => self.line(&format!("  {step}")),
            (News::Tick(tick), Some(bar)) => {
                bar.set_position(tick.elapsed.as_secs());
                bar.set_message(figures(&tick));
            }
            (News::Tick(tick), None) => {
                let mut last = self.plain();
                let is_due = tick.elapsed >= *last + PLAIN;
                if is_due {
                    *last = tick.elapsed;
                }
                drop(last);
                if is_due {
                    let seconds = tick.elapsed.as_secs();
                    self.line(&format!("  {seconds} s: {}", figures(&tick)));
                }
            }
            (News::Minute(minute), _) => self.line(&of_minute(&minute)),
        }
    }

    /// A scenario is over.
    pub(super) fn end(&self, outcome: &Outcome) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let verdict = if outcome.passed { "passed" } else { "FAILED" };
        self.line(&format!("  {verdict}"));
    }

    /// Everything is over.
    pub(super) fn verdict(&self, summary: &Summary) {
        let mut text = String::new();
        for outcome in &summary.outcomes {
            tell(&mut text, outcome);
        }
        let failed = summary.outcomes.iter().filter(|it| !it.passed).count();
        let _ = match failed {
            0 => write!(text, "PASSED"),
            _ => write!(text, "FAILED: {failed} of {}", summary.outcomes.len()),
        };
        match self.quiet {
            true => self.line(&text),
            false => super::say(text),
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(line)),
            None => print(line),
        }
    }

    fn plain(&self) -> MutexGuard<'_, Duration> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print(line: &str) {
    // Nothing is left to do when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn figures(tick: &Tick) -> String {
    let latency = tick
        .latency_ms
        .map_or("– ms".to_owned(), |ms| format!("{ms:.0} ms"));
    format!(
        "{} connections, {:.0} pictures/s, latency {latency}, {:.2} Mbit/s, {} lost",
        tick.connected,
        tick.frame_rate,
        tick.bitrate / 1e6,
        tick.lost
    )
}

fn of_minute(minute: &Minute) -> String {
    let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), |ms| format!("{ms:.0}"));
    format!(
        "  minute {}: {} connections, {:.1} pictures/s, latency p50 {} ms, p95 {} ms, longest freeze {:.0} ms, {} lost, {:.2} Mbit/s",
        minute.minute,
        minute.connected,
        minute.frame_rate,
        ms(minute.latency_p50_ms),
        ms(minute.latency_p95_ms),
        minute.longest_freeze_ms,
        minute.lost,
        minute.bitrate / 1e6
    )
}

/// An outcome in words.
fn tell(text: &mut String, outcome: &Outcome) {
    let verdict = if outcome.passed { "passed" } else { "FAILED" };
    let (name, what) = (&outcome.name, &outcome.description);
    let _ = writeln!(text, "{name}: {verdict} ({what}, at {})", outcome.server);
    for report in &outcome.connections {
        of_connection(text, report);
    }
    if let Some(echo) = &outcome.echo {
        let times = of_times(echo.round_trip.as_ref());
        let _ = writeln!(
            text,
            "  echo: {} of {} came back, {times}",
            echo.returned, echo.sent
        );
    }
    if let Some(churn) = &outcome.churn {
        let (joins, seen) = (churn.joins, churn.seen);
        let slowest = churn.first_frame_ms.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "  churn: {joins} came and left, {seen} saw a picture, the slowest after {slowest:.0} ms"
        );
    }
    if let Some(ramp) = &outcome.ramp {
        let more = if ramp.all {
            ", and it may hold more"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "  ramp: {} receiving ends were served well{more}",
            ramp.held
        );
        if !ramp.limit.is_empty() {
            let _ = writeln!(text, "    then: {}", ramp.limit);
        }
        let busy = ramp.levels.iter().filter_map(|it| it.machine_percent);
        if busy.reduce(f64::max).is_some_and(|percent| percent > 90.0) {
            let _ = writeln!(
                text,
                "    this machine's processors were busy: the limit may be its own"
            );
        }
    }
    for it in outcome.resources.growth.iter().filter(|it| it.flat) {
        let (what, before, after) = (it.what, it.before, it.after);
        let _ = writeln!(
            text,
            "  {what} stayed flat: {before:.0}, then {after:.0} {}",
            it.unit
        );
    }
    for failure in &outcome.failures {
        let _ = writeln!(text, "  ✗ {failure}\n    → {}", failure.advice);
    }
}

fn of_connection(text: &mut String, report: &Report) {
    let ms = |time: Option<f64>| time.map_or("–".to_owned(), |ms| format!("{ms:.0}"));
    let phases = &report.phases;
    let path = &report.connection;
    let _ = writeln!(
        text,
        "  {}: signaled {} ms, checked {} ms, connected {} ms, first packet {} ms, first frame {} ms; {} – {}",
        report.name,
        ms(phases.signaled_ms),
        ms(phases.checked_ms),
        ms(phases.connected_ms),
        ms(phases.first_packet_ms),
        ms(phases.first_frame_ms),
        path.local_candidate,
        path.remote_candidate
    );
    for stream in &report.streams {
        let traffic = stream.traffic.clone().unwrap_or_default();
        let codec = traffic.codec.as_deref().unwrap_or("?");
        let mbits = traffic.bitrate / 1e6;
        let lost = traffic.lost;
        if let Some(video) = &stream.video {
            let frames = &video.frames;
            let latency = of_times(video.latency.as_ref());
            let _ = writeln!(
                text,
                "    {codec}: {} pictures ({} lost, {} repeated, {} out of order, {} corrupt), {:.1}/s, longest freeze {:.0} ms, latency {latency}, {mbits:.2} Mbit/s, {lost} packets lost",
                frames.received,
                frames.lost,
                frames.repeated,
                frames.out_of_order,
                frames.corrupt,
                video.frame_rate,
                video.longest_freeze_ms,
            );
        }
        if let Some(audio) = &stream.audio {
            let offset = audio.video_offset.map_or(String::new(), |it| {
                format!(", {:.0} ms after the picture", it.p50_ms)
            });
            let latency = of_times(audio.latency.as_ref());
            let _ = writeln!(
                text,
                "    {codec}: {:.1} s of sound, {} gaps (longest {:.0} ms), latency {latency}{offset}, {lost} packets lost",
                audio.heard_ms / 1000.0,
                audio.gaps,
                audio.longest_gap_ms,
            );
        }
    }
}

fn of_times(times: Option<&Percentiles>) -> String {
    times.map_or("unknown".to_owned(), |it| {
        format!(
            "p50 {:.0}, p95 {:.0}, p99 {:.0} ms",
            it.p50_ms, it.p95_ms, it.p99_ms
        )
    })
}
