//! What a device says of itself, as far as the web client reads it (cuttlefish.md B4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `device_info` of a registration. The web client fails without `hardware`,
/// `custom_control_panel_buttons` and `touchpads`, so all fields are always written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// Shown as key – value; a truthy `camera_passthrough` shows the camera button.
    pub hardware: Map<String, Value>,
    /// Buttons beside the usual ones.
    pub custom_control_panel_buttons: Vec<CustomButton>,
    /// Touch surfaces beside the displays.
    pub touchpads: Vec<Touchpad>,
    /// The sound that the device sends.
    pub audio_streams: Vec<AudioStream>,
    /// The pictures that the device sends. The web client finds them by the streams' names instead.
    pub displays: Vec<Display>,
    /// Whether the device takes mouse events.
    pub mouse_enabled: bool,
    /// Whether the device takes gamepad events.
    pub gamepad_enabled: bool,
    /// What else there is.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A button that a device adds to the web client's panel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomButton {
    /// What `device-control` gets when it is pressed.
    pub command: String,
    /// Its tooltip.
    pub title: String,
    /// A Material icon's name.
    pub icon_name: String,
    /// Run on the device through adb instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell_command: Option<String>,
    /// The states that it steps through instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_states: Vec<DeviceState>,
}

/// A posture of a foldable device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Whether the lid is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid_switch_open: Option<bool>,
    /// The hinge's angle in degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hinge_angle_value: Option<f64>,
}

/// A touch surface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touchpad {
    /// Width in pixels.
    pub x_res: u32,
    /// Height in pixels.
    pub y_res: u32,
    /// The `device_label` of its touch events.
    pub label: String,
}

/// A stream of sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioStream {
    /// The MediaStream's id; real devices say `audio-0`.
    pub stream_id: String,
}

/// A display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Display {
    /// The MediaStream's id, `display_0` to `display_15`.
    pub stream_id: String,
    /// Width in pixels.
    pub x_res: u32,
    /// Height in pixels.
    pub y_res: u32,
    /// Dots per inch.
    pub dpi: u32,
    /// Whether it takes touch events.
    pub is_touch: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_has_every_field_that_the_web_client_dies_without() {
        let info = serde_json::to_value(DeviceInfo::default()).unwrap();
        assert!(info["hardware"].is_object());
        assert!(info["custom_control_panel_buttons"].is_array());
        assert!(info["touchpads"].is_array());
    }

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let text = r#"{"adb_port":6520,"hardware":{"CPU":"x"},"touchpads":[{"x_res":1,"y_res":2,"label":"t"}]}"#;
        let info: DeviceInfo = serde_json::from_str(text).unwrap();
        assert_eq!(info.touchpads[0].label, "t");
        assert_eq!(serde_json::to_value(&info).unwrap()["adb_port"], 6520);
    }
}
