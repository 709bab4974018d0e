//! What the probe writes, and its usage.

use super::LENIENT;
use super::common::{PATIENCE, process::Process};

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_writes_all_reports() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let lenient = "freeze_ms = 20000\nmin_frame_rate = 1\nlost_percent = 100\nconnect_ms = 20000\n\
        first_frame_ms = 20000\nlatency_p95_ms = 20000\naudio_gap_ms = 20000\nsilent_percent = 100\nav_offset_ms = 0";
    let suite = format!(
        "seconds = 2\n[thresholds]\n{lenient}\n[[scenario]]\nkind = 'device'\nname = 'good'\n\
         [[scenario]]\nkind = 'device'\nname = 'too slow <&'\n[scenario.thresholds]\nmin_frame_rate = 500\n"
    );
    std::fs::write(path("suite.toml"), suite).unwrap();
    let (suite, junit, html, svg) = (
        path("suite.toml"),
        path("junit.xml"),
        path("report.html"),
        path("curves.svg"),
    );
    let reports = [
        "--json", "-", "--junit", &junit, "--html", &html, "--svg", &svg,
    ];
    let mut process = Process::start(&[&["probe", "--suite", &suite], &reports[..]].concat());
    // Standard output has JSON only.
    let mut json = String::new();
    let end = |line: &str| {
        json.push_str(line);
        (line == "}").then_some(())
    };
    process.line("the end of the JSON", end).await;
    assert_eq!(process.exit_in(2 * PATIENCE).await.code(), Some(1));
    let log = process.log();
    let summary: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(summary["passed"], false);
    assert_eq!(summary["outcomes"][0]["passed"], true, "{summary:#}");
    let failure = &summary["outcomes"][1]["failures"][0];
    assert_eq!(failure["finding"]["check"], "frame_rate", "{failure:#}");
    assert!(log.contains("FAILED: 1 of 2"), "{log}");

    let junit = std::fs::read_to_string(&junit).unwrap();
    assert!(
        junit.contains("tests=\"2\"") && junit.contains("failures=\"1\""),
        "{junit}"
    );
    assert!(junit.contains("frame rate"), "{junit}");
    let html = std::fs::read_to_string(&html).unwrap();
    assert!(
        html.contains("too slow &lt;&amp;") && html.contains("<svg"),
        "{html}"
    );
    assert!(
        !html.contains("src=") && !html.contains("href="),
        "it needs nothing else"
    );
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("resident memory"),
        "{svg}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_test_runs_every_scenario_on_a_server_of_its_own() {
    let mut process = Process::start(&[&["probe"], LENIENT].concat());
    let mut passed = Vec::new();
    process
        .line_in(5 * PATIENCE, "the verdict", |line| {
            let name = line.split(": passed").next().filter(|name| *name != line);
            passed.extend(name.map(str::to_owned));
            (line == "PASSED").then_some(())
        })
        .await;
    assert_eq!(passed, ["device", "call", "mesh", "room", "gecko"]);
    assert_eq!(process.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_said_and_has_its_own_code() {
    let directory = tempfile::tempdir().unwrap();
    let suite = directory.path().join("suite.toml");
    std::fs::write(&suite, "[[scenario]]\nkind = 'devise'\n").unwrap();
    for (arguments, why) in [
        (&["call", "--churn", "2"][..], "in a call are two"),
        (&["device", "--viewers", "0"], "0 is not in"),
        (&["device", "--max-freeze", "3"], "write a time as 300ms"),
        (&["device", "--size", "100x100"], "160x120"),
        (&["device", "--send-only"], "give the server's URL"),
        (&["device", "ws://x", "--receive-only"], "--watch"),
        (
            &["--suite", suite.to_str().unwrap()],
            "scenario 1: `kind` is",
        ),
        (
            &["room", "--users", "2", "--publishers", "3"],
            "no more publishers",
        ),
    ] {
        let mut process = Process::start(&[&["probe"], arguments].concat());
        assert_eq!(process.exit().await.code(), Some(2), "{arguments:?}");
        process.logged(why).await;
    }
}
