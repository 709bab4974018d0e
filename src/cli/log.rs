//! Logs: to standard error, as text or JSON.

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
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_writer(std::io::stderr);
        match self.log_format {
            Format::Text => builder.init(),
            Format::Json => builder.json().init(),
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; write a level (error, warn, info, debug, trace) or MODULE=LEVEL,…"
        )),
    }
}
