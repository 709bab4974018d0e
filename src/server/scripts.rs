//! Worker scripts that somebody edits in the console. A gecko takes a script by its URL only
//! (gecko.md A2), so the server keeps each for a while, under a name that can't be guessed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use serde::Deserialize;
use serde_json::json;

use super::metrics::Reached;
use super::{App, http};
use crate::config::Limits;
use crate::hub::Payload;

/// RFC 9239 section 6.
const SCRIPT: &str = "text/javascript";

/// The scripts that are kept: at most [`Limits::scripts`], and [`Limits::scripts_bytes`] in all. One
/// more pushes out the oldest.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// The oldest first.
    kept: Mutex<VecDeque<Script>>,
}

#[derive(Debug)]
struct Script {
    name: String,
    text: Payload,
    since: Instant,
}

/// What is asked for with a new script.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    /// Whether it is a module: its name ends in `.mjs` then, which is what geckos go by.
    #[serde(default)]
    module: bool,
}

/// `POST /api/scripts`, and `?module=true` for a module: keeps the script in the body. The answer
/// says where it is, and for how many seconds.
///
/// The content type must be JavaScript's, which pages of other origins can't send without asking.
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    Query(wish): Query<Wish>,
    request: Request,
) -> Response {
    if !is_script(&request) {
        let text = format!("a script must be sent with Content-Type: {SCRIPT}");
        return http::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
    }
    let limits = &app.config.limits;
    let text = match http::text_within(&app, request, limits.script_bytes).await {
        Ok(text) => text,
        Err(refused) => return refused,
    };
    let Some(random) = http::random() else {
        return http::no_randomness();
    };
    let name = name(random, wish.module);
    let path = format!("/api/scripts/{name}");
    app.scripts
        .keep(name, text, Instant::now(), limits, &app.metrics.reached);
    let seconds = limits.script_kept.as_secs_f64();
    let answer = json!({ "url": path, "seconds": seconds }).to_string();
    let mut response = http::json_text(StatusCode::CREATED, answer);
    if let Ok(location) = path.parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// `GET /api/scripts/{name}`
pub(super) async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    let limits = &app.config.limits;
    let Some(text) = app.scripts.find(&name, Instant::now(), limits) else {
        let text = "there is no such script, or not any more: publish it again";
        return http::error(StatusCode::NOT_FOUND, text);
    };
    let headers = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, text.into_bytes()).into_response()
}

impl Scripts {
    fn keep(&self, name: String, text: Payload, now: Instant, limits: &Limits, reached: &Reached) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Script {
            name,
            text,
            since: now,
        });
        kept.retain(|one| !one.is_over(now, limits));
        let mut bytes: usize = kept.iter().map(|one| one.text.len()).sum();
        while let Some(oldest) = kept.front() {
            let reached = if kept.len() > limits.scripts {
                &reached.scripts
            } else if bytes > limits.scripts_bytes {
                &reached.scripts_bytes
            } else {
                break;
            };
            reached.inc();
            bytes -= oldest.text.len();
            kept.pop_front();
        }
    }

    fn find(&self, name: &str, now: Instant, limits: &Limits) -> Option<Payload> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|one| one.name == name)?;
        (!found.is_over(now, limits)).then(|| found.text.clone())
    }
}

impl Script {
    fn is_over(&self, now: Instant, limits: &Limits) -> bool {
        now.duration_since(self.since) >= limits.script_kept
    }
}

fn is_script(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|it| it.to_str().ok());
    let essence = content_type.and_then(|it| it.split(';').next());
    essence.is_some_and(|it| it.trim().eq_ignore_ascii_case(SCRIPT))
}

fn name(random: [u8; 16], is_module: bool) -> String {
    let mut name = String::with_capacity(2 * random.len() + 4);
    for byte in random {
        // Writing to a String can't fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(if is_module { ".mjs" } else { ".js" });
    name
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> Limits {
        Limits {
            scripts: 3,
            scripts_bytes: 10,
            script_kept: Duration::from_secs(5),
            ..Limits::default()
        }
    }

    /// Keeps a script; how many others were pushed out by their number, and by their size.
    fn keep(scripts: &Scripts, name: &str, text: &str, now: Instant) -> (u64, u64) {
        let text = Payload::from(text.to_owned());
        let reached = Reached::default();
        scripts.keep(name.to_owned(), text, now, &limits(), &reached);
        (reached.scripts.get(), reached.scripts_bytes.get())
    }

    fn names(scripts: &Scripts) -> Vec<String> {
        let kept = scripts.kept.lock().unwrap();
        kept.iter().map(|one| one.name.clone()).collect()
    }

    #[test]
    fn one_script_too_many_pushes_out_the_oldest() {
        let (scripts, now) = (Scripts::default(), Instant::now());
        for name in ["a", "b", "c"] {
            assert_eq!(keep(&scripts, name, "1", now), (0, 0));
        }
        assert_eq!(keep(&scripts, "d", "1", now), (1, 0));
        assert_eq!(names(&scripts), ["b", "c", "d"]);
    }

    #[test]
    fn one_byte_too_many_pushes_out_the_oldest() {
        let (scripts, now) = (Scripts::default(), Instant::now());
        keep(&scripts, "a", "12345", now);
        assert_eq!(keep(&scripts, "b", "12345", now), (0, 0));
        assert_eq!(keep(&scripts, "c", "1", now), (0, 1));
        assert_eq!(names(&scripts), ["b", "c"]);
    }

    #[test]
    fn a_script_is_gone_after_its_time() {
        let (scripts, now) = (Scripts::default(), Instant::now());
        keep(&scripts, "a", "one", now);
        let later = now + Duration::from_millis(4_999);
        let found = scripts.find("a", later, &limits());
        assert_eq!(found.unwrap().as_str(), "one");
        let too_late = now + Duration::from_secs(5);
        assert!(scripts.find("a", too_late, &limits()).is_none());
        assert_eq!(keep(&scripts, "b", "two", too_late), (0, 0));
        assert_eq!(names(&scripts), ["b"], "nothing is kept for longer");
    }

    #[test]
    fn names_say_what_kind_a_script_is_and_differ_in_every_bit() {
        assert_eq!(name([0xa0; 16], false), format!("{}.js", "a0".repeat(16)));
        assert_eq!(name([0x0a; 16], true), format!("{}.mjs", "0a".repeat(16)));
    }
}
