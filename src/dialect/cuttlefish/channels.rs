//! The messages of the data channels (cuttlefish.md B3).

use serde::{Deserialize, Deserializer, Serialize};

/// The channel that the device creates; JSON text both ways.
pub const DEVICE_CONTROL: &str = "device-control";
/// The channel of input events; JSON text from client to device.
pub const INPUT: &str = "input-channel";
/// The channel of the raw adb transport; binary both ways.
pub const ADB: &str = "adb-channel";
/// The channel of photos: binary pieces, then the text `EOF`; from client to device.
pub const CAMERA: &str = "camera-data-channel";

/// What the channels are called that pages open, beside a name for all others.
const KNOWN: [&str; 10] = [
    INPUT,
    DEVICE_CONTROL,
    ADB,
    CAMERA,
    "bluetooth-channel",
    "location-channel",
    "kml-locations-channel",
    "gpx-locations-channel",
    "sensors-channel",
    "lights-channel",
];

/// The label if it is one of the protocol's, or else `other`: one of few words, whatever the other
/// side chooses.
#[must_use]
pub fn known(label: &str) -> &'static str {
    KNOWN
        .into_iter()
        .find(|known| *known == label)
        .unwrap_or("other")
}

/// A message of [`INPUT`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Input {
    /// Fingers on a display or a touchpad: one entry per finger in each array.
    #[serde(rename = "multi-touch")]
    MultiTouch {
        /// Which finger.
        id: Vec<i64>,
        /// In pixels of the video.
        x: Vec<f64>,
        /// In pixels of the video.
        y: Vec<f64>,
        /// Down or moved, or up.
        #[serde(deserialize_with = "flag", serialize_with = "bit")]
        down: bool,
        /// `display_N`, or a touchpad's label. Pages from before touchpads say `display_label`.
        #[serde(alias = "display_label")]
        device_label: String,
    },
    /// A key.
    #[serde(rename = "keyboard")]
    Keyboard {
        /// The DOM's `code`, such as `KeyA`.
        keycode: String,
        /// Down or up.
        event_type: KeyEvent,
    },
    /// The rotary wheel.
    #[serde(rename = "wheel")]
    Wheel {
        /// How far.
        pixels: f64,
    },
    /// The mouse moved, relative to where it was.
    #[serde(rename = "mouseMove")]
    MouseMove {
        /// To the right, in pixels.
        x: f64,
        /// Down, in pixels.
        y: f64,
    },
    /// A mouse button.
    #[serde(rename = "mouseButton")]
    MouseButton {
        /// Which, as in the DOM.
        button: i64,
        /// Down or up.
        #[serde(deserialize_with = "flag", serialize_with = "bit")]
        down: bool,
    },
    /// The mouse's wheel.
    #[serde(rename = "mouseWheel")]
    MouseWheel {
        /// How far.
        pixels: f64,
    },
    /// A button of a gamepad.
    #[serde(rename = "gamepadKey")]
    GamepadKey {
        /// Which gamepad.
        id: i64,
        /// Which button.
        button: i64,
        /// Down or up.
        #[serde(deserialize_with = "flag", serialize_with = "bit")]
        down: bool,
    },
    /// An axis of a gamepad.
    #[serde(rename = "gamepadMotion")]
    GamepadMotion {
        /// Which axis.
        button: i64,
        /// Where it is now.
        value: f64,
    },
}

/// What a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyEvent {
    /// It was pressed.
    KeyDown,
    /// It was released.
    KeyUp,
}

/// A client's message on [`DEVICE_CONTROL`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Control {
    /// A setting.
    Setting(Setting),
    /// A button: `power`, `back`, `home`, `menu`, `volumeup`, `volumedown` or one of the device's own.
    Button {
        /// Its command.
        command: String,
        /// Down or up.
        button_state: ButtonState,
    },
}

/// A setting that a client changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command")]
pub enum Setting {
    /// The posture of a foldable.
    #[serde(rename = "device_state")]
    DeviceState(super::device_info::DeviceState),
    /// The client shows a display now, and wants a picture of it.
    #[serde(rename = "display")]
    RefreshDisplay {
        /// The display's number.
        refresh_display: u32,
    },
    /// One more display.
    #[serde(rename = "add-display")]
    AddDisplay {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// Dots per inch.
        dpi: u32,
        /// In hertz.
        refresh_rate_hz: u32,
    },
    /// One display less.
    #[serde(rename = "remove-display")]
    RemoveDisplay {
        /// The display's number, as text.
        display_id: String,
    },
    /// The client's camera, as it is passed through.
    #[serde(rename = "camera_settings")]
    CameraSettings {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// In hertz.
        frame_rate: f64,
        /// `user` or `environment`, if the browser says.
        #[serde(default)]
        facing: Option<String>,
    },
}

/// What a button did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ButtonState {
    /// It was pressed.
    Down,
    /// It was released.
    Up,
}

/// A device's message on [`DEVICE_CONTROL`]. The last of each kind is repeated to a new client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "metadata")]
pub enum ControlEvent {
    /// The device starts.
    #[serde(rename = "VIRTUAL_DEVICE_BOOT_STARTED")]
    BootStarted,
    /// The device has started.
    #[serde(rename = "VIRTUAL_DEVICE_BOOT_COMPLETED")]
    BootCompleted,
    /// The picture turned.
    #[serde(rename = "VIRTUAL_DEVICE_SCREEN_CHANGED")]
    ScreenChanged {
        /// In degrees.
        rotation: i32,
    },
    /// A display went on or off.
    #[serde(rename = "VIRTUAL_DEVICE_DISPLAY_POWER_MODE_CHANGED")]
    DisplayPower {
        /// Its number, as text.
        display: String,
        /// On or off.
        mode: PowerMode,
    },
    /// The device wants a photo of the client's camera.
    #[serde(rename = "VIRTUAL_DEVICE_CAPTURE_IMAGE")]
    CaptureImage,
    /// The client may only view: nothing else that it sends is taken. An addition of ours, which
    /// pages that don't know it leave alone.
    #[serde(rename = "SWITCHBOARD_VIEW_ONLY")]
    ViewOnly,
}

/// Whether a display is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerMode {
    /// It is.
    On,
    /// It isn't.
    Off,
}

/// Reads 0, 1, false or true: the clients' pages differ.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Number(i64),
    }
    Ok(match Flag::deserialize(deserializer)? {
        Flag::Bool(flag) => flag,
        Flag::Number(number) => number != 0,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn bit<S: serde::Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_observed_input_message_is_read() {
        for text in [
            r#"{"type":"multi-touch","id":[0],"x":[12],"y":[34],"down":1,"device_label":"display_0"}"#,
            r#"{"type":"keyboard","keycode":"KeyA","event_type":"keydown"}"#,
            r#"{"type":"wheel","pixels":-3.5}"#,
            r#"{"type":"mouseMove","x":1,"y":-2}"#,
            r#"{"type":"mouseButton","button":0,"down":true}"#,
            r#"{"type":"mouseWheel","pixels":1}"#,
            r#"{"type":"gamepadKey","id":0,"button":3,"down":0}"#,
            r#"{"type":"gamepadMotion","button":1,"value":0.5}"#,
        ] {
            let input: Input = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let again: Input =
                serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap();
            assert_eq!(input, again);
        }
    }

    #[test]
    fn a_touch_of_a_page_from_before_touchpads_is_read() {
        let text = r#"{"type":"multi-touch","id":[1],"x":[3],"y":[4],"down":1,"slot":[0],"display_label":"display_1"}"#;
        assert_eq!(
            serde_json::from_str::<Input>(text).unwrap(),
            Input::MultiTouch {
                id: vec![1],
                x: vec![3.0],
                y: vec![4.0],
                down: true,
                device_label: "display_1".into(),
            }
        );
    }

    #[test]
    fn control_commands_are_told_from_buttons() {
        let read = |text: &str| serde_json::from_str::<Control>(text).unwrap();
        assert_eq!(
            read(r#"{"command":"display","refresh_display":1}"#),
            Control::Setting(Setting::RefreshDisplay { refresh_display: 1 })
        );
        assert_eq!(
            read(r#"{"command":"home","button_state":"down"}"#),
            Control::Button {
                command: "home".into(),
                button_state: ButtonState::Down
            }
        );
        assert!(matches!(
            read(r#"{"command":"device_state","lid_switch_open":true}"#),
            Control::Setting(Setting::DeviceState(state)) if state.lid_switch_open == Some(true)
        ));
    }

    #[test]
    fn events_have_the_names_that_the_web_client_knows() {
        let print = |event| serde_json::to_string(&event).unwrap();
        assert_eq!(
            print(ControlEvent::BootStarted),
            r#"{"event":"VIRTUAL_DEVICE_BOOT_STARTED"}"#
        );
        assert_eq!(
            print(ControlEvent::ScreenChanged { rotation: 90 }),
            r#"{"event":"VIRTUAL_DEVICE_SCREEN_CHANGED","metadata":{"rotation":90}}"#
        );
    }
}
