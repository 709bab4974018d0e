//! The console, embedded in the binary.

use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use super::http;

/// Where Cuttlefish's pages look for their way to the server.
pub(super) const CONNECTOR_PATH: &str = "/js/server_connector.js";

/// The console loads only what is its own, and talks only to its server. No page of another server may
/// show it in a frame and lead clicks to it.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; object-src 'none'; \
    frame-ancestors 'self'";
/// The console's address may have a token in it, which is nobody else's.
const REFERRER: &str = "same-origin";

const HTML: &str = "text/html; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! files {
    ($($path:literal => $content_type:expr,)+) => {
        /// Every file of the console: path, content type, content.
        const FILES: &[(&str, &str, &str)] = &[
            $( (concat!("/", $path), $content_type, include_str!(concat!("../../console/", $path))), )+
        ];
    };
}

files! {
    "favicon.svg" => IMAGE,
    "index.html" => HTML,
    "js/access.js" => SCRIPT,
    "js/admin.js" => SCRIPT,
    "js/app.js" => SCRIPT,
    "js/call.js" => SCRIPT,
    "js/camera.js" => SCRIPT,
    "js/chat.js" => SCRIPT,
    "js/devices.js" => SCRIPT,
    "js/diagnosis.js" => SCRIPT,
    "js/dom.js" => SCRIPT,
    "js/flow.js" => SCRIPT,
    "js/format.js" => SCRIPT,
    "js/frame.js" => SCRIPT,
    "js/gecko.js" => SCRIPT,
    "js/geckos.js" => SCRIPT,
    "js/ice.js" => SCRIPT,
    "js/input.js" => SCRIPT,
    "js/kurento.js" => SCRIPT,
    "js/link.js" => SCRIPT,
    "js/mesh.js" => SCRIPT,
    "js/operations.js" => SCRIPT,
    "js/operations_rows.js" => SCRIPT,
    "js/operations_tables.js" => SCRIPT,
    "js/overview.js" => SCRIPT,
    "js/people.js" => SCRIPT,
    "js/player.js" => SCRIPT,
    "js/plot.js" => SCRIPT,
    "js/registration.js" => SCRIPT,
    "js/room.js" => SCRIPT,
    "js/rows.js" => SCRIPT,
    "js/screen.js" => SCRIPT,
    "js/server_connector.js" => SCRIPT,
    "js/signaling.js" => SCRIPT,
    "js/sound.js" => SCRIPT,
    "js/stage.js" => SCRIPT,
    "js/stats.js" => SCRIPT,
    "js/table.js" => SCRIPT,
    "js/tile.js" => SCRIPT,
    "js/worker.js" => SCRIPT,
    "style.css" => STYLE,
    "workers/clock.js" => SCRIPT,
    "workers/echo.js" => SCRIPT,
    "workers/primes.mjs" => SCRIPT,
    "workers/sieve.mjs" => SCRIPT,
}

/// `GET /console`
pub(super) async fn redirect() -> Redirect {
    Redirect::temporary("/console/")
}

/// `GET /console/`
pub(super) async fn index() -> Response {
    respond("/")
}

/// `GET /console/{path}`
pub(super) async fn file(Path(path): Path<String>) -> Response {
    respond(&format!("/{path}"))
}

/// A file of the console.
pub(super) fn find(path: &str) -> Option<Response> {
    let path = if path == "/" { "/index.html" } else { path };
    let &(_, content_type, content) = FILES.iter().find(|file| file.0 == path)?;
    let headers = [
        (CONTENT_TYPE, content_type),
        // The next version of the server brings other files under the same names.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, REFERRER),
    ];
    Some((headers, content).into_response())
}

/// A file of the console, or 404.
pub(super) fn respond(path: &str) -> Response {
    find(path).unwrap_or_else(|| http::not_found(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files_below(directory: &Path, into: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path, into);
            } else {
                into.insert(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_console_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut found = BTreeSet::new();
        files_below(&root, &mut found);
        let embedded: BTreeSet<_> = FILES.iter().map(|file| root.join(&file.0[1..])).collect();
        assert_eq!(found, embedded);
        assert!(embedded.contains(&root.join(&CONNECTOR_PATH[1..])));
    }
}
