//! Which Debian package a GStreamer element is in.

/// Elements by their full name.
const EXACT: &[(&str, &[&str])] = &[
    (
        "gstreamer1.0-plugins-base",
        &[
            "appsink",
            "appsrc",
            "audioconvert",
            "audiorate",
            "audioresample",
            "audiotestsrc",
            "compositor",
            "decodebin",
            "decodebin3",
            "opusdec",
            "opusenc",
            "parsebin",
            "playbin",
            "theoradec",
            "uridecodebin",
            "uridecodebin3",
            "videoconvert",
            "videorate",
            "videoscale",
            "videotestsrc",
            "volume",
            "vorbisdec",
        ],
    ),
    (
        "gstreamer1.0-plugins-good",
        &[
            "autoaudiosrc",
            "autovideosrc",
            "avidemux",
            "capssetter",
            "deinterlace",
            "flvdemux",
            "jpegdec",
            "jpegenc",
            "level",
            "matroskademux",
            "matroskamux",
            "multifilesrc",
            "qtdemux",
            "souphttpsrc",
            "v4l2src",
            "videobox",
            "videocrop",
            "videoflip",
            "vp8dec",
            "vp8enc",
            "vp9dec",
            "vp9enc",
            "wavparse",
            "ximagesrc",
        ],
    ),
    ("gstreamer1.0-pulseaudio", &["pulsesrc", "pulsesink"]),
    ("gstreamer1.0-alsa", &["alsasrc", "alsasink"]),
    (
        "gstreamer1.0-x",
        &[
            "ximagesink",
            "xvimagesink",
            "textoverlay",
            "timeoverlay",
            "clockoverlay",
        ],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &[
            "av1dec",
            "av1enc",
            "av1parse",
            "h264parse",
            "h265parse",
            "openh264dec",
            "openh264enc",
            "tsdemux",
            "webrtcbin",
            "webrtcdsp",
        ],
    ),
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("gstreamer1.0-libcamera", &["libcamerasrc"]),
    ("gstreamer1.0-pipewire", &["pipewiresrc"]),
];
/// Families of elements by how their names begin.
const PREFIX: &[(&str, &str)] = &[
    ("rtp", "gstreamer1.0-plugins-good"),
    ("rtsp", "gstreamer1.0-plugins-good"),
    ("dtls", "gstreamer1.0-plugins-bad"),
    ("srtp", "gstreamer1.0-plugins-bad"),
    ("sctp", "gstreamer1.0-plugins-bad"),
    ("nice", "gstreamer1.0-nice"),
    ("avdec_", "gstreamer1.0-libav"),
    ("avenc_", "gstreamer1.0-libav"),
    ("vaapi", "gstreamer1.0-vaapi"),
    // These four show their elements only where there is a device for them.
    ("va", "gstreamer1.0-plugins-bad"),
    ("nvh26", "gstreamer1.0-plugins-bad"),
    ("nvav1", "gstreamer1.0-plugins-bad"),
    ("v4l2", "gstreamer1.0-plugins-good"),
];
/// Named like others, but in no package of Debian 12.
const NOWHERE: &[&str] = &["rtpav1pay", "rtpav1depay", "rtpgccbwe"];

/// The package of an element, or `None` for an element that this table doesn't know.
/// From `dpkg -S` on Debian 12 (gstreamer-notes.md, section 5).
pub(super) fn debian_package(element: &str) -> Option<&'static str> {
    if NOWHERE.contains(&element) {
        return None;
    }
    let exact = EXACT
        .iter()
        .find(|(_, elements)| elements.contains(&element));
    let prefix = PREFIX
        .iter()
        .find(|(prefix, _)| element.starts_with(prefix));
    exact
        .map(|(package, _)| *package)
        .or(prefix.map(|(_, package)| *package))
}

/// The command that installs the packages of these elements; `None` when none is known.
pub(super) fn install_command(elements: &[String]) -> Option<String> {
    let packages: std::collections::BTreeSet<_> = elements
        .iter()
        .filter_map(|element| debian_package(element))
        .collect();
    if packages.is_empty() {
        return None;
    }
    let packages: Vec<_> = packages.into_iter().collect();
    Some(format!("sudo apt install {}", packages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_package_once() {
        let elements = ["x264enc", "vp8enc", "vp9enc", "nicesrc"].map(String::from);
        assert_eq!(
            install_command(&elements).as_deref(),
            Some(
                "sudo apt install gstreamer1.0-nice gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
            )
        );
    }

    #[test]
    fn promises_no_package_that_debian_lacks() {
        assert_eq!(debian_package("rtpav1pay"), None);
        assert_eq!(install_command(&["frobnicate".to_owned()]), None);
    }
}
