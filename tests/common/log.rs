//! What a process logs, and what it must not.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file, and none uses all of it"
)]
#![allow(clippy::unwrap_used, reason = "a helper's failure is the test's")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::process::{ChildStderr, Command};

/// How long the end of a process's log may take after its end. Its children may have it, too.
const REST: Duration = Duration::from_secs(2);
/// Nothing that a process logs above `trace` has any of these: SDP, credentials of ICE and TURN,
/// tokens in URLs and headers, signed tokens.
const NEVER: [&str; 12] = [
    "ufrag",
    "ice-pwd",
    "pwd:",
    "pwd=",
    "pwd\":",
    "a=ice-",
    "a=fingerprint",
    "udp/tls/rtp",
    "password=",
    "credential\":",
    "token=",
    "bearer.",
];
/// What messages say to write there.
const PLACEHOLDERS: [&str; 2] = ["USER:PASSWORD@HOST", "token=TOKEN"];
/// How signed tokens begin: `{"` in Base64.
const SIGNED: &str = "eyJ";
/// Shorter ones are words that may well be in a log.
const SHORTEST: usize = 8;
/// The keys under which secrets stand in configuration files.
const KEYS: [&str; 4] = ["credential", "password", "secret", "token"];

/// The log of a process that a test has started: its standard error, read to the end.
pub struct Log {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    /// What this process knows and must not tell.
    secrets: Vec<String>,
}

/// Has a command log everything but traces, unless it says itself what to log.
pub fn verbose(command: &mut Command) {
    let name = OsStr::new("SWITCHBOARD_LOG");
    if command.as_std().get_envs().all(|(key, _)| key != name) {
        command.env(name, "debug");
    }
}

/// What a command is told that nobody else must know: by its arguments, and by the files that it
/// reads.
pub fn secrets_of(command: &Command) -> Vec<String> {
    let words: Vec<_> = command.as_std().get_args().collect();
    let mut words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    words.extend(
        words
            .clone()
            .iter()
            .filter_map(|word| word.split_once('='))
            .flat_map(|(key, value)| [key, value]),
    );
    let mut secrets = Vec::new();
    for pair in words.windows(2) {
        match pair[0] {
            "--token" => secrets.push(pair[1].to_owned()),
            "--config" => secrets_in(pair[1], &mut secrets),
            _ => {}
        }
    }
    secrets.retain(|secret| secret.len() >= SHORTEST);
    secrets
}

/// The line of a log that tells a secret, if one does.
pub fn leak<'a>(log: &'a str, secrets: &[String]) -> Option<&'a str> {
    let mut is_trace = false;
    log.lines().find(|line| {
        // What follows a line without a time of its own belongs to it.
        if let Some(level) = level(line) {
            is_trace = level == "TRACE";
        }
        !is_trace && tells(line, secrets)
    })
}

impl Log {
    /// Reads the log of a process that knows these secrets.
    pub fn read(stderr: ChildStderr, secrets: Vec<String>) -> Self {
        let pipe = std::fs::File::from(stderr.into_owned_fd().unwrap());
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        // A thread reads on while the test's own runtime is busy, or ends.
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                *kept.lock().unwrap() += &String::from_utf8_lossy(&line);
                line.clear();
            }
        });
        Self {
            text,
            reader,
            secrets,
        }
    }

    /// What was logged until now.
    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// The process has ended: panics if it has told a secret.
    pub fn check(&self) {
        let deadline = Instant::now() + REST;
        while !self.reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let text = self.text.lock().unwrap();
        if let Some(line) = leak(&text, &self.secrets) {
            panic!("a secret is logged above trace: {line}");
        }
    }
}

fn tells(line: &str, secrets: &[String]) -> bool {
    let line = PLACEHOLDERS
        .iter()
        .fold(line.to_owned(), |line, it| line.replace(it, ""));
    let line = line.as_str();
    let lower = line.to_ascii_lowercase();
    NEVER.iter().any(|never| lower.contains(never))
        || line.split(SIGNED).skip(1).any(|rest| {
            let is_base64 = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
            rest.bytes().take_while(is_base64).count() >= SHORTEST
        })
        || has_password(line)
        || secrets.iter().any(|secret| line.contains(secret.as_str()))
}

/// Whether a line has a URL with a password, as TURN's.
fn has_password(line: &str) -> bool {
    let urls = line.split("://").skip(1);
    let turns = line.split("turn:").chain(line.split("turns:")).skip(1);
    urls.chain(turns).any(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "/\"'?>,;".contains(c));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let user = authority.split_once('@').map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':'))
    })
}

/// The level of a line, as text or JSON; `None` if it begins none.
fn level(line: &str) -> Option<&str> {
    if let Some((_, rest)) = line.split_once("\"level\":\"") {
        return rest.split('"').next();
    }
    let (time, rest) = line.split_once(char::is_whitespace)?;
    let is_time = time.len() > 20 && time.ends_with('Z') && time.as_bytes()[0].is_ascii_digit();
    is_time.then(|| rest.split_whitespace().next()).flatten()
}

fn secrets_in(file: &str, secrets: &mut Vec<String>) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    if let Ok(table) = text.parse::<toml::Table>() {
        secrets_under("", &toml::Value::Table(table), secrets);
    }
}

fn secrets_under(key: &str, value: &toml::Value, secrets: &mut Vec<String>) {
    match value {
        toml::Value::String(text) if KEYS.contains(&key) => secrets.push(text.clone()),
        // Tokens have a file of their own.
        toml::Value::String(text) if key == "file" => secrets_in(text, secrets),
        toml::Value::Array(all) => all.iter().for_each(|one| secrets_under(key, one, secrets)),
        toml::Value::Table(table) => {
            for (key, value) in table {
                secrets_under(key, value, secrets);
            }
        }
        _ => {}
    }
}
