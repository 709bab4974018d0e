//! Cuttlefish clients that poll over HTTP, in both generations (cuttlefish.md A6). In the hub each
//! is a connection like any other.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderName,
};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::auth::Pass;
use super::listener::Origin;
use super::outbox::{Ended, Load, Overflow};
use super::switch::{Inbox, Member};
use super::traffic::{Traffic, Usage};
use super::{App, cuttlefish, http};
use crate::dialect::Dialect;
use crate::dialect::cause::Cause;
use crate::dialect::cuttlefish::polled::{self, Mailbox};
use crate::hub::{
    Access, CallError, CallNumber, Command, ConnectionId, EndpointId, Event, Payload, WhenAbsent,
};

/// Characters of a connection id (cuttlefish.md A6).
const ID_LENGTH: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
/// Gone clients are looked for this often, or four times as often as they may be idle.
const SWEEP: Duration = Duration::from_secs(10);

/// Every polling client, by the id that it was given.
#[derive(Default)]
pub(super) struct PollingClients(Mutex<HashMap<String, Client>>);

#[derive(Clone)]
struct Client {
    connection: ConnectionId,
    /// Whose token opened it, where tokens are asked for.
    pass: Option<Arc<Pass>>,
    inbox: Arc<PollingInbox>,
}

/// What the hub told a polling client.
struct PollingInbox {
    told: Mutex<Told>,
    // Messages that newer ones pushed out.
    dropped: Counter,
}

struct Told {
    call: Call,
    mailbox: Mailbox,
    traffic: Traffic,
}

enum Call {
    Unanswered,
    Open(Option<Payload>),
    Refused(CallError),
    Over,
}

/// `POST /connect`
pub(super) async fn connect(State(app): State<Arc<App>>, request: Request) -> Response {
    let opened = match read(&app, request).await {
        Ok((asked, newcomer)) => match asked.device_id() {
            Ok(device) => {
                open(&app, device, newcomer).map_err(|error| refusal(&app, &(&error).into()))
            }
            Err(cause) => Err(refusal(&app, &cause)),
        },
        Err(response) => Err(response),
    };
    opened.map_or_else(
        |response| response,
        |(id, info)| http::json_text(StatusCode::OK, polled::connected(&id, info.as_ref())),
    )
}

/// `POST /forward`, answered like a poll.
pub(super) async fn forward(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(&app, request, true).await
}

/// `POST /poll_messages`
pub(super) async fn poll(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(&app, request, false).await
}

/// `OPTIONS` of the old generation.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The old generation's pages may come from anywhere.
pub(super) async fn allow_all_origins(response: Response) -> impl axum::response::IntoResponse {
    const HEADERS: [(HeaderName, &str); 3] = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
    ];
    (HEADERS, response)
}

/// `POST /polled_connections`
pub(super) async fn new_connect(State(app): State<Arc<App>>, request: Request) -> Response {
    let (asked, newcomer) = match read(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let device = match asked.device_id() {
        Ok(device) => device,
        Err(cause) => return refusal(&app, &cause),
    };
    match open(&app, device, newcomer) {
        Ok((id, info)) => {
            http::json_text(StatusCode::OK, polled::connected_new(&id, info.as_ref()))
        }
        Err(CallError::Absent(_)) => cuttlefish::device_not_found(),
        Err(error) => refusal(&app, &(&error).into()),
    }
}

/// `POST /polled_connections/{connection}/:forward`
pub(super) async fn new_forward(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (asked, sender) = match read(&app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let Some(client) = app.polling.open_client(&app, &id, sender.pass.as_ref()) else {
        return connection_not_found();
    };
    match asked.payload() {
        Ok(payload) => {
            client.to_device(&app, payload);
            http::json_text(StatusCode::OK, polled::OK)
        }
        Err(cause) => refusal(&app, &cause),
    }
}

/// `GET /polled_connections/{connection}/messages`
pub(super) async fn new_messages(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(range): Query<Range>,
    request: Request,
) -> Response {
    let pass = request.extensions().get::<Arc<Pass>>();
    let Some(client) = app.polling.open_client(&app, &id, pass) else {
        return connection_not_found();
    };
    let told = client.inbox.lock();
    let messages = told
        .mailbox
        .from(range.start, range.count.unwrap_or(usize::MAX));
    told.note_sent(&messages);
    drop(told);
    http::json_text(StatusCode::OK, polled::messages(&messages))
}

/// Which messages; an answer of 400 is given to anything that is no number.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    start: u64,
    count: Option<usize>,
}

/// Lets clients go that haven't asked for a while. Runs for ever.
pub(super) async fn expire(app: &App) {
    let idle = app.config.limits.polling_idle;
    loop {
        tokio::time::sleep((idle / 4).min(SWEEP)).await;
        let mut gone = Vec::new();
        app.polling.lock().retain(|_, client| {
            let expired = client.inbox.lock().mailbox.used().elapsed() >= idle;
            if expired {
                gone.push(client.connection);
            }
            !expired
        });
        for connection in gone {
            app.metrics.polling_clients.dec();
            app.switch.command(connection, Command::Leave);
        }
    }
}

/// Who sends a request.
struct Newcomer {
    member: Member,
    pass: Option<Arc<Pass>>,
}

/// What a client asks for.
async fn read(app: &App, request: Request) -> Result<(polled::Request, Newcomer), Response> {
    if let Some(refusal) = app.refuses_newcomers() {
        return Err(refusal);
    }
    let origin = request.extensions().get::<Origin>();
    let address = origin.map(|origin| app.addresses.client(origin.peer, request.headers()));
    let newcomer = Newcomer {
        member: Member {
            dialect: Dialect::Cuttlefish,
            role: "client",
            peer: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            indirect: true,
            secure: origin.is_some_and(|origin| origin.secure),
            files_port: None,
        },
        pass: request.extensions().get::<Arc<Pass>>().cloned(),
    };
    let body = http::text_body(app, request).await?;
    let asked = polled::Request::parse(&body).map_err(|cause| refusal(app, &cause))?;
    Ok((asked, newcomer))
}

/// Calls a device, and gives the new client's id.
fn open(
    app: &App,
    device: &EndpointId,
    newcomer: Newcomer,
) -> Result<(String, Option<Payload>), CallError> {
    let Newcomer { member, pass } = newcomer;
    let limits = &app.config.limits;
    let full = CallError::Full(limits.polling_clients);
    // Another request may come between this and the insertion, which looks again.
    if app.polling.lock().len() >= limits.polling_clients {
        return Err(full);
    }
    let Some(id) = new_id() else {
        return Err(full);
    };
    let mailbox = Mailbox::new(
        limits.polling_messages,
        limits.polling_bytes,
        Instant::now(),
    );
    let inbox = Arc::new(PollingInbox {
        told: Mutex::new(Told {
            call: Call::Unanswered,
            mailbox,
            traffic: Traffic::default(),
        }),
        dropped: app.metrics.polling_dropped.clone(),
    });
    let connection = app.switch.number();
    app.join(connection, member, pass.clone(), Arc::clone(&inbox) as _);
    let endpoint = device.clone();
    let when_absent = WhenAbsent::Refuse;
    // The hub answers a call that may not wait before this returns.
    let call = Command::Call {
        endpoint,
        when_absent,
        access: Access::default(),
    };
    app.switch.command(connection, call);
    let outcome = match &inbox.lock().call {
        Call::Open(info) => Ok((id.clone(), info.clone())),
        Call::Refused(error) => Err(error.clone()),
        Call::Unanswered | Call::Over => Err(CallError::Absent(device.clone())),
    };
    let client = Client {
        connection,
        pass,
        inbox,
    };
    let kept = match outcome {
        Ok(opened) if app.polling.insert(id, client, limits.polling_clients) => {
            app.metrics.polling_clients.inc();
            return Ok(opened);
        }
        Ok(_) => full,
        Err(error) => error,
    };
    app.switch.command(connection, Command::Leave);
    Err(kept)
}

/// A request of the old generation: perhaps a message to the device, then everything that waits.
async fn exchange(app: &App, request: Request, with_payload: bool) -> Response {
    let (asked, sender) = match read(app, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let pass = sender.pass.as_ref();
    let client = asked.connection_id().and_then(|id| {
        let client = app.polling.client(id, pass).ok_or(Cause::UnknownMailbox)?;
        Ok((id, client))
    });
    let (id, client) = match client {
        Ok(found) => found,
        Err(cause) => return refusal(app, &cause),
    };
    if with_payload {
        match asked.payload() {
            Ok(payload) => client.to_device(app, payload),
            Err(cause) => return refusal(app, &cause),
        }
    }
    let mut told = client.inbox.lock();
    let messages = told.mailbox.drain();
    told.note_sent(&messages);
    let over = matches!(told.call, Call::Over);
    drop(told);
    // What the device said before it left still arrives.
    if over && messages.is_empty() {
        app.polling.remove(app, id);
        return refusal(app, &Cause::EndpointLeft);
    }
    http::json_text(StatusCode::OK, polled::bare_messages(&messages))
}

fn refusal(app: &App, cause: &Cause<'_>) -> Response {
    let row = cause.row();
    app.metrics.refused(row.label);
    let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::BAD_REQUEST);
    http::json_text(status, polled::error(cause))
}

fn connection_not_found() -> Response {
    (StatusCode::NOT_FOUND, "Connection not found").into_response()
}

/// An id that can't be guessed; `None` if the system has no randomness.
fn new_id() -> Option<String> {
    let mut bytes = [0; ID_LENGTH];
    getrandom::fill(&mut bytes).ok()?;
    let letters = bytes.iter().map(|byte| ALPHABET[usize::from(byte % 64)]);
    Some(letters.map(char::from).collect())
}

impl PollingClients {
    /// The client with this id, which is in use now, if the user is the same as at the beginning.
    fn client(&self, id: &str, pass: Option<&Arc<Pass>>) -> Option<Client> {
        let client = self.lock().get(id).cloned()?;
        let user = |pass: Option<&Arc<Pass>>| pass.map(|it| it.user().to_owned());
        if user(client.pass.as_ref()) != user(pass) {
            return None;
        }
        client.inbox.lock().mailbox.touch(Instant::now());
        Some(client)
    }

    /// The same, unless its device has left.
    fn open_client(&self, app: &App, id: &str, pass: Option<&Arc<Pass>>) -> Option<Client> {
        let client = self.client(id, pass)?;
        let over = matches!(client.inbox.lock().call, Call::Over);
        if over {
            self.remove(app, id);
            return None;
        }
        Some(client)
    }

    fn insert(&self, id: String, client: Client, most: usize) -> bool {
        let mut clients = self.lock();
        let fits = clients.len() < most;
        if fits {
            clients.insert(id, client);
        }
        fits
    }

    fn remove(&self, app: &App, id: &str) {
        let removed = self.lock().remove(id);
        if let Some(client) = removed {
            app.metrics.polling_clients.dec();
            app.switch.command(client.connection, Command::Leave);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn to_device(&self, app: &App, payload: &Payload) {
        let payload = payload.clone();
        let told = self.inbox.lock();
        told.traffic.received(payload.len());
        // The device may still be there, and not be for this client any more.
        if matches!(told.call, Call::Over) {
            return;
        }
        drop(told);
        app.switch
            .command(self.connection, Command::ToEndpoint { payload });
    }
}

impl Told {
    fn note_sent(&self, messages: &[Payload]) {
        for message in messages {
            self.traffic.sent(message.len());
        }
    }
}

impl PollingInbox {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox for PollingInbox {
    /// Never overflows: the oldest messages make room.
    fn push(&self, event: Event) -> Result<(), Overflow> {
        let mut told = self.lock();
        if matches!(told.call, Call::Over) {
            return Ok(());
        }
        match event {
            Event::CallOpened { info, .. } => told.call = Call::Open(info),
            Event::CallRefused(error) => told.call = Call::Refused(error),
            Event::FromEndpoint { payload } => {
                self.dropped.inc_by(told.mailbox.push(&payload));
            }
            Event::EndpointLeft | Event::Evicted => told.call = Call::Over,
            // An endpoint's, and a waiting caller's.
            _ => {}
        }
        Ok(())
    }

    /// A caller has no calls but its own.
    fn forget(&self, _: CallNumber) {}

    fn end(&self, why: Ended) {
        // While the server stops, clients may still take what waits.
        if matches!(
            why,
            Ended::Flooded | Ended::TokenExpired | Ended::TokenRevoked | Ended::Kicked(_)
        ) {
            self.lock().call = Call::Over;
        }
    }

    fn usage(&self) -> Usage {
        let told = self.lock();
        let (messages, bytes) = told.mailbox.load();
        Usage {
            traffic: told.traffic.counted(),
            queued: Load { messages, bytes },
        }
    }
}
