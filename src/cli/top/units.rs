//! Numbers and names as a terminal shows them.

use unicode_width::UnicodeWidthChar as _;

/// How many columns of a terminal a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|it| it.width().unwrap_or(0)).sum()
}

/// The beginning of a text that has this many columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |it: &char| {
        let wide = it.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(if fits { wide } else { left });
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Without what would steer a terminal, or turn its text around: names come from the network.
pub(super) fn clean(text: &str) -> String {
    let steers = |it: char| {
        it.is_control()
            || matches!(it, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(steers, "\u{fffd}")
}

pub(super) fn whole(number: f64) -> String {
    format!("{number:.0}")
}

pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{:.0} s", s.floor()),
        s if s < 3_600.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 86_400.0 => format!("{:.0} h", (s / 3_600.0).floor()),
        s => format!("{:.0} d", (s / 86_400.0).floor()),
    }
}

pub(super) fn bytes(number: f64) -> String {
    scaled(number, &["B", "kB", "MB", "GB", "TB"])
}

pub(super) fn bitrate(bits_per_second: f64) -> String {
    scaled(bits_per_second, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

pub(super) fn scaled(number: f64, units: &[&str]) -> String {
    let mut left = number;
    let mut at = 0;
    while left >= 999.5 && at + 1 < units.len() {
        left /= 1000.0;
        at += 1;
    }
    let decimals = usize::from(at > 0 && left < 9.95);
    format!("{left:.decimals$} {}", units.get(at).unwrap_or(&""))
}

pub(super) fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    let decimals = usize::from(hundredths > 0.0 && hundredths < 9.95);
    format!("{hundredths:.decimals$} %")
}

pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}
