//! Who may come in, and for what: the token of every request and connection, checked at the door.
//!
//! One table says which roles each path is for. What a connection may do after the upgrade is
//! decided by its [`Grants`] at the switch, the same for all dialects.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use super::admin::Deed;
use super::listener::Origin;
use super::outbox::Ended;
use super::switch::{Inbox, Member};
use super::tls::Identity;
use super::tokens::{Account, TokenError, left_until};
use super::{App, http, upgrade};
use crate::config::Secret;
use crate::hub::{ConnectionId, Grant, Grants, Names, Role};

/// The subprotocol that a page offers beside its token, because a browser insists on one that the
/// server takes.
pub(super) const SUBPROTOCOL: &str = "switchboard";
/// What comes before a token among the subprotocols that a page offers: pages can set no header.
const BEARER_PROTOCOL: &str = "bearer.";
/// What is said of a revoked one.
const REVOKED: &str =
    "the token is not valid: it was revoked; ask whoever runs this server for another";
/// How often expired tokens are looked for among the connections.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// What a connection's token says.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) grants: Grants,
    user: String,
    /// The token's own id (RFC 7519 section 4.1.7), if it has one.
    id: Option<String>,
    expires: Option<Instant>,
}

/// What a request's token allows; everything, where none are asked for.
pub(super) struct Allowed(pub(super) Grants);

/// Tokens that are no good any more, whatever they say.
#[derive(Debug, Default)]
pub(super) struct Revoked(Mutex<VecDeque<Revocation>>);

/// Someone isn't let in: for the log and the counter, and for the one who asked.
struct Refused {
    cause: &'static str,
    answer: Box<Response>,
}

/// What is revoked until the server's next start: one token, or a user with all tokens, also later ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Revocation {
    /// The token with this `jti`.
    Id(String),
    /// Every token of this `sub`.
    User(String),
}

/// The roles that a path is for; one of them is needed. `None` for what everyone may see: health, the
/// console's files, and what the documents say of the service itself. What isn't named here is for
/// operators.
fn roles(path: &str, method: &Method) -> Option<&'static [Role]> {
    use Role::{Admin, Client, Device, Gecko, Participant, Peer};
    Some(match path {
        "/health" | "/ready" | "/console" | "/console/" | "/console/{*path}" => return None,
        "/v1/" | "/v1/fxa-oauth/params" | "/v0/fxa-oauth/params" | "/__heartbeat__" => return None,
        // A page's browser asks so whether the page may ask, without its token.
        "/connect" | "/forward" | "/poll_messages" | "/ice-servers"
            if method == Method::OPTIONS =>
        {
            return None;
        }
        "/register_device" => &[Device],
        "/connect_client" | "/devices/{id}/connect" => &[Client],
        "/connect" | "/forward" | "/poll_messages" => &[Client],
        "/polled_connections" => &[Client],
        "/polled_connections/{connection}/:forward"
        | "/polled_connections/{connection}/messages" => &[Client],
        "/infra_config" | "/devices" | "/devices/{id}" => &[Client, Device, Admin],
        "/devices/{id}/files/{*path}" => &[Client],
        "/ice-servers" => &[Admin, Client, Device, Gecko, Participant, Peer],
        "/worker" | "/worker/" => &[Gecko],
        "/room" | "/room/" => &[Participant],
        "/getAllRooms"
        | "/getUpdateSpeakerInterval"
        | "/getThresholdSpeaker"
        | "/getClientConfig" => &[Participant, Admin],
        // A worker's script is fetched by geckos, who know its name.
        "/api/scripts/{name}" if method == Method::GET => return None,
        "/api/scripts" => &[Client, Admin],
        _ => &[Admin],
    })
}

/// Whoever upgrades where no route is: a GStreamer peer, or at `/` a client of geckos.
const FRONT: &[Role] = &[Role::Peer, Role::Client];

/// Lets a request through if its token allows what its path is for, and gives it its [`Pass`].
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(refusal) = foreign_page(&app, &request) {
        return refusal;
    }
    let (asks_all, asks_devices) = (
        app.settings().auth.is_some(),
        app.config.client_ca.is_some(),
    );
    let needed = match request.extensions().get::<MatchedPath>() {
        Some(path) => roles(path.as_str(), request.method()),
        None if upgrade::is_wanted(&request) => Some(FRONT),
        None => None,
    };
    let Some(needed) = needed else {
        return next.run(request).await;
    };
    let is_asked = asks_all || (asks_devices && needed == [Role::Device]);
    if !is_asked {
        return match foreign_name(&app, &request) {
            Some(refusal) => refusal,
            None => next.run(request).await,
        };
    }
    let origin = request.extensions().get::<Origin>();
    let certificate = origin.and_then(|origin| origin.certificate.clone());
    let path = request.uri().path().to_owned();
    let token = token(&request).filter(|_| asks_all);
    let pass = match (token, certificate) {
        (None, Some(identity)) if needed.contains(&Role::Device) => {
            app.admitted(Pass::by_certificate(&identity))
        }
        (None, _) if !asks_all => {
            let text = format!("{path} needs a certificate of the client; connect by TLS with one");
            Err(Refused::new("no_certificate", unauthorized(&text)))
        }
        (token, _) => pass(&app, token, &path, needed).await,
    };
    match pass {
        Ok(pass) => {
            request.extensions_mut().insert(Arc::new(pass));
            next.run(request).await
        }
        Err(Refused { cause, answer }) => {
            app.metrics.refused(cause);
            let peer = origin.map(|it| app.addresses.client(it.peer, request.headers()));
            let peer = peer.map(tracing::field::display);
            info!(path, peer, cause, "refused at the door");
            *answer
        }
    }
}

/// What a page is answered whose origin isn't allowed. Programs that are no browsers send no origin,
/// or whatever they like: this protects users of pages, and not the server.
fn foreign_page(app: &App, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let settings = app.settings();
    let allowed = settings.origins.as_ref()?;
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or_default();
    let is_own = origin.split_once("://").is_some_and(|(_, host)| {
        headers.get(HOST).is_some_and(|own| own == host) && !is_rebound(app, request)
    });
    if is_own || allowed.iter().any(|known| known == origin) {
        return None;
    }
    app.metrics.refused("foreign_origin");
    let text = "pages of this origin may not use this server; its operator can allow it by origins";
    Some(http::error(StatusCode::FORBIDDEN, text))
}

/// What a request is answered that a page makes under a name of its own for this machine. WebSockets
/// are for the pages of every origin, unless the operator says which.
fn foreign_name(app: &App, request: &Request) -> Option<Response> {
    if upgrade::is_wanted(request) || !is_rebound(app, request) {
        return None;
    }
    app.metrics.refused("foreign_host");
    let text = "this server is for its own machine, and not by this name: ask for localhost, name it under origins, or set [auth]";
    Some(http::error(StatusCode::FORBIDDEN, text))
}

/// Whether a server that is for its own machine, and asks for no tokens, is asked by a name that
/// anybody may have bound to that machine: a page under such a name counts as the server's own for a
/// browser ("DNS rebinding"). Addresses can't be bound, nor can names without a dot; and for TLS such a
/// page would need a certificate.
fn is_rebound(app: &App, request: &Request) -> bool {
    let settings = app.settings();
    let origin = request.extensions().get::<Origin>();
    if settings.auth.is_some() || !app.is_local || origin.is_some_and(|it| it.secure) {
        return false;
    }
    let Some(host) = request.headers().get(HOST) else {
        // A browser always says.
        return false;
    };
    let host = host.to_str().unwrap_or_default();
    let is_allowed = |origin: &String| origin.split_once("://").is_some_and(|(_, it)| it == host);
    !is_unbound(host) && !settings.origins.iter().flatten().any(is_allowed)
}

/// Whether no name server has a say in where this host is.
fn is_unbound(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

/// Looks for connections whose token has expired, and closes them. Runs for ever.
pub(super) async fn expire(app: &App) {
    let mut ticks = tokio::time::interval(EXPIRY_CHECK);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        app.switch
            .expel(|pass| pass.is_over(now), Ended::TokenExpired);
    }
}

/// `POST /api/revocations` with `{"id": "…"}` or `{"user": "…"}`: no such token is taken from now on,
/// and who is there by one has to go.
pub(super) async fn revoke(State(app): State<Arc<App>>, deed: Deed, request: Request) -> Response {
    if app.settings().auth.is_none() {
        let text = "this server asks for no tokens; name who checks them under [auth]";
        return http::error(StatusCode::CONFLICT, text);
    }
    let body = match http::text_body(&app, request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Ok(revocation) = serde_json::from_str::<Revocation>(body.as_str()) else {
        let text = "say what to revoke: {\"id\": \"a token's jti\"} or {\"user\": \"its sub\"}";
        return http::error(StatusCode::BAD_REQUEST, text);
    };
    let limit = app.config.limits.tokens_revoked;
    if app.revoked.add(revocation.clone(), limit) {
        app.metrics.reached.tokens_revoked.inc();
    }
    let is_meant = |pass: &Pass| pass.is_meant_by(&revocation);
    let closed = app.switch.expel(is_meant, Ended::TokenRevoked);
    deed.done(&app, "revoke", &format!("{revocation:?}"), closed)
}

async fn pass(
    app: &App,
    token: Option<Secret>,
    path: &str,
    needed: &[Role],
) -> Result<Pass, Refused> {
    let settings = app.settings();
    let Some(verifier) = &settings.auth else {
        return Ok(Pass::default());
    };
    let Some(token) = token else {
        let text = format!(
            "{path} needs a token; send Authorization: Bearer TOKEN, or use {path}?token=TOKEN"
        );
        return Err(Refused::new("no_authorization", unauthorized(&text)));
    };
    let account = match verifier.verify(&token).await {
        Ok(account) => account,
        Err(error @ TokenError::Unreachable(_)) => {
            let answer = http::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
            return Err(Refused::new("authority_unavailable", answer));
        }
        Err(error) => {
            let answer = unauthorized(&error.to_string());
            return Err(Refused::new("token_refused", answer));
        }
    };
    let pass = app.admitted(Pass::new(account))?;
    if pass.grants.has_any(needed) {
        return Ok(pass);
    }
    let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
    let text = format!(
        "the token does not allow this; it needs the role {}",
        needed.join(" or ")
    );
    let answer = http::error(StatusCode::FORBIDDEN, &text);
    Err(Refused::new("forbidden", answer))
}

/// RFC 6750 sections 2.1 and 2.3, or a WebSocket's subprotocol; the header goes first.
pub(super) fn token(request: &Request) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Asked {
        token: Option<Secret>,
    }
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        return is_bearer.then(|| Secret::new(token.trim()));
    }
    let asked = Query::<Asked>::try_from_uri(request.uri()).ok();
    asked
        .and_then(|asked| asked.0.token)
        .or_else(|| in_protocols(request.headers()))
}

fn in_protocols(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let token = offered.find_map(|it| it.trim().strip_prefix(BEARER_PROTOCOL))?;
    Some(Secret::new(token))
}

/// RFC 6750 section 3.
pub(super) fn unauthorized(text: &str) -> Response {
    let mut response = http::error(StatusCode::UNAUTHORIZED, text);
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

impl App {
    /// Waits for the end of what a token allows, for as long as there is none for ever.
    pub(super) async fn ended(&self, pass: Option<&Pass>) {
        let Some(pass) = pass else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(EXPIRY_CHECK);
        while !pass.is_over(Instant::now()) && !self.revoked.has(pass) {
            ticks.tick().await;
        }
    }

    /// Adds a connection to the switch.
    pub(super) fn join(
        &self,
        id: ConnectionId,
        member: Member,
        pass: Option<Arc<Pass>>,
        inbox: Arc<dyn Inbox>,
    ) {
        let (own, end) = (pass.clone(), Arc::clone(&inbox));
        self.switch.join(id, member, pass, inbox);
        // A revocation before this may have come after the door; a later one finds the connection.
        if own.is_some_and(|own| self.revoked.has(&own)) {
            end.end(Ended::TokenRevoked);
        }
    }

    /// The pass, unless it was revoked.
    fn admitted(&self, pass: Pass) -> Result<Pass, Refused> {
        if self.revoked.has(&pass) {
            return Err(Refused::new("token_revoked", unauthorized(REVOKED)));
        }
        Ok(pass)
    }
}

impl<S: Sync> FromRequestParts<S> for Allowed {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pass = parts.extensions.get::<Arc<Pass>>();
        Ok(Self(
            pass.map_or_else(Grants::default, |pass| pass.grants.clone()),
        ))
    }
}

impl Refused {
    fn new(cause: &'static str, answer: Response) -> Self {
        let answer = Box::new(answer);
        Self { cause, answer }
    }
}

impl Pass {
    fn new(account: Account) -> Self {
        Self {
            grants: Grants::new(account.grants),
            user: account.user.as_str().to_owned(),
            id: account.id,
            expires: account.expires,
        }
    }

    /// A device by the names in its certificate.
    fn by_certificate(identity: &Identity) -> Self {
        let names = &identity.names;
        let ids = Names::new(names.clone());
        let left = identity.ends.map(left_until);
        Self {
            grants: Grants::new(vec![Grant::Device { ids }]),
            user: names.first().cloned().unwrap_or_default(),
            expires: left.and_then(|left| Instant::now().checked_add(left)),
            ..Self::default()
        }
    }

    /// Whose it is.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Whether its time is over.
    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Whether it is one of those that are revoked.
    fn is_meant_by(&self, revocation: &Revocation) -> bool {
        match revocation {
            Revocation::Id(revoked) => self.id.as_ref() == Some(revoked),
            Revocation::User(revoked) => self.user == *revoked,
        }
    }
}

impl Revoked {
    /// Remembers a revocation. Beyond the limit the oldest is forgotten; says whether it was.
    pub(super) fn add(&self, revocation: Revocation, limit: usize) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains(&revocation) {
            return false;
        }
        let is_full = all.len() >= limit;
        if is_full {
            all.pop_front();
        }
        all.push_back(revocation);
        is_full
    }

    fn has(&self, pass: &Pass) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|it| pass.is_meant_by(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owns_a_name_with_a_dot_binds_it_to_any_machine() {
        for unbound in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "192.0.2.7",
            "[::1]:8080",
            "box:80",
            "app.localhost",
            "localhost.",
        ] {
            assert!(is_unbound(unbound), "{unbound}");
        }
        for bound in [
            "example.org",
            "127.0.0.1.example.org:8080",
            "localhost.example.org",
            "example.org.",
            "",
            "a@b.c",
            "x.evil-localhost",
        ] {
            assert!(!is_unbound(bound), "{bound}");
        }
    }

    #[test]
    fn so_many_revocations_are_remembered_and_each_once() {
        let revoked = Revoked::default();
        let of = |user: &str| Pass {
            user: user.to_owned(),
            ..Pass::default()
        };
        let forgotten = ["anna", "bert", "bert", "cleo"]
            .map(|user| revoked.add(Revocation::User(user.to_owned()), 2));
        assert_eq!(forgotten, [false, false, false, true]);
        assert!(!revoked.has(&of("anna")));
        assert!(revoked.has(&of("bert")) && revoked.has(&of("cleo")));
    }
}
