//! Which package a GStreamer element is in, by the system that this is.

use std::collections::BTreeSet;
use std::sync::OnceLock;

/// A family of systems whose packages have the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Debian, Ubuntu and what is made of them.
    Debian,
    /// Fedora; Red Hat's and its copies with the same repositories.
    Fedora,
    /// Arch and what is made of it.
    Arch,
    /// macOS with Homebrew.
    MacOs,
    /// One whose packages we don't know.
    Other,
}

/// What Debian's packages are called elsewhere: in Fedora (those of `-ugly` and `-libav` are in RPM Fusion),
/// Arch, and Homebrew.
const ELSEWHERE: &[(&str, [&str; 3])] = &[
    (
        "gstreamer1.0-plugins-base",
        ["gstreamer1-plugins-base", "gst-plugins-base", "gstreamer"],
    ),
    (
        "gstreamer1.0-plugins-good",
        ["gstreamer1-plugins-good", "gst-plugins-good", "gstreamer"],
    ),
    (
        "gstreamer1.0-plugins-bad",
        [
            "gstreamer1-plugins-bad-free",
            "gst-plugins-bad",
            "gstreamer",
        ],
    ),
    (
        "gstreamer1.0-plugins-ugly",
        ["gstreamer1-plugins-ugly", "gst-plugins-ugly", "gstreamer"],
    ),
    (
        "gstreamer1.0-libav",
        ["gstreamer1-plugin-libav", "gst-libav", "gstreamer"],
    ),
    (
        "gstreamer1.0-nice",
        ["libnice-gstreamer1", "libnice", "libnice-gstreamer"],
    ),
    (
        "gstreamer1.0-pulseaudio",
        ["gstreamer1-plugins-good", "gst-plugins-good", "gstreamer"],
    ),
    (
        "gstreamer1.0-alsa",
        ["gstreamer1-plugins-base", "gst-plugins-base", "gstreamer"],
    ),
    (
        "gstreamer1.0-x",
        ["gstreamer1-plugins-base", "gst-plugins-base", "gstreamer"],
    ),
    (
        "gstreamer1.0-libcamera",
        ["libcamera-gstreamer", "gst-plugin-libcamera", ""],
    ),
    (
        "gstreamer1.0-pipewire",
        ["pipewire-gstreamer", "gst-plugin-pipewire", ""],
    ),
    (
        "gstreamer1.0-vaapi",
        ["gstreamer1-vaapi", "gstreamer-vaapi", ""],
    ),
    // NVIDIA's own, for its boards only.
    ("nvidia-l4t-gstreamer", ["", "", ""]),
];

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
            "mp4mux",
            "multifilesrc",
            "qtdemux",
            "souphttpsrc",
            "udpsink",
            "udpsrc",
            "v4l2src",
            "videobox",
            "videocrop",
            "videoflip",
            "vp8dec",
            "vp8enc",
            "vp9dec",
            "vp9enc",
            "wavparse",
            "webmmux",
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
    // NVIDIA's own, for the Jetson.
    ("nvidia-l4t-gstreamer", &["nvarguscamerasrc", "nvvidconv"]),
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

/// The package of Debian that has an element, or `None` for an element that this table doesn't know.
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

impl System {
    /// The one that this runs on.
    pub(super) fn here() -> Self {
        static HERE: OnceLock<System> = OnceLock::new();
        *HERE.get_or_init(|| {
            if cfg!(target_os = "macos") {
                return Self::MacOs;
            }
            // A system without the file is one that we don't know.
            Self::of(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
        })
    }

    /// What `/etc/os-release` says: the first of `ID` and then of `ID_LIKE` that is known.
    fn of(os_release: &str) -> Self {
        let value = |key: &str| {
            let mut lines = os_release.lines();
            let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value
                .unwrap_or_default()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        let names = format!("{} {}", value("ID"), value("ID_LIKE"));
        let known = names.split_whitespace().find_map(|name| match name {
            "debian" | "ubuntu" | "raspbian" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            _ => None,
        });
        known.unwrap_or(Self::Other)
    }

    /// What the package of Debian is called here.
    fn name_of(self, debian: &'static str) -> Option<&'static str> {
        let place = match self {
            Self::Debian => return Some(debian),
            Self::Fedora => 0,
            Self::Arch => 1,
            Self::MacOs => 2,
            Self::Other => return None,
        };
        let row = ELSEWHERE.iter().find(|(package, _)| *package == debian);
        row.map(|(_, names)| names[place])
            .filter(|name| !name.is_empty())
    }

    const fn command(self) -> &'static str {
        match self {
            Self::Debian | Self::Other => "sudo apt install",
            Self::Fedora => "sudo dnf install",
            Self::Arch => "sudo pacman -S",
            Self::MacOs => "brew install",
        }
    }

    /// The package of an element; `None` if none is known.
    pub(super) fn package(self, element: &str) -> Option<&'static str> {
        self.name_of(debian_package(element)?)
    }

    /// The command that installs the packages of these elements; `None` when none is known.
    pub(super) fn install_command<T: AsRef<str>>(self, elements: &[T]) -> Option<String> {
        let packages: BTreeSet<_> = elements
            .iter()
            .filter_map(|element| self.package(element.as_ref()))
            .collect();
        if packages.is_empty() {
            return None;
        }
        let packages: Vec<_> = packages.into_iter().collect();
        Some(format!("{} {}", self.command(), packages.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_package_once_as_the_system_calls_it() {
        let elements = ["x264enc", "vp8enc", "vp9enc", "nicesrc"];
        for (system, expected) in [
            (
                System::Debian,
                "sudo apt install gstreamer1.0-nice gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly",
            ),
            (
                System::Fedora,
                "sudo dnf install gstreamer1-plugins-good gstreamer1-plugins-ugly libnice-gstreamer1",
            ),
            (
                System::Arch,
                "sudo pacman -S gst-plugins-good gst-plugins-ugly libnice",
            ),
            (System::MacOs, "brew install gstreamer libnice-gstreamer"),
        ] {
            assert_eq!(system.install_command(&elements).as_deref(), Some(expected));
        }
        assert_eq!(System::Other.install_command(&elements), None);
    }

    #[test]
    fn every_package_of_debian_has_a_row_for_other_systems() {
        let packages = EXACT.iter().map(|(package, _)| *package);
        for package in packages.chain(PREFIX.iter().map(|(_, package)| *package)) {
            assert!(
                ELSEWHERE.iter().any(|(debian, _)| *debian == package),
                "{package}"
            );
        }
    }

    #[test]
    fn promises_no_package_that_debian_lacks() {
        assert_eq!(debian_package("rtpav1pay"), None);
        assert_eq!(System::Debian.install_command(&["frobnicate"]), None);
    }

    #[test]
    fn the_system_says_its_family_in_os_release() {
        for (text, system) in [
            ("NAME=\"Debian GNU/Linux\"\nID=debian\n", System::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Debian),
            ("ID=fedora\n", System::Fedora),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                System::Fedora,
            ),
            ("ID=manjaro\nID_LIKE=arch\n", System::Arch),
            ("ID=alpine\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(System::of(text), system, "{text}");
        }
    }
}
