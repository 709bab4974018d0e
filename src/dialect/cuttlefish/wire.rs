//! The envelope: what the server reads and prints (cuttlefish.md, and the protocol's document).
//!
//! What is relayed (`payload`, `device_info`) is cut out of its frame as it was sent, never parsed
//! into values and printed again.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::IceServer;
use crate::dialect::cause::{Cause, Side};
use crate::hub::{Access, CallNumber, EndpointId, Namespace, Payload};

/// What a device that holds its clients to their [`Access`] says among its `capabilities` when it
/// registers. An addition to the protocol, which servers that don't know it ignore.
pub const HOLDS_VIEWERS: &str = "view-only";
/// What [`client_msg`] says as `access` of a client that may only view. An addition to the protocol,
/// which only devices get that said [`HOLDS_VIEWERS`], or whose operator takes the risk.
pub const VIEW: &str = "view";

/// A device's message to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDevice<'a> {
    /// `register`
    Register {
        /// `device_id`
        id: EndpointId,
        /// `device_info`, verbatim; `None` if it is missing.
        info: Option<Payload>,
        /// `device_port`: where the device serves client files over HTTP, if it does.
        files_port: Option<u16>,
        /// Whether `capabilities` has [`HOLDS_VIEWERS`].
        holds_viewers: bool,
    },
    /// `forward`
    Forward {
        /// `client_id`
        client: ClientId<'a>,
        /// `payload`, verbatim.
        payload: Payload,
    },
}

/// A client's message to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// `connect`
    Connect {
        /// `device_id`
        id: EndpointId,
    },
    /// `forward`
    Forward {
        /// `payload`, verbatim.
        payload: Payload,
    },
}

/// The integer by which a device names a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientId<'a> {
    /// A number that a client can have.
    Call(CallNumber),
    /// An integer that no client ever has, as it was sent.
    Impossible(&'a str),
}

impl<'a> FromDevice<'a> {
    /// Reads a device's frame. Unknown fields are ignored; of a repeated field the last one counts.
    ///
    /// # Errors
    /// The cause to answer with.
    pub fn parse(frame: &'a Payload) -> Result<Self, Cause<'a>> {
        let (kind, envelope) = Envelope::parse_message(frame.as_str())?;
        match kind {
            Kind::Register => Ok(Self::Register {
                id: envelope
                    .device_id()
                    .ok_or(Cause::MissingId(Side::Endpoint))?,
                info: envelope.device_info.map(|info| frame.slice(info.get())),
                files_port: envelope.files_port(),
                holds_viewers: envelope.can(HOLDS_VIEWERS),
            }),
            Kind::Forward => Ok(Self::Forward {
                client: envelope.client_id().ok_or(Cause::MissingCaller)?,
                payload: envelope
                    .payload(frame)
                    .ok_or(Cause::MissingPayload(Side::Endpoint))?,
            }),
            Kind::Connect => Err(Cause::UnknownType {
                name: "connect".into(),
            }),
        }
    }
}

impl FromClient {
    /// Reads a client's frame, as [`FromDevice::parse`].
    ///
    /// # Errors
    /// The cause to answer with.
    pub fn parse(frame: &Payload) -> Result<Self, Cause<'_>> {
        let (kind, envelope) = Envelope::parse_message(frame.as_str())?;
        match kind {
            Kind::Connect => {
                let id = envelope.device_id().ok_or(Cause::MissingId(Side::Caller))?;
                Ok(Self::Connect { id })
            }
            Kind::Forward => {
                let payload = envelope
                    .payload(frame)
                    .ok_or(Cause::MissingPayload(Side::Caller))?;
                Ok(Self::Forward { payload })
            }
            Kind::Register => Err(Cause::UnknownType {
                name: "register".into(),
            }),
        }
    }
}

/// A bare payload: a frame that is one JSON object (cuttlefish.md A6, `/devices/{id}/connect`).
///
/// # Errors
/// The cause to answer with.
pub fn parse_bare(frame: &Payload) -> Result<Payload, Cause<'_>> {
    Envelope::parse(frame.as_str())?;
    Ok(frame.slice(frame.as_str().trim_ascii()))
}

/// `config`: to both sides, always the first.
#[must_use]
pub fn config(ice_servers: &[IceServer]) -> Payload {
    let servers = serde_json::json!(ice_servers);
    format!(r#"{{"message_type":"config","ice_servers":{servers}}}"#).into()
}

/// `device_info`, to a client whose call is open. A device that said nothing is `null`.
#[must_use]
pub fn device_info(info: Option<&Payload>) -> Payload {
    wrap(r#"{"message_type":"device_info","device_info":"#, info)
}

/// The first message of `/devices/{id}/connect`.
#[must_use]
pub fn bare_device_info(info: Option<&Payload>) -> Payload {
    wrap(r#"{"device_info":"#, info)
}

/// `device_msg`, to a client.
#[must_use]
pub fn device_msg(payload: &Payload) -> Payload {
    wrap(r#"{"message_type":"device_msg","payload":"#, Some(payload))
}

/// `client_msg`, to a device. Of a client that may only view it says so.
#[must_use]
pub fn client_msg(client: CallNumber, access: Access, payload: &Payload) -> Payload {
    let mut start = String::with_capacity(80);
    // Writing to a String can't fail.
    let _ = write!(
        start,
        r#"{{"message_type":"client_msg","client_id":{client},"#
    );
    if access == Access::View {
        let _ = write!(start, r#""access":"{VIEW}","#);
    }
    start.push_str(r#""payload":"#);
    wrap(&start, Some(payload))
}

/// `client_disconnected`, to a device.
#[must_use]
pub fn client_disconnected(client: CallNumber) -> Payload {
    format!(r#"{{"message_type":"client_disconnected","client_id":{client}}}"#).into()
}

/// `{"error": …}`, to both sides.
#[must_use]
pub fn error(text: &str) -> Payload {
    serde_json::json!({ "error": text }).to_string().into()
}

/// An object whose last value is relayed text.
fn wrap(start: &str, relayed: Option<&Payload>) -> Payload {
    let relayed = relayed.map_or("null", Payload::as_str);
    let mut frame = String::with_capacity(start.len() + relayed.len() + 1);
    frame.push_str(start);
    frame.push_str(relayed);
    frame.push('}');
    frame.into()
}

/// The fields of a message that the server reads, each as it was sent. The last of a name counts.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    message_type: Option<&'a RawValue>,
    device_id: Option<&'a RawValue>,
    device_info: Option<&'a RawValue>,
    device_port: Option<&'a RawValue>,
    capabilities: Option<&'a RawValue>,
    client_id: Option<&'a RawValue>,
    connection_id: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

/// The message types that the server reads.
enum Kind {
    Connect,
    Forward,
    Register,
}

/// The names of the fields that the server reads.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    MessageType,
    DeviceId,
    DeviceInfo,
    DevicePort,
    Capabilities,
    ClientId,
    ConnectionId,
    Payload,
    #[serde(other)]
    Other,
}

impl<'a> Envelope<'a> {
    /// Reads a JSON object.
    pub(super) fn parse(text: &'a str) -> Result<Self, Cause<'a>> {
        serde_json::from_str(text).map_err(|error| {
            let json = error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok();
            if json {
                Cause::NotAMessage { text }
            } else {
                Cause::Malformed
            }
        })
    }

    fn parse_message(text: &'a str) -> Result<(Kind, Self), Cause<'a>> {
        let envelope = Self::parse(text)?;
        let Some(name) = envelope.message_type.and_then(text_of) else {
            return Err(Cause::NotAMessage { text });
        };
        match name.as_str() {
            "connect" => Ok((Kind::Connect, envelope)),
            "forward" => Ok((Kind::Forward, envelope)),
            "register" => Ok((Kind::Register, envelope)),
            _ => Err(Cause::UnknownType { name: name.into() }),
        }
    }

    pub(super) fn device_id(&self) -> Option<EndpointId> {
        EndpointId::new(Namespace::Device, &text_of(self.device_id?)?)
    }

    pub(super) fn connection_id(&self) -> Option<String> {
        text_of(self.connection_id?)
    }

    pub(super) fn payload(&self, frame: &Payload) -> Option<Payload> {
        self.payload.map(|payload| frame.slice(payload.get()))
    }

    /// Whether `capabilities` is a list with this entry.
    fn can(&self, capability: &str) -> bool {
        let list = self.capabilities.map(RawValue::get).unwrap_or_default();
        serde_json::from_str::<Vec<String>>(list)
            .is_ok_and(|list| list.iter().any(|known| known == capability))
    }

    fn files_port(&self) -> Option<u16> {
        let port = serde_json::from_str(self.device_port?.get()).ok()?;
        (port != 0).then_some(port)
    }

    /// `1.0` is an integer, as it is for the C++ server; text and fractions are none.
    fn client_id(&self) -> Option<ClientId<'a>> {
        let text = self.client_id?.get();
        let number: serde_json::Number = serde_json::from_str(text).ok()?;
        let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
        let possible = number >= 0.0 && number <= f64::from(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number in range"
        )]
        Some(if possible {
            ClientId::Call(CallNumber(number as u32))
        } else {
            ClientId::Impossible(text)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(field) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    match field {
                        Field::MessageType => envelope.message_type = Some(value),
                        Field::DeviceId => envelope.device_id = Some(value),
                        Field::DeviceInfo => envelope.device_info = Some(value),
                        Field::DevicePort => envelope.device_port = Some(value),
                        Field::Capabilities => envelope.capabilities = Some(value),
                        Field::ClientId => envelope.client_id = Some(value),
                        Field::ConnectionId => envelope.connection_id = Some(value),
                        Field::Payload => envelope.payload = Some(value),
                        Field::Other => {}
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The text of a JSON string.
fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
