//! Who brings a worker what it may not fetch itself.

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Brings scripts, and the answers to `fetch`, from outside. It decides what a worker may see.
///
/// The worker bounds the size and time of each load, and how many there are at once, but a loader
/// should not take more than it is allowed to bring either: see [`super::Limits`].
pub trait Loader: Send + Sync {
    /// Brings what was asked for. Dropped when it takes too long or the worker ends.
    fn load(&self, request: Request) -> BoxFuture<'_, Result<Response, LoadError>>;
}

/// What a script wants.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Request {
    /// What for.
    pub purpose: Purpose,
    /// An absolute URL of any scheme.
    pub url: String,
    /// The HTTP method, as the script wrote it; `GET` for scripts.
    pub method: String,
    /// The headers that the script wants to send. Don't trust them.
    pub headers: Vec<(String, String)>,
    /// The body that the script wants to send.
    #[serde(skip)]
    pub body: Option<Bytes>,
}

/// What a load is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Purpose {
    /// `importScripts`, which waits for it.
    ImportScripts,
    /// A static or dynamic `import`, which waits for it.
    Module,
    /// `fetch`.
    Fetch,
}

/// What was brought. For scripts, any status but 2xx counts as a failure.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Response {
    /// Where it came from, after redirects.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The headers that the script may see.
    pub headers: Vec<(String, String)>,
    /// The content.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why nothing was brought. The script sees the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);
