//! Whatever a server or the other peer sends: a device's and a viewer's parsers don't panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard::dialect::cuttlefish::channels::{Control, Input};
use switchboard::dialect::cuttlefish::client::{DeviceClient, ViewerClient};
use switchboard::dialect::cuttlefish::device_info::DeviceInfo;
use switchboard::dialect::cuttlefish::payload::{FromClient, FromDevice};
use switchboard::hub::{EndpointId, Namespace};

fuzz_target!(|text: &str| {
    let id = EndpointId::new(Namespace::Device, "fuzz").expect("not empty");
    let mut device = DeviceClient::new(&id, &DeviceInfo::default());
    let _ = device.opened();
    let _ = device.frame(text);
    let _ = ViewerClient::new(&id).frame(text);
    let _ = serde_json::from_str::<Input>(text);
    let _ = serde_json::from_str::<Control>(text);
    // What is read and written again reads the same.
    if let Ok(message) = FromClient::parse(text) {
        assert_eq!(FromClient::parse(&message.to_json().to_string()).as_ref(), Ok(&message));
    }
    if let Ok(message) = FromDevice::parse(text) {
        assert_eq!(FromDevice::parse(&message.to_json().to_string()).as_ref(), Ok(&message));
    }
});
