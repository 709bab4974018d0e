//! Asks a server's admin API.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use super::model::{Look, View};
use super::table::Target;
use super::units::clean;
use crate::web::WebError;
use crate::web::dialer::Dialer;

/// How long a server may take to answer one question.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes in one answer: 10,000 endpoints with what they say of themselves.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Connections that are asked for; who has more looks at the endpoints.
const MOST_CONNECTIONS: usize = 1_000;
/// What the server does.
const SERVER: &str = "/api/server";

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum TopError {
    /// No connection, or one that broke.
    #[error("{0}; does the server run there?")]
    Away(WebError),
    /// The server's certificate is none that is trusted.
    #[error(
        "{0}; name the file of the certificate that signed it with --ca, or take any with --insecure"
    )]
    Untrusted(WebError),
    /// The deadline passed.
    #[error("the server at {url} did not answer within {} s", PATIENCE.as_secs())]
    Slow { url: String },
    /// No token, or one that isn't good.
    #[error(
        "the server at {0} wants a token that is good: give one with the role admin by --token or \
         SWITCHBOARD_TOKEN"
    )]
    NoToken(String),
    /// A token that allows other things.
    #[error(
        "the token doesn't allow this at {0}: it needs the role admin, as in `switchboard token mint \
         --grant admin …`"
    )]
    NoAdmin(String),
    /// A server that doesn't know the question.
    #[error(
        "the server at {0} knows no {SERVER}: it is older than this command, or no Switchboard; {0}/health \
         would say \"OK\""
    )]
    Unknown(String),
    /// Another answer than one of ours.
    #[error("the server at {url} answers {status} to {path}{}{why}", if why.is_empty() { "" } else { ": " })]
    Refused {
        url: String,
        path: String,
        status: StatusCode,
        why: String,
    },
    /// An answer that isn't ours.
    #[error("what the server at {url} answers to {path} is no answer of Switchboard's: {why}")]
    Strange {
        url: String,
        path: String,
        why: serde_json::Error,
    },
    /// The terminal doesn't do what it should.
    #[error("cannot use this terminal: {0}; --once prints plain text")]
    Terminal(#[from] std::io::Error),
}

/// Asks one server.
#[derive(Clone)]
pub(super) struct Client {
    dialer: Arc<Dialer>,
    started: Instant,
}

impl Client {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self {
            dialer: Arc::new(dialer),
            started: Instant::now(),
        }
    }

    /// Whom it asks.
    pub(super) fn url(&self) -> String {
        self.dialer.url().origin()
    }

    /// What the server does, and these lists.
    pub(super) async fn look(&self, views: &[View]) -> Result<Look, TopError> {
        let mut look = Look {
            server: self.get(SERVER).await?,
            // Never zero, which stands for no look.
            at: self.started.elapsed().as_secs_f64() + 1.0,
            ..Look::default()
        };
        for &view in views {
            let path = match view {
                View::Connections => format!("/api/connections?limit={MOST_CONNECTIONS}"),
                view => format!("/api/{}", view.name()),
            };
            let told: Value = self.get(&path).await?;
            look.lists.insert(view, list(told, view.name()));
        }
        Ok(look)
    }

    /// Puts something out.
    pub(super) async fn kick(&self, target: &Target) -> Result<(), TopError> {
        self.ask(Method::DELETE, &target.path).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, TopError> {
        let body = self.ask(Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|why| TopError::Strange {
            url: self.url(),
            path: path.to_owned(),
            why,
        })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<bytes::Bytes, TopError> {
        let is_get = method == Method::GET;
        let asked = self.dialer.ask(method, path, None, MOST_BYTES);
        let answer = timeout(PATIENCE, asked).await;
        let answer = answer.map_err(|_| TopError::Slow { url: self.url() })?;
        let answer = answer.map_err(|error| match error {
            WebError::Untrusted { .. } => TopError::Untrusted(error),
            error => TopError::Away(error),
        })?;
        match answer.status {
            status if status.is_success() => Ok(answer.body),
            StatusCode::UNAUTHORIZED => Err(TopError::NoToken(self.url())),
            StatusCode::FORBIDDEN => Err(TopError::NoAdmin(self.url())),
            StatusCode::NOT_FOUND if is_get => Err(TopError::Unknown(self.url())),
            status => Err(TopError::Refused {
                url: self.url(),
                path: path.to_owned(),
                status,
                why: reason(&answer.body),
            }),
        }
    }
}

/// The objects of a list, which stands alone or under its name.
pub(super) fn list(told: Value, name: &str) -> Vec<Map<String, Value>> {
    let list = match told {
        Value::Object(mut named) => named.remove(name).unwrap_or_default(),
        list => list,
    };
    let Value::Array(list) = list else {
        return Vec::new();
    };
    let objects = list.into_iter().map(|it| match it {
        Value::Object(object) => object,
        _ => Map::new(),
    });
    objects.collect()
}

/// What the server says of a failure.
fn reason(body: &[u8]) -> String {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let error = told.as_ref().and_then(|it| it["error"].as_str());
    error.map(clean).unwrap_or_default()
}
