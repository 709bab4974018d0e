//! A device's, and a viewer's, side of the conversation with a server. Frames in, events out;
//! whatever a server sends, nothing here fails: what can't be read is an event too.

use serde_json::{Value, json};

use super::device_info::DeviceInfo;
use super::payload::{FromClient, FromDevice};
use super::wire::HOLDS_VIEWERS;
use crate::config::IceServer;
use crate::dialect::negotiation::ice_servers;
use crate::hub::{Access, CallNumber, EndpointId};

/// A device's side, on `/register_device`.
#[derive(Debug)]
pub struct DeviceClient {
    id: EndpointId,
    info: DeviceInfo,
    registered: bool,
}

/// What a server tells a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// The device is registered. Only once.
    Registered {
        /// The ICE servers to use for every client.
        ice_servers: Vec<IceServer>,
    },
    /// A client says something. Its first message is how a device learns of it.
    FromClient {
        /// Which client.
        client: CallNumber,
        /// What it may do; everything, if the server says nothing of it.
        access: Access,
        /// What it says.
        message: FromClient,
    },
    /// A client says something that no client says.
    NotUnderstood {
        /// Which client.
        client: CallNumber,
        /// What is wrong with it.
        why: String,
    },
    /// A client left. It may have said nothing before.
    ClientLeft {
        /// Which client.
        client: CallNumber,
    },
    /// The server is not content. Real devices connect anew.
    ServerError(String),
    /// A frame can't be read. For the log.
    Unreadable(String),
}

/// A viewer's side, on `/connect_client`.
#[derive(Debug)]
pub struct ViewerClient {
    device: EndpointId,
}

/// What a server tells a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewerEvent {
    /// The ICE servers, always the first. Without a following [`Self::DeviceInfo`] the device isn't here yet.
    Config {
        /// The ICE servers to use, and to name to the device.
        ice_servers: Vec<IceServer>,
    },
    /// The call is open; the viewer may ask for an offer now.
    DeviceInfo {
        /// What the device says of itself; any JSON.
        info: Value,
    },
    /// The device says something.
    FromDevice(FromDevice),
    /// The server is not content, or the device is gone.
    ServerError(String),
    /// A frame, or what the device put into one, can't be read. For the log.
    Unreadable(String),
}

impl DeviceClient {
    /// A device that isn't connected yet.
    #[must_use]
    pub fn new(id: &EndpointId, info: &DeviceInfo) -> Self {
        Self {
            id: id.clone(),
            info: info.clone(),
            registered: false,
        }
    }

    /// The connection is up: what to send.
    #[must_use]
    pub fn opened(&mut self) -> Vec<String> {
        self.registered = false;
        let register = json!({
            "message_type": "register", "device_id": self.id.as_str(), "device_info": self.info,
            "capabilities": [HOLDS_VIEWERS],
        });
        vec![register.to_string()]
    }

    /// A text frame came; `None` if it means nothing to a device.
    pub fn frame(&mut self, frame: &str) -> Option<DeviceEvent> {
        let message = match read(frame) {
            Ok(message) => message,
            Err(Refused::Error(text)) => return Some(DeviceEvent::ServerError(text)),
            Err(Refused::Unreadable(why)) => return Some(DeviceEvent::Unreadable(why)),
        };
        match message["message_type"].as_str().unwrap_or_default() {
            "config" if self.registered => None,
            "config" => {
                self.registered = true;
                let ice_servers = ice_servers(&message["ice_servers"]);
                Some(DeviceEvent::Registered { ice_servers })
            }
            "client_msg" => Some(from_client(message)),
            "client_disconnected" => Some(match client_id(&message) {
                Some(client) => DeviceEvent::ClientLeft { client },
                None => {
                    DeviceEvent::Unreadable("client_disconnected without a client_id".to_owned())
                }
            }),
            other => Some(DeviceEvent::Unreadable(format!(
                "unknown message_type {other:?}"
            ))),
        }
    }

    /// The frame that brings a message to a client.
    #[must_use]
    pub fn to_client(&self, client: CallNumber, message: &FromDevice) -> String {
        json!({"message_type": "forward", "client_id": client.0, "payload": message.to_json()})
            .to_string()
    }
}

impl ViewerClient {
    /// A viewer that isn't connected yet.
    #[must_use]
    pub fn new(device: &EndpointId) -> Self {
        Self {
            device: device.clone(),
        }
    }

    /// The connection is up: what to send.
    #[must_use]
    pub fn opened(&self) -> Vec<String> {
        vec![json!({"message_type": "connect", "device_id": self.device.as_str()}).to_string()]
    }

    /// A text frame came; `None` if it means nothing to a viewer.
    #[must_use]
    pub fn frame(&self, frame: &str) -> Option<ViewerEvent> {
        let mut message = match read(frame) {
            Ok(message) => message,
            Err(Refused::Error(text)) => return Some(ViewerEvent::ServerError(text)),
            Err(Refused::Unreadable(why)) => return Some(ViewerEvent::Unreadable(why)),
        };
        Some(match message["message_type"].as_str().unwrap_or_default() {
            "config" => ViewerEvent::Config {
                ice_servers: ice_servers(&message["ice_servers"]),
            },
            "device_info" => ViewerEvent::DeviceInfo {
                info: message["device_info"].take(),
            },
            "device_msg" => match FromDevice::from_json(message["payload"].take()) {
                Ok(message) => ViewerEvent::FromDevice(message),
                Err(error) => ViewerEvent::Unreadable(error.to_string()),
            },
            other => ViewerEvent::Unreadable(format!("unknown message_type {other:?}")),
        })
    }

    /// The frame that brings a message to the device.
    #[must_use]
    pub fn to_device(&self, message: &FromClient) -> String {
        json!({"message_type": "forward", "payload": message.to_json()}).to_string()
    }
}

/// A frame that is no message.
enum Refused {
    /// The server's error.
    Error(String),
    Unreadable(String),
}

fn read(frame: &str) -> Result<Value, Refused> {
    let message: Value =
        serde_json::from_str(frame).map_err(|error| Refused::Unreadable(error.to_string()))?;
    if message["message_type"].is_string() {
        return Ok(message);
    }
    Err(match &message["error"] {
        Value::Null => Refused::Unreadable("neither message_type nor error".to_owned()),
        Value::String(text) => Refused::Error(text.clone()),
        other => Refused::Error(other.to_string()),
    })
}

fn client_id(message: &Value) -> Option<CallNumber> {
    let number = message["client_id"].as_u64()?;
    u32::try_from(number).ok().map(CallNumber)
}

fn from_client(mut message: Value) -> DeviceEvent {
    let Some(client) = client_id(&message) else {
        return DeviceEvent::Unreadable("client_msg without a client_id".to_owned());
    };
    // What isn't known grants less, not more.
    let access = match message["access"] {
        Value::Null => Access::Control,
        _ => Access::View,
    };
    match FromClient::from_json(message["payload"].take()) {
        Ok(message) => DeviceEvent::FromClient {
            client,
            access,
            message,
        },
        Err(error) => DeviceEvent::NotUnderstood {
            client,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::negotiation::Sdp;
    use crate::hub::Namespace;

    fn device() -> DeviceClient {
        DeviceClient::new(
            &EndpointId::new(Namespace::Device, "cvd-1").unwrap(),
            &DeviceInfo::default(),
        )
    }

    #[test]
    fn device_registers_and_learns_of_clients_by_their_messages() {
        let mut device = device();
        let register: Value = serde_json::from_str(&device.opened()[0]).unwrap();
        assert_eq!(register["device_id"], "cvd-1");
        assert_eq!(register["capabilities"], json!(["view-only"]));
        let config = r#"{"message_type":"config","ice_servers":[{"urls":["stun:a"]}]}"#;
        assert!(
            matches!(device.frame(config), Some(DeviceEvent::Registered { ice_servers }) if ice_servers.len() == 1)
        );
        assert_eq!(device.frame(config), None);
        assert_eq!(
            device.frame(
                r#"{"message_type":"client_msg","client_id":3,"payload":{"type":"request-offer"}}"#
            ),
            Some(DeviceEvent::FromClient {
                client: CallNumber(3),
                access: Access::Control,
                message: FromClient::RequestOffer {
                    ice_servers: vec![]
                }
            })
        );
        assert_eq!(
            device.frame(r#"{"message_type":"client_disconnected","client_id":3}"#),
            Some(DeviceEvent::ClientLeft {
                client: CallNumber(3)
            })
        );
    }

    #[test]
    fn what_a_client_says_wrong_is_told_with_its_number() {
        for payload in [
            "null",
            "7",
            r#"{"sdp":"v=0"}"#,
            r#"{"type":"answer","sdp":7}"#,
        ] {
            let frame =
                format!(r#"{{"message_type":"client_msg","client_id":3,"payload":{payload}}}"#);
            let event = device().frame(&frame);
            let of_3 =
                matches!(event, Some(DeviceEvent::NotUnderstood { client, .. }) if client.0 == 3);
            assert!(of_3, "{payload}: {event:?}");
        }
    }

    #[test]
    fn nothing_that_a_server_sends_breaks_a_client() {
        let viewer = ViewerClient::new(&EndpointId::new(Namespace::Device, "cvd-1").unwrap());
        for frame in [
            "",
            "[]",
            "7",
            "{}",
            r#"{"message_type":"bogus"}"#,
            r#"{"message_type":"client_msg","client_id":-1}"#,
        ] {
            assert!(
                matches!(device().frame(frame), Some(DeviceEvent::Unreadable(_))),
                "{frame}"
            );
            assert!(
                matches!(viewer.frame(frame), Some(ViewerEvent::Unreadable(_))),
                "{frame}"
            );
        }
        let error = r#"{"error":"no"}"#;
        assert_eq!(
            device().frame(error),
            Some(DeviceEvent::ServerError("no".into()))
        );
        assert_eq!(
            viewer.frame(error),
            Some(ViewerEvent::ServerError("no".into()))
        );
    }

    #[test]
    fn viewer_reads_what_a_device_says() {
        let viewer = ViewerClient::new(&EndpointId::new(Namespace::Device, "cvd-1").unwrap());
        let offer = FromDevice::Offer(Sdp::new("v=0"));
        let frame = json!({"message_type": "device_msg", "payload": offer.to_json()}).to_string();
        assert_eq!(viewer.frame(&frame), Some(ViewerEvent::FromDevice(offer)));
        let info = r#"{"message_type":"device_info","device_info":null}"#;
        assert_eq!(
            viewer.frame(info),
            Some(ViewerEvent::DeviceInfo { info: Value::Null })
        );
    }
}
