//! Logs: to standard error, as text or JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The media engine warns of each packet that it can't read, and any participant can send such packets:
/// unless someone asks for all of it, it tells errors only.
const QUIET: &str = "str0m=error,is=error,sctp_proto=error";

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// What to log: a level, or levels by module as in `info,switchboard::server=debug`
    /// [default: info; warn for the probe]
    #[arg(long, global = true, value_name = "FILTER", env = "SWITCHBOARD_LOG", value_parser = filter)]
    log: Option<String>,
    /// How to log
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "SWITCHBOARD_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Flags {
    /// Begins to log; what is in `default` if nothing was asked for.
    pub(super) fn init(&self, default: &str) {
        let asked = self.log.clone();
        let filter = asked.unwrap_or_else(|| format!("{default},{QUIET}"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_writer(|| Lines(io::stderr()));
        match self.log_format {
            Format::Text => builder.init(),
            Format::Json => builder.json().init(),
        }
    }
}

/// Keeps each event on a line of its own: it may tell what a stranger said, which else could look like
/// other events. The subscriber writes each at once, and makes other control characters harmless.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&in_one_line(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn in_one_line(event: &[u8]) -> Cow<'_, [u8]> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let (text, end) = match event.split_last() {
        Some((b'\n', text)) => (text, &b"\n"[..]),
        _ => (event, &b""[..]),
    };
    if !text.iter().any(is_break) {
        return Cow::Borrowed(event);
    }
    let mut line = Vec::with_capacity(event.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.extend(end);
    Cow::Owned(line)
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; write a level (error, warn, info, debug, trace) or MODULE=LEVEL,…"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_tells() {
        let lines = |event: &[u8]| {
            let mut lines = Lines(Vec::new());
            lines.write_all(event).unwrap();
            String::from_utf8(lines.0).unwrap()
        };
        assert_eq!(lines(b"INFO all is well\n"), "INFO all is well\n");
        assert_eq!(
            lines(b"WARN uncaught error=x\r\nERROR not ours\n"),
            "WARN uncaught error=x\\r\\nERROR not ours\n"
        );
        assert_eq!(lines(b"no end"), "no end");
    }
}
