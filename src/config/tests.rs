use std::io::Write;
use std::path::Path;

use super::*;

pub(super) fn load(file: &str, change: impl FnOnce(&mut Overrides)) -> Result<Config, ConfigError> {
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(file.as_bytes()).unwrap();
    let mut overrides = Overrides {
        file: Some(temporary.path().to_owned()),
        ..Overrides::default()
    };
    change(&mut overrides);
    Config::load(overrides)
}

pub(super) fn error(file: &str) -> String {
    load(file, |_| {}).unwrap_err().to_string()
}

#[test]
fn nothing_said_means_loopback_without_tls() {
    let config = Config::load(Overrides::default()).unwrap();
    assert_eq!(config.listen, [parse_listen(DEFAULT_LISTEN).unwrap()]);
    assert_eq!(config.limits, Limits::default());
    assert!(config.tls.is_none());
}

/// The table of docs/limits.md: the cells of each row.
fn documented_limits() -> Vec<Vec<&'static str>> {
    let lines = include_str!("../../docs/limits.md").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect()).collect()
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let rows = documented_limits();
    let keys: Vec<_> = rows
        .iter()
        .map(|row| row[0].trim_end_matches('`'))
        .collect();
    assert_eq!(keys, Limits::KEYS, "the first column of docs/limits.md");
    for (key, row) in keys.into_iter().zip(&rows) {
        let number = row[1].trim_end_matches(" s");
        let table: toml::Table = format!("it = {number}").parse().unwrap();
        let mut limits = Limits::default();
        limits.set(key, &table["it"]).unwrap();
        assert_eq!(limits, Limits::default(), "{key} isn't {number}");
    }
}

#[test]
fn every_limit_is_counted_and_reached_where_the_documentation_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [
        "src/server/metrics.rs",
        "src/server/metrics/now.rs",
        "src/server/tokens/meters.rs",
        "src/server/tokens/mod.rs",
        "src/dialect/cause.rs",
        "src/dialect/kurento/errors.rs",
    ];
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let sources = sources.map(read).concat();
    for row in documented_limits() {
        let (key, counters) = (row[0], row[4]);
        let counters = counters.split(", `").filter(|it| *it != "–");
        for counter in counters.map(|it| it.trim_matches('`')) {
            let (name, labels) = counter.split_once('{').unwrap_or((counter, ""));
            let name = name.trim_start_matches("switchboard_");
            let name = name.trim_end_matches("_total").trim_end_matches("_seconds");
            assert!(sources.contains(name), "{key}: {counter}");
            let named = ["cause=", "result=", "name="];
            let value = named.iter().find_map(|it| labels.strip_prefix(it));
            let label = value.map(|it| it.trim_end_matches('}'));
            assert!(
                label.is_none_or(|it| sources.contains(it)),
                "{key}: {counter}"
            );
        }
        let test = row[5].trim_matches('`');
        assert!(root.join(test).is_file(), "{key}: {test}");
    }
}

#[test]
fn every_limit_can_be_set_by_its_key() {
    let lines: Vec<String> = Limits::KEYS
        .iter()
        .map(|key| format!("{key} = 7"))
        .collect();
    let config = load(&format!("[limits]\n{}", lines.join("\n")), |_| {}).unwrap();
    let mut expected = Limits::default();
    for key in Limits::KEYS {
        expected.set(key, &toml::Value::Integer(7)).unwrap();
    }
    assert_eq!(config.limits, expected);
    assert_ne!(config.limits, Limits::default());
}

#[test]
fn errors_name_the_file_the_line_the_key_and_the_fix() {
    let cases = [
        (
            "listen = [\"nowhere\"]",
            ", line 1: listen: \"nowhere\" is no address; write IP:PORT",
        ),
        (
            "\n[limits]\nping_after = 0",
            ", line 3: limits.ping_after: must be a number of seconds above 0",
        ),
        (
            "\n[limits]\nqueue_messages = -3",
            ", line 3: limits.queue_messages: must be a whole number above 0",
        ),
        (
            "[limits]\npings = 3",
            ", line 2: limits.pings: unknown limit; the limits are connections, ",
        ),
        ("\n\nlissten = []", ", line 3: unknown field `lissten`"),
        (
            "[gstreamer]\npaths = [\"/a\", \"b\"]",
            ", line 2: gstreamer.paths: \"b\" is no path; write it as in a URL",
        ),
        ("[gstreamer]\npaths = [\"/a?b\"]", "\"/a?b\" is no path"),
        (
            "[tls]\nself_signed = true\nkey = \"k\"",
            "either self_signed = true, or both certificate and key",
        ),
        (
            "[media]\nthreads = 0",
            ", line 2: invalid value: integer `0`",
        ),
        (
            "[media]\nadvertise = [\"10.0.0\"]",
            "write an IP address, a host name, or stun",
        ),
        (
            "[kurento]\ncustom_request_url = \"http://hook.example\"",
            ", line 2: kurento.custom_request_url: \"http://hook.example\" would send tokens unencrypted",
        ),
        (
            "listen = [\"tls:127.0.0.1:1\"]",
            "there is no certificate; add --tls self-signed",
        ),
    ];
    for (file, expected) in cases {
        let error = error(file);
        assert!(error.contains(expected), "{file:?} gave {error:?}");
    }
}

#[test]
fn other_machines_are_let_in_only_on_request() {
    let open = |insecure| {
        load("listen = [\"0.0.0.0:1\"]", |overrides| {
            overrides.insecure = insecure
        })
    };
    let error = open(false).unwrap_err().to_string();
    assert!(
        error.contains("without encryption") && error.contains("--insecure"),
        "{error}"
    );
    assert!(open(true).is_ok());
    assert!(load("insecure = true\nlisten = [\"0.0.0.0:1\"]", |_| {}).is_ok());
}

#[test]
fn flags_go_before_the_file() {
    let file = "listen = [\"127.0.0.1:1\"]\nassets = \"a\"\n\
                [media]\nport = 9\nthreads = 9\ntcp_port = 9\nadvertise = [\"192.0.2.9\"]\n\
                interfaces = [\"eth*\"]\nno_interfaces = [\"eth1\"]";
    let config = load(file, |overrides| {
        overrides.listen = vec!["tls:[::1]:2".to_owned()];
        overrides.tls = Some(TlsFlag::SelfSigned);
        overrides.assets = Some("b".into());
        overrides.ice_servers = vec!["stun:s".to_owned()];
        overrides.wait_for_device = true;
        overrides.media_port = Some(2);
        overrides.media_threads = NonZeroUsize::new(3);
        overrides.media_tcp_port = Some(443);
        overrides.advertise = vec!["media.example.org".parse().unwrap()];
        overrides.interfaces.deny = vec!["eth2".parse().unwrap()];
    })
    .unwrap();
    assert_eq!(config.listen, [parse_listen("tls:[::1]:2").unwrap()]);
    assert_eq!(config.assets, Some("b".into()));
    assert_eq!(config.ice.servers[0].urls, ["stun:s"]);
    assert!(config.cuttlefish.wait_for_device);
    let media = Media {
        port: 2,
        threads: NonZeroUsize::new(3),
        tcp_port: Some(443),
        advertise: vec![Advertise::Name("media.example.org".to_owned())],
        interfaces: InterfaceRules {
            allow: vec!["eth*".parse().unwrap()],
            deny: vec!["eth2".parse().unwrap()],
        },
    };
    assert_eq!(config.media, media);
    assert!(
        matches!(config.tls, Some(TlsSource::SelfSigned { names, .. }) if names.contains(&"localhost".to_owned()))
    );
}

#[test]
fn paths_of_gstreamer_peers_are_added_to_the_known_ones() {
    let config = load("[gstreamer]\npaths = [\"/a/b\"]", |_| {}).unwrap();
    assert_eq!(
        config.gstreamer.paths,
        ["/", "/ws", "/signalling", "/signaling", "/a/b"]
    );
}

#[test]
fn old_clients_of_geckos_get_their_own_errors_on_request() {
    let config = |file| load(file, |_| {}).unwrap().gecko.legacy_progress_errors;
    assert!(!config("[gecko]"));
    assert!(config("[gecko]\nlegacy_progress_errors = true"));
}

#[test]
fn kurentos_pages_get_the_reference_servers_settings_unless_told_otherwise() {
    let config = |file| load(file, |_| {}).unwrap().kurento;
    assert_eq!(config(""), Kurento::default());
    let file = "[kurento]\ncustom_request_url = \"http://127.0.0.1:1/x\"\nthreshold_speaker = -40";
    let changed = Kurento {
        custom_request_url: Some(Uri::from_static("http://127.0.0.1:1/x")),
        threshold_speaker: -40,
        ..Kurento::default()
    };
    assert_eq!(config(file), changed);
}

#[test]
fn a_credential_is_never_printed() {
    let server = IceServer {
        urls: vec!["turn:x".to_owned()],
        username: Some("SECRETUSER".to_owned()),
        credential: Some("SECRETWORD".to_owned()),
    };
    assert!(!format!("{server:?}").contains("SECRET"));
}

#[test]
fn errors_in_ice_do_so_too() {
    let cases = [
        (
            "[[ice.servers]]\nurls = [\"http://x\"]",
            "must start with stun:, stuns:, turn: or turns:",
        ),
        (
            "[[ice.servers]]\nurls = [\"turn:x\"]",
            "needs a username and a credential",
        ),
        (
            "[[ice.servers]]\nurls = [\"stun://x\"]",
            "must be written as stun:HOST[:PORT]",
        ),
        (
            "\n[[ice.servers]]\nurls = [\"turn:x\"]\nusername = \"u\"",
            ", line 2: ice.servers: \"turn:x\" has only one of username and credential",
        ),
        (
            "[ice]\nsecret = \"s\"\nsecret_file = \"f\"",
            ", line 3: ice.secret_file: there is ice.secret as well",
        ),
        ("[ice]\nsecret = \"\"", ", line 2: ice.secret: it is empty"),
        (
            "[ice]\nsecret_file = \"/nonexistent\"",
            ", line 2: ice.secret_file: cannot read /nonexistent: ",
        ),
        (
            "[ice]\nlifetime = 5",
            ", line 2: ice.lifetime: must be a number of seconds, from 60 to ",
        ),
        (
            "[ice]\nsecret = \"s\"\nservers = [{ urls = [\"stun:x\"] }]",
            "ice.secret: no TURN server needs it; add one under [[ice.servers]]",
        ),
    ];
    for (file, expected) in cases {
        let error = error(file);
        assert!(error.contains(expected), "{file:?} gave {error:?}");
    }
}

#[test]
fn errors_in_accounts_do_so_too() {
    let cases = [
        (
            "\n[accounts]\nscopes = []",
            ", line 2: accounts: say who checks tokens by exactly one of [accounts.fxa]",
        ),
        (
            "[accounts.fxa]\n[accounts.static]\nfile = \"f\"",
            "accounts: say who checks tokens by exactly one",
        ),
        (
            "[accounts]\nscopes = [\"a\",\n\"b c\"]\n[accounts.fxa]",
            ", line 3: accounts.scopes: \"b c\" is no scope; write one word",
        ),
        (
            "[accounts.fxa]\nurl = \"http://accounts.example\"",
            ", line 2: accounts.fxa.url: \"http://accounts.example\" would send tokens unencrypted",
        ),
        (
            "[accounts.fxa]\nurl = \"accounts.example\"",
            "must start with https:// or http://",
        ),
        (
            "[accounts.introspection]\nurl = \"https://a.example\"",
            "missing field `client_id`",
        ),
        (
            "[accounts.jwt]\nissuer = \"https://a.example\"\naudience = \"b\"\nalgorithms = [\"HS256\"]",
            ", line 4: unknown variant `HS256`, expected one of `EdDSA`, `ES256`, `RS256`",
        ),
        (
            "[accounts.jwt]\nissuer = \"https://a.example\"\naudience = \"b\"\nalgorithms = []",
            ", line 4: accounts.jwt.algorithms: name at least one",
        ),
        (
            "[accounts.jwt]\nissuer = \"urn:a\"\naudience = \"b\"",
            ", line 2: accounts.jwt.issuer: ",
        ),
    ];
    for (file, expected) in cases {
        let error = error(file);
        assert!(error.contains(expected), "{file:?} gave {error:?}");
    }
}

#[test]
fn one_word_turns_accounts_on() {
    assert!(load("", |_| {}).unwrap().accounts.is_none());
    let accounts = load("[accounts.fxa]", |_| {}).unwrap().accounts.unwrap();
    let scopes: Vec<&str> = accounts.scopes.iter().map(Scope::as_str).collect();
    assert_eq!(scopes, DEFAULT_SCOPES);
    assert_eq!(accounts.oauth_uri.as_deref(), Some(DEFAULT_FXA));
    assert!(matches!(accounts.authority, Authority::Fxa { url } if url == DEFAULT_FXA));
}

#[test]
fn tokens_go_unencrypted_only_to_this_machine_or_on_request() {
    for url in ["http://localhost:1", "http://127.0.0.2", "http://[::1]:1/x"] {
        let file = format!("[accounts.fxa]\nurl = \"{url}\"");
        assert!(load(&file, |_| {}).is_ok(), "{url}");
    }
    let far = "[accounts.fxa]\nurl = \"http://accounts.example\"";
    assert!(load(&format!("insecure = true\n{far}"), |_| {}).is_ok());
    assert!(load(far, |overrides| overrides.insecure = true).is_ok());
}

#[test]
fn a_password_is_never_printed() {
    let file = "[accounts.introspection]\nurl = \"https://a.example\"\nclient_id = \"me\"\nclient_secret = \"LETMEIN\"";
    let config = load(file, |_| {}).unwrap();
    assert!(!format!("{config:?}").contains("LETMEIN"));
}

#[test]
fn a_turn_server_without_a_credential_has_the_shared_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "LETMEIN\n").unwrap();
    for secret in [
        "secret = \"LETMEIN\"".to_owned(),
        format!("secret_file = \"{}\"", file.display()),
    ] {
        let text = format!("[ice]\n{secret}\nlifetime = 600");
        let config = load(&text, |overrides| {
            overrides.ice_servers = vec!["turns:t?transport=tcp".to_owned()];
        })
        .unwrap();
        assert_eq!(config.ice.secret, Some(Secret::new("LETMEIN")));
        assert_eq!(config.ice.lifetime.as_secs(), 600);
        assert!(config.ice.mints());
        assert!(!format!("{config:?}").contains("LETMEIN"));
    }
    let of_its_own = "[[ice.servers]]\nurls = [\"turn:x\"]\nusername = \"u\"\ncredential = \"c\"";
    let config = load(of_its_own, |_| {}).unwrap();
    assert!(!config.ice.mints());
    assert_eq!(config.ice.lifetime, DEFAULT_LIFETIME);
}
