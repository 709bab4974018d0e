//! The signaling server.

use super::super::certificate::Certificate;
use super::super::server::{Distrust, Http, Refusal, Server, Socket, Told};
use super::{Finding, Topic};
use crate::dialect::Dialect;
use crate::peer::link::ServerUrl;

/// Days before its end from which on a certificate is to be renewed.
const SOON: i64 = 14;
const DAY: i64 = 86_400;
/// Seconds by which two clocks may differ: `Date` and the way take up to two.
const CLOCK: i64 = 10;
/// Seconds from which on tokens and relays' passwords count as old or not good yet.
const CLOCK_FAR: i64 = 60;

/// Everything that was seen of it.
pub(super) fn judge(server: &Server, now: i64) -> Vec<Finding> {
    let url = &server.url;
    let took = match &server.port {
        Ok(took) => took.as_millis(),
        Err(why) => return vec![closed(url, why)],
    };
    let text = format!("{}:{} answers in {took} ms", url.host(), url.port());
    let mut findings = vec![Finding::ok(Topic::Server, text)];
    if let Some(tls) = &server.tls {
        findings.push(certificate(
            url,
            tls.certificate.as_ref(),
            tls.trusted.as_ref().err(),
            now,
        ));
        if tls.trusted.is_err() {
            return findings;
        }
    }
    match &server.http {
        Ok(http) => findings.extend(self::http(http)),
        Err(why) => findings.push(
            Finding::warning(
                Topic::Server,
                format!("no answer to an HTTP request: {why}"),
            )
            .because(
                "it tells no ICE servers, and its clock can't be compared",
                "is it a signaling server, and is the port right?",
            ),
        ),
    }
    findings.push(told(&server.told, url));
    findings.extend(sockets(&server.sockets, url, server.http.as_ref().ok()));
    findings
}

fn closed(url: &ServerUrl, why: &str) -> Finding {
    let (host, port) = (url.host(), url.port());
    Finding::problem(Topic::Server, format!("{host}:{port} can't be reached: {why}"))
        .because(
            "without the signaling server nobody finds anybody",
            "is it running, does it listen on that address and not only on 127.0.0.1, and do firewalls let the \
             port through?",
        )
        .by(format!("switchboard serve --listen 0.0.0.0:{port}   # on {host}"))
}

fn certificate(
    url: &ServerUrl,
    certificate: Option<&Certificate>,
    distrust: Option<&Distrust>,
    now: i64,
) -> Finding {
    let host = url.host();
    let names = certificate.map_or(String::new(), |it| it.names.join(", "));
    let until = certificate.map_or("an unknown day", |it| it.last_day.as_str());
    let problem = |what: String, fix: String| {
        Finding::problem(Topic::Server, what).because("browsers and peers refuse to connect", fix)
    };
    // What peers that trust anyone don't see.
    let own = certificate.and_then(|it| match () {
        () if it.until < now => Some(Distrust::Expired),
        () if it.from > now => Some(Distrust::Early),
        () => None,
    });
    match distrust.or(own.as_ref()) {
        None => trusted(certificate, &names, now),
        Some(Distrust::Expired) => problem(
            format!("the certificate of {host} has expired: it was good until {until}"),
            "renew it on the server, which takes it up without a restart; one that the server made itself it \
             makes anew at its next start".to_owned(),
        )
        .by("certbot renew"),
        Some(Distrust::Early) => problem(
            format!("the certificate of {host} is not good yet"),
            "set the clock of this machine".to_owned(),
        )
        .by("timedatectl set-ntp true"),
        Some(Distrust::OtherName) => {
            let finding = problem(
                format!("the certificate is not for {host}; it is for {names}"),
                "connect by a name that it has, or make one for this name".to_owned(),
            );
            let name = certificate.and_then(|it| it.names.first());
            finding.by_if_any(name.map(|name| {
                format!("switchboard doctor wss://{}:{}", name.replace('*', "www"), url.port())
            }))
        }
        Some(Distrust::Unknown) => problem(
            format!("the certificate of {host} is signed by nobody whom this machine trusts"),
            "name the file of the certificate that signed it (the server's own one, if it made it itself); a \
             server must send the certificates in between, too".to_owned(),
        )
        .by(format!("switchboard doctor {} --ca FILE", url.origin())),
        Some(Distrust::Wrong(why)) => problem(
            format!("the certificate of {host} is not trusted: {why}"),
            "make another one".to_owned(),
        )
        .by("switchboard serve --tls self-signed"),
        Some(Distrust::NoTls(why)) => problem(
            format!("no TLS with {host}: {why}"),
            "does the server speak TLS on this port? Without TLS the URL begins with ws://".to_owned(),
        )
        .by(format!("switchboard doctor ws://{host}:{}", url.port())),
    }
}

fn trusted(certificate: Option<&Certificate>, names: &str, now: i64) -> Finding {
    let Some(certificate) = certificate else {
        return Finding::ok(Topic::Server, "its certificate is trusted");
    };
    let (days, last) = ((certificate.until - now) / DAY, &certificate.last_day);
    let text = format!("its certificate for {names} is good until {last} ({days} days)");
    if days >= SOON {
        return Finding::ok(Topic::Server, text);
    }
    Finding::warning(Topic::Server, text)
        .because(
            "when it has expired nobody connects any more",
            "renew it, and see why that doesn't happen by itself",
        )
        .by("certbot renew")
}

fn http(http: &Http) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(proxy) = &http.proxy {
        findings.push(Finding::ok(
            Topic::Server,
            format!("behind a proxy: {proxy}"),
        ));
    }
    if http.status.is_server_error() {
        let text = format!("it answers {} to GET /health", http.status);
        findings.push(
            Finding::problem(Topic::Server, text)
                .because(
                    "a proxy answers, but not the server behind it",
                    "start the server, and compare its port with the proxy's configuration",
                )
                .by("switchboard serve --listen 127.0.0.1:8080"),
        );
    }
    let Some(ahead) = http.clock_ahead else {
        return findings;
    };
    if ahead.abs() <= CLOCK {
        findings.push(Finding::ok(
            Topic::Server,
            "its clock and this machine's agree",
        ));
        return findings;
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "this machine's clock is {} s {direction} the server's",
        ahead.abs()
    );
    let finding = match ahead.abs() {
        ..=CLOCK_FAR => Finding::warning(Topic::Server, text),
        _ => Finding::problem(Topic::Server, text),
    };
    findings.push(
        finding
            .because(
                "tokens, relays' passwords and certificates are good for a time only",
                "set both clocks",
            )
            .by("timedatectl set-ntp true"),
    );
    findings
}

fn told(told: &Told, url: &ServerUrl) -> Finding {
    match told {
        Told::Servers(servers) if servers.iter().any(crate::config::IceServer::has_turn) => {
            Finding::ok(Topic::Server, "it names TURN servers to its peers")
        }
        Told::Servers(servers) => {
            let what = match servers.is_empty() {
                true => "it names no ICE servers",
                false => "it names STUN servers, but no TURN server",
            };
            Finding::warning(Topic::Server, what).because(
                "peers in different networks often don't reach each other without a relay; in one network all \
                 is well",
                "name a TURN server in its configuration file",
            )
            .by("[ice] and [[ice.servers]]   # see the README, \"Through NAT and firewalls\"")
        }
        Told::Unauthorized => unauthorized("its ICE servers are told to tokens only", url),
        Told::Unknown => Finding::ok(
            Topic::Server,
            "it has no /ice-servers: another program's server, whose peers need --ice-server",
        ),
        Told::Silent => Finding::warning(Topic::Server, "it doesn't answer GET /ice-servers")
            .because(
                "peers don't learn of STUN and TURN servers, and wait a second for it",
                "look into the server's log",
            ),
    }
}

fn unauthorized(what: &str, url: &ServerUrl) -> Finding {
    Finding::problem(Topic::Server, what)
        .because(
            "the server knows its peers by tokens, and got none or one that it doesn't take",
            "show a token that it takes, one that hasn't expired",
        )
        .by(format!("switchboard doctor {} --token TOKEN", url.origin()))
}

/// A server that speaks one of the languages needn't speak all.
fn sockets(sockets: &[Socket], url: &ServerUrl, http: Option<&Http>) -> Vec<Finding> {
    let works = |it: &&Socket| it.outcome.is_ok();
    let good: Vec<_> = sockets.iter().filter(works).map(called).collect();
    let mut findings = Vec::new();
    if !good.is_empty() {
        let text = format!("WebSockets open: {}", good.join(", "));
        findings.push(Finding::ok(Topic::Server, text));
    }
    let failed = sockets.iter().filter_map(|it| {
        let why = it.outcome.as_ref().err()?;
        Some(refused(it, why, !good.is_empty(), url, http))
    });
    findings.extend(failed);
    findings
}

fn refused(
    socket: &Socket,
    why: &Refusal,
    others_work: bool,
    url: &ServerUrl,
    http: Option<&Http>,
) -> Finding {
    let name = called(socket);
    let what = match why {
        Refusal::Status(401 | 403) => {
            return unauthorized(&format!("{name} wants a token"), url);
        }
        Refusal::Status(status) => format!("{name}: HTTP {status} instead of a WebSocket"),
        Refusal::Closed { code, reason } => {
            format!("{name}: the server closes it with {code} {reason}")
        }
        Refusal::Silent => format!("{name}: no answer in time"),
        Refusal::Strange => format!("{name}: the server speaks another language there"),
        Refusal::Broken(why) => format!("{name}: {why}"),
    };
    let finding = match others_work {
        true => Finding::warning(Topic::Server, what.trim_end()),
        false => Finding::problem(Topic::Server, what.trim_end()),
    };
    match (others_work, why) {
        (true, Refusal::Status(_) | Refusal::Strange | Refusal::Closed { .. }) => finding.because(
            "peers of this language can't use this server",
            "another program's server may not know it; if it is ours, a proxy must pass this path on",
        )
        .by(format!("location {} {{ proxy_pass http://127.0.0.1:8080; … }}   # nginx", socket.path)),
        (false, Refusal::Status(status)) if *status == 404 && http.is_some_and(|it| it.status == 404) => {
            finding.because(
                "there is no signaling server at this address, or it is below another path",
                "compare the URL with the proxy's configuration",
            )
            .by(format!("switchboard doctor {}/PATH", url.origin()))
        }
        (_, Refusal::Status(_) | Refusal::Broken(_) | Refusal::Closed { .. }) => finding.because(
            "a proxy in between doesn't pass WebSockets on, or the server ends them",
            "let the proxy pass the upgrade on (nginx: with these three lines)",
        )
        .by("proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"),
        (_, Refusal::Silent | Refusal::Strange) => finding.because(
            "a peer waits for the server's answer in vain",
            "look into the server's log; a proxy that keeps data back must not (nginx: proxy_buffering off)",
        ),
    }
}

fn called(socket: &Socket) -> String {
    let language = match socket.dialect {
        Some(Dialect::Cuttlefish) => "Cuttlefish",
        Some(Dialect::GStreamer) => "GStreamer",
        Some(Dialect::Gecko) => "gecko",
        Some(Dialect::Kurento) => "Kurento",
        None => return socket.path.clone(),
    };
    format!("{language} at {}", socket.path)
}
