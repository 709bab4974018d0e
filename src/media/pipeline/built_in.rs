//! The pipeline files that are part of the program.

/// Their names and texts, sorted by name.
pub(super) const BUILT_IN: &[(&str, &str)] = &[
    ("camera", include_str!("../../../pipelines/camera.toml")),
    ("desktop", include_str!("../../../pipelines/desktop.toml")),
    ("file", include_str!("../../../pipelines/file.toml")),
    (
        "file-pass",
        include_str!("../../../pipelines/file-pass.toml"),
    ),
    ("jetson", include_str!("../../../pipelines/jetson.toml")),
    (
        "libcamera",
        include_str!("../../../pipelines/libcamera.toml"),
    ),
    (
        "microphone",
        include_str!("../../../pipelines/microphone.toml"),
    ),
    ("probe", include_str!("../../../pipelines/probe.toml")),
    ("rtp", include_str!("../../../pipelines/rtp.toml")),
    ("rtsp", include_str!("../../../pipelines/rtsp.toml")),
    ("screen", include_str!("../../../pipelines/screen.toml")),
    ("test", include_str!("../../../pipelines/test.toml")),
    (
        "test-clock",
        include_str!("../../../pipelines/test-clock.toml"),
    ),
    ("window", include_str!("../../../pipelines/window.toml")),
    ("xvfb", include_str!("../../../pipelines/xvfb.toml")),
];
