//! Cuttlefish's WebSockets and device list (cuttlefish.md A1, A6).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Allowed;
use super::switch::EndpointView;
use super::{App, http, ice, upgrade};
use crate::dialect::cuttlefish::server::{BareClientSession, ClientSession, DeviceSession};
use crate::hub::{EndpointId, Namespace};

/// `/register_device`
pub(super) async fn register_device(State(app): State<Arc<App>>, request: Request) -> Response {
    let session = DeviceSession::new(app.settings().ice.cuttlefish());
    upgrade::accept(app, request, Box::new(session))
}

/// `/connect_client`
pub(super) async fn connect_client(State(app): State<Arc<App>>, request: Request) -> Response {
    let session = ClientSession::new(app.settings().ice.cuttlefish());
    upgrade::accept(app, request, Box::new(session))
}

/// `/devices/{id}/connect`; 404 before the upgrade if the device isn't here. Who may not call it learns
/// that in either case.
pub(super) async fn connect_to_device(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Allowed(grants): Allowed,
    request: Request,
) -> Response {
    let device = EndpointId::new(Namespace::Device, &id);
    let device = device.filter(|id| !grants.allows_call(id) || app.switch.endpoint(id).is_some());
    match device {
        Some(device) => {
            let session = BareClientSession::new(device);
            upgrade::accept(app, request, Box::new(session))
        }
        None => device_not_found(),
    }
}

/// `GET /infra_config`. Pages from anywhere may read it, as they may connect by polling.
pub(super) async fn infra_config(State(app): State<Arc<App>>) -> impl IntoResponse {
    let config = app.settings().ice.cuttlefish().infra_config().clone();
    let response = ice::not_stored(http::json_text(StatusCode::OK, config.into_bytes()));
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], response)
}

/// `GET /devices`
///
/// The two generations of pages expect two shapes: the old ones, which ask without a query, an
/// array of ids; the new ones, which filter by `groupId` or `owner` (empty for all), an array of
/// objects. A token shows the devices that it is for.
pub(super) async fn devices(
    State(app): State<Arc<App>>,
    Allowed(grants): Allowed,
    Query(filter): Query<Filter>,
) -> Response {
    let mut devices = app.switch.endpoints_in(Namespace::Device);
    devices.retain(|device| grants.knows_device(&device.id));
    if filter.group_id.is_none() && filter.owner.is_none() {
        let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
        return axum::Json(ids).into_response();
    }
    let described: Vec<Described<'_>> = devices
        .iter()
        .map(Described::new)
        .filter(|device| filter.takes(device))
        .collect();
    axum::Json(described).into_response()
}

/// `GET /devices/{id}`
pub(super) async fn device(
    State(app): State<Arc<App>>,
    Allowed(grants): Allowed,
    Path(id): Path<String>,
) -> Response {
    let device = find(&app, &id).filter(|device| grants.knows_device(&device.id));
    let Some(device) = device else {
        return device_not_found();
    };
    let mut described = Described::new(&device);
    described.registration_info = device
        .info
        .as_ref()
        .and_then(|info| serde_json::from_str(info.as_str()).ok());
    axum::Json(described).into_response()
}

/// A registered device.
pub(super) fn find(app: &App, id: &str) -> Option<EndpointView> {
    app.switch
        .endpoint(&EndpointId::new(Namespace::Device, id)?)
}

pub(super) fn device_not_found() -> Response {
    (StatusCode::NOT_FOUND, "Device not found").into_response()
}

/// Which devices the new pages want to see.
#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    #[serde(rename = "groupId")]
    group_id: Option<String>,
    owner: Option<String>,
}

/// A device as the new pages see it. The optional parts are what the device says of itself.
#[derive(Debug, Serialize)]
struct Described<'a> {
    device_id: &'a str,
    group_name: String,
    adb_port: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_info: Option<&'a RawValue>,
}

impl Filter {
    fn takes(&self, device: &Described<'_>) -> bool {
        let takes = |wanted: &Option<String>, has: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.is_empty() || wanted == has)
        };
        takes(&self.group_id, &device.group_name) && takes(&self.owner, &device.owner)
    }
}

impl<'a> Described<'a> {
    fn new(device: &'a EndpointView) -> Self {
        // Only these fields are read: what else is in there may be beyond what a reader takes.
        let info: HashMap<String, &RawValue> = device
            .info
            .as_ref()
            .and_then(|info| serde_json::from_str(info.as_str()).ok())
            .unwrap_or_default();
        let text = |key| read(info.get(key)).unwrap_or_default();
        Self {
            device_id: device.id.as_str(),
            group_name: text("group_name"),
            adb_port: read(info.get("adb_port")).unwrap_or_default(),
            owner: text("owner"),
            name: text("name"),
            registration_info: None,
        }
    }
}

fn read<T: DeserializeOwned>(value: Option<&&RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}
