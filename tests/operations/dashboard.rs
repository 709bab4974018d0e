//! The dashboard and the alerts ask for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::process::Process;
use crate::common::{Answer, PATIENCE, Server, wait_until};

/// Labels that Prometheus adds to whatever it scrapes.
const ADDED: [&str; 2] = ["instance", "job"];
/// How our metrics begin, and those that all programs have.
const PREFIXES: [&str; 2] = ["switchboard_", "process_"];
/// What a histogram or a counter is called beside its family's name.
const KEYWORDS: [&str; 4] = ["by", "without", "on", "ignoring"];

/// Every series by its name: its labels, and the values that these have.
type Series = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A query, and where it stands.
struct Query {
    title: String,
    text: String,
    /// What its legend shows.
    legend: Vec<String>,
}

/// One name of a series in a query, and the labels that stand behind it.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    name: String,
    /// Each with the value that it must have, if it must have one.
    labels: Vec<(String, Option<String>)>,
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/grafana")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn dashboards_queries() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&file("switchboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let legend = target["legendFormat"].as_str().unwrap();
            queries.push(Query {
                title: panel["title"].as_str().unwrap().to_owned(),
                text: target["expr"].as_str().unwrap().to_owned(),
                legend: between(legend, "{{", "}}"),
            });
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(text) = variable["definition"].as_str() {
            // Of label_values(QUERY, LABEL) the query.
            let inner = text.trim_start_matches("label_values(");
            queries.push(Query {
                title: variable["name"].as_str().unwrap().to_owned(),
                text: inner.rsplit_once(',').unwrap().0.to_owned(),
                legend: Vec::new(),
            });
        }
    }
    queries
}

fn alerts_queries() -> Vec<Query> {
    let text = file("alerts.yml");
    let rules = text.split("- alert: ").skip(1).map(|rule| {
        let line = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key} in {rule}"))
                .trim()
                .to_owned()
        };
        assert!(!line("labels:").is_empty() && !line("summary:").is_empty());
        Query {
            title: rule.lines().next().unwrap().to_owned(),
            text: line("expr:"),
            legend: between(rule, "$labels.", " "),
        }
    });
    rules.collect()
}

/// What stands between a beginning and an end, each time.
fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let parts = text.split(begin).skip(1);
    let names = parts.filter_map(|part| part.split_once(end));
    names
        .map(|(name, _)| name.trim_end_matches('}').trim().to_owned())
        .collect()
}

/// Reads the text format.
fn series(text: &str) -> Series {
    let mut series = Series::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (id, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = id.split_once('{').unwrap_or((id, ""));
        let found = series.entry(name.to_owned()).or_default();
        for (label, value) in matchers(labels.trim_end_matches('}')) {
            found.entry(label).or_default().extend(value);
        }
    }
    series
}

/// `a="x",b=~"y"` as labels, with the values of those that are one.
fn matchers(text: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((label, after)) = rest.split_once(['=', '!']) {
        let (operator, after) = after.split_once('"').unwrap();
        let (value, after) = after.split_once('"').unwrap();
        let is_exact = operator.is_empty() && !value.starts_with('$');
        let label = label.trim_matches([',', ' ']).to_owned();
        found.push((label, is_exact.then(|| value.to_owned())));
        rest = after;
    }
    found
}

/// Every name of a series in a query, and the labels that it groups or joins by.
fn uses(query: &str) -> (Vec<Use>, Vec<String>) {
    let (mut uses, mut grouped) = (Vec::new(), Vec::new());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut rest = query;
    while let Some(start) = rest.find(is_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after.trim_start();
        if KEYWORDS.contains(&name) && rest.starts_with('(') {
            let (labels, after) = rest[1..].split_once(')').unwrap();
            grouped.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let mut labels = Vec::new();
            if let Some(inside) = rest.strip_prefix('{') {
                // No value here has a brace.
                let (text, after) = inside.split_once('}').unwrap();
                (labels, rest) = (matchers(text), after);
            }
            uses.push(Use {
                name: name.to_owned(),
                labels,
            });
        }
        // `[5m]` and `[$__rate_interval]` name nothing.
        if let Some(inside) = rest.strip_prefix('[') {
            rest = inside.split_once(']').unwrap().1;
        }
    }
    (uses, grouped)
}

/// What a query asks for that isn't there.
fn missing(query: &Query, series: &Series) -> Vec<String> {
    let (uses, grouped) = uses(&query.text);
    let mut missing = Vec::new();
    if uses.is_empty() {
        missing.push(format!("{}: no metric in {}", query.title, query.text));
    }
    let known = |labels: &BTreeMap<String, BTreeSet<String>>, label: &str| {
        ADDED.contains(&label) || labels.contains_key(label)
    };
    let mut all = BTreeMap::new();
    for Use { name, labels } in &uses {
        let Some(found) = series.get(name) else {
            missing.push(format!("{}: {name}", query.title));
            continue;
        };
        all.extend(found.clone());
        for (label, value) in labels {
            let values = found.get(label);
            let has = |value| values.is_some_and(|values| values.contains(value));
            if !known(found, label) || !value.as_ref().is_none_or(has) {
                missing.push(format!("{}: {name} with {label} {value:?}", query.title));
            }
        }
    }
    for label in grouped.iter().chain(&query.legend) {
        if !known(&all, label) {
            missing.push(format!("{}: label {label}", query.title));
        }
    }
    missing
}

/// What a peer tells that sends something.
async fn peers_series(server: &str) -> Series {
    let url = format!("ws://{server}/room");
    let room = ["--room", "r", "--user", "1", "--publish", "test"];
    let words = [&["room", &url, "--metrics", "0"], &room[..]].concat();
    let peer = Process::start(&words);
    peer.logged("metrics at http://").await;
    let log = peer.log();
    let (_, place) = log.split_once("metrics at http://").unwrap();
    let (place, _) = place.split_once("/metrics").unwrap();
    let mut told = Series::new();
    // An encoder is there as soon as it runs.
    wait_until(PATIENCE, async || {
        let mut stream = TcpStream::connect(place).await.unwrap();
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {place}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        told = series(&Answer::read(&mut stream).await.body);
        told.contains_key("switchboard_peer_encoders")
    })
    .await;
    told
}

#[tokio::test]
async fn every_query_asks_for_what_servers_and_peers_tell() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.toml");
    std::fs::write(&tokens, "[[tokens]]\ntoken = \"x\"\nuser = \"x\"\n").unwrap();
    let config = format!("[accounts.static]\nfile = {tokens:?}");
    let server = Server::configured(&config, &[]).await;
    let mut there = series(&server.get("/metrics").await.body);
    let has_peers = cfg!(feature = "peer");
    if has_peers {
        there.extend(peers_series(server.address()).await);
    }
    let queries = dashboards_queries().into_iter().chain(alerts_queries());
    let is_checked = |query: &Query| has_peers || !query.text.contains("switchboard_peer_");
    let checked: Vec<_> = queries.filter(is_checked).collect();
    assert!(checked.len() > 80, "{}", checked.len());
    let missing: Vec<_> = checked
        .iter()
        .flat_map(|query| missing(query, &there))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
