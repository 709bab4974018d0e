//! The operator's own answer to custom requests, over HTTP.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};
use tracing::warn;

use super::App;
use crate::hub::Payload;
use crate::web::{self, Ask, Web};

/// Whom to ask.
pub(super) struct Hook {
    web: Web,
    url: Uri,
}

impl Hook {
    /// Takes answers of at most so many bytes.
    pub(super) fn new(url: Uri, most: usize) -> Result<Self, rustls::Error> {
        let config = web::trusting(web::system_roots())?;
        Ok(Self {
            web: Web::new(config, most),
            url,
        })
    }

    async fn post(&self, request: Payload) -> Result<Payload, String> {
        let json = HeaderValue::from_static("application/json");
        let headers = [(CONTENT_TYPE, json.clone()), (ACCEPT, json)];
        let ask = Ask {
            method: Method::POST,
            url: &self.url,
            headers: HeaderMap::from_iter(headers),
            body: request.into_bytes(),
        };
        // The operator chose the hook, wherever it is. Where, is nothing for clients.
        let answer = self.web.send(ask, |_| Ok(())).await;
        let answer = answer.map_err(|error| {
            warn!(%error, "the hook for custom requests can't be asked");
            "whoever answers them can't be asked now; try again later".to_owned()
        })?;
        if answer.status != StatusCode::OK {
            return Err(format!("it answered with the status {}", answer.status));
        }
        Payload::from_utf8(answer.body).map_err(|_| "its answer is not UTF-8".to_owned())
    }
}

/// The hook's answer, within [`Limits::custom_request`](crate::config::Limits::custom_request), or
/// why there is none, which the client may be told.
pub(super) async fn ask(app: Arc<App>, request: Payload) -> Result<Payload, String> {
    let Some(hook) = &app.hook else {
        return Err("nobody answers custom requests here".to_owned());
    };
    let patience = app.config.limits.custom_request;
    match tokio::time::timeout(patience, hook.post(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", patience.as_secs_f64())),
    }
}
