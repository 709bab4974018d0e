//! What a gecko loads for its workers, over HTTP: scripts, their imports, and what they `fetch`.
//!
//! A stranger chose the URL, so: only origins that the operator allows; no address inside this
//! machine or its networks, judged after the name's look-up and connected to as it was judged; every
//! redirect is judged like the first URL; and so many bytes in so much time.

mod addresses;

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use hyper::{Method, StatusCode, Uri};
use tokio::time::timeout;
use url::{Host, Url};

use super::{LoadError, Loader, Purpose, Request, Response, Script, ScriptKind};
use crate::web::{Answer, Ask, Web};

/// Redirects that are followed for one load.
const REDIRECTS: usize = 5;
/// What a script may ask for with `fetch`. `CONNECT` and `TRACE` are forbidden there, too.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Headers that a script can't set: those of the connection, and cookies, which nobody keeps.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// What no script is sent as, whatever it holds: an error page, most likely.
const NO_SCRIPT: &[&str] = &[
    "text/html",
    "application/xhtml+xml",
    "image/",
    "audio/",
    "video/",
];

/// Where workers may load from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Every origin.
    pub any: bool,
    /// These.
    pub listed: Vec<Origin>,
    /// Even inside this machine and its networks.
    pub private: bool,
}

/// A scheme, a host and a port. One whose host is written as an address, or `localhost`, may be
/// inside this machine and its networks: who allowed it knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    origin: url::Origin,
    /// Whether no name server has a say in where this is.
    is_fixed: bool,
}

/// A text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no origin; write http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct NoOrigin(String);

/// How much one load may bring, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the answer.
    pub bytes: usize,
    /// From the first look-up to the last byte, with all redirects.
    pub time: Duration,
}

/// Loads over HTTP.
pub struct Fetcher {
    web: Web,
    origins: Origins,
    limits: FetchLimits,
}

impl Fetcher {
    /// A loader that trusts whom `tls` trusts.
    #[must_use]
    pub fn new(tls: rustls::ClientConfig, origins: Origins, limits: FetchLimits) -> Self {
        Self {
            web: Web::new(tls, limits.bytes),
            origins,
            limits,
        }
    }

    /// Loads a worker's main script. One whose name ends in `.mjs`, or whose URL ends in `#module`,
    /// is a module.
    ///
    /// # Errors
    /// With the reason, for whoever named the URL.
    pub async fn script(&self, url: &str) -> Result<Script, LoadError> {
        let request = Request {
            purpose: Purpose::Module,
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
        };
        let response = self.load_in_time(request).await?;
        if !(200..300).contains(&response.status) {
            let status = response.status;
            return fail(format!("the server answered with the status {status}"));
        }
        let text = String::from_utf8(response.body.to_vec());
        let text = text.map_err(|_| LoadError("it is not UTF-8".to_owned()))?;
        let is_module = |url: &Url| {
            url.fragment() == Some("module") || url.path().to_ascii_lowercase().ends_with(".mjs")
        };
        let named = [url, &response.url].map(Url::parse);
        let is_module = named.iter().flatten().any(is_module);
        Ok(Script {
            url: response.url,
            text: text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(),
            kind: if is_module {
                ScriptKind::Module
            } else {
                ScriptKind::Classic
            },
        })
    }

    async fn load_in_time(&self, request: Request) -> Result<Response, LoadError> {
        match timeout(self.limits.time, self.follow(request)).await {
            Ok(loaded) => loaded,
            Err(_) => {
                let seconds = self.limits.time.as_secs_f32();
                fail(format!("it was not loaded within {seconds} s"))
            }
        }
    }

    /// Asks, and follows redirects (Fetch, "HTTP-redirect fetch").
    async fn follow(&self, request: Request) -> Result<Response, LoadError> {
        let mut url = parse(&request.url)?;
        let mut method = method(&request.method)?;
        let mut headers = sendable(&request.headers)?;
        let mut body = request.body.unwrap_or_default();
        for _ in 0..=REDIRECTS {
            let answer = self
                .ask(&url, method.clone(), headers.clone(), body.clone())
                .await?;
            let Some(next) = redirect(&url, &answer)? else {
                return respond(url, answer, request.purpose);
            };
            if answer.status == StatusCode::SEE_OTHER
                || (method == Method::POST && matches!(answer.status.as_u16(), 301 | 302))
            {
                (method, body) = (Method::GET, Bytes::new());
                headers.remove(CONTENT_TYPE);
            }
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        fail(format!("it redirects more than {REDIRECTS} times"))
    }

    /// Asks the server of one URL, if it may be asked.
    async fn ask(
        &self,
        url: &Url,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, LoadError> {
        let may_be_private = self.origins.allow(url)?;
        let mut plain = url.clone();
        plain.set_fragment(None);
        let uri = Uri::try_from(plain.as_str()).map_err(|error| LoadError(error.to_string()))?;
        let ask = Ask {
            method,
            url: &uri,
            headers,
            body,
        };
        let allows = |address: SocketAddr| {
            let ip = address.ip();
            if may_be_private || addresses::is_public(ip) {
                Ok(())
            } else {
                Err(format!(
                    "its address {ip} is inside this gecko's machine or network, where it loads nothing from (--allow-private)"
                ))
            }
        };
        let answer = self.web.send(ask, allows).await;
        answer.map_err(|error| LoadError(error.to_string()))
    }
}

impl Loader for Fetcher {
    fn load(&self, request: Request) -> BoxFuture<'_, Result<Response, LoadError>> {
        Box::pin(self.load_in_time(request))
    }
}

impl Origins {
    /// Whether a URL may be loaded at all, and if so, whether from a private address.
    pub(super) fn allow(&self, url: &Url) -> Result<bool, LoadError> {
        let origin = url.origin();
        let listed = self.listed.iter().find(|listed| listed.origin == origin);
        match listed {
            Some(listed) => Ok(self.private || listed.is_fixed),
            None if self.any => Ok(self.private),
            None => {
                let origin = origin.ascii_serialization();
                fail(format!(
                    "this gecko does not load from {origin} (--allow-origin)"
                ))
            }
        }
    }
}

impl Origin {
    /// This origin, wherever its name leads: for a server that one is connected to anyway.
    #[must_use]
    pub fn trusted(mut self) -> Self {
        self.is_fixed = true;
        self
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let wrong = || NoOrigin(text.to_owned());
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        Ok(Self {
            origin: url.origin(),
            is_fixed: match url.host() {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
                None => return Err(wrong()),
            },
        })
    }
}

pub(super) fn parse(url: &str) -> Result<Url, LoadError> {
    let url = Url::parse(url).map_err(|error| LoadError(format!("it is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => fail(format!(
            "{scheme}: is not loaded; only http: and https: are"
        )),
    }
}

pub(super) fn method(name: &str) -> Result<Method, LoadError> {
    let name = name.to_ascii_uppercase();
    if !METHODS.contains(&name.as_str()) {
        return fail(format!("the method {name:?} is not for scripts"));
    }
    Method::from_str(&name).map_err(|error| LoadError(error.to_string()))
}

/// The headers of a script that it may send.
pub(super) fn sendable(headers: &[(String, String)]) -> Result<HeaderMap, LoadError> {
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        let wrong = || LoadError(format!("the header {name:?} can't be sent"));
        let name = HeaderName::from_str(name).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        let is_own = OWN_HEADERS.contains(&name.as_str())
            || name.as_str().starts_with("proxy-")
            || name.as_str().starts_with("sec-");
        if !is_own {
            sent.append(name, value);
        }
    }
    Ok(sent)
}

/// Where an answer redirects to, if it does.
pub(super) fn redirect(from: &Url, answer: &Answer) -> Result<Option<Url>, LoadError> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = answer.headers.get(LOCATION) else {
        return Ok(None);
    };
    let to = location
        .to_str()
        .ok()
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| LoadError("it redirects to what is no URL".to_owned()))?;
    parse(to.as_str()).map(Some)
}

pub(super) fn respond(url: Url, answer: Answer, purpose: Purpose) -> Result<Response, LoadError> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let content_type = answer.headers.get(CONTENT_TYPE).map(text);
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    if purpose != Purpose::Fetch
        && answer.status.is_success()
        && NO_SCRIPT.iter().any(|no| content_type.starts_with(no))
    {
        return fail(format!("it is sent as {content_type}, not as a script"));
    }
    let hidden = |name: &HeaderName| [COOKIE, CONTENT_LENGTH].contains(name);
    let headers = answer.headers.iter();
    Ok(Response {
        url: url.into(),
        status: answer.status.as_u16(),
        headers: headers
            .filter(|(name, _)| !hidden(name) && name.as_str() != "set-cookie")
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: answer.body,
    })
}

fn fail<T>(why: String) -> Result<T, LoadError> {
    Err(LoadError(why))
}

#[cfg(test)]
mod tests;
