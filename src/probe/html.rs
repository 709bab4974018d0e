//! The outcome as one web page that needs nothing else: figures, tables and curves.

use std::fmt::Write as _;

use super::judge::{Percentiles, Report};
use super::outcome::{Outcome, Summary};
use super::plot::{self, PlotError};

/// How the page looks.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}table{border-collapse:collapse;margin:1rem 0;font-size:14px}\
th,td{border-bottom:1px solid #d8dee6;padding:.25rem .7rem;text-align:left;vertical-align:top}td.n{text-align:right}\
.ok{color:#19752f}.bad{color:#b3261e}.advice{color:#5a6675}svg{max-width:100%;height:auto}";

/// The page.
///
/// # Errors
/// If a figure can't be drawn.
pub fn page(summary: &Summary) -> Result<String, PlotError> {
    let mut page = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    let verdict = verdict(summary.passed);
    let _ = write!(
        page,
        "<title>switchboard probe: {verdict}</title><style>{STYLE}</style>\
         <h1>switchboard probe: {}</h1><p>{}</p>",
        marked(summary.passed),
        escaped(&summary.program)
    );
    for outcome in &summary.outcomes {
        section(&mut page, outcome)?;
    }
    page.push_str("</html>\n");
    Ok(page)
}

fn section(page: &mut String, outcome: &Outcome) -> Result<(), PlotError> {
    let _ = write!(
        page,
        "<h2>{}: {}</h2><p>{} at {}, {:.1} s altogether</p>",
        escaped(&outcome.name),
        marked(outcome.passed),
        escaped(&outcome.description),
        escaped(&outcome.server),
        outcome.seconds
    );
    if !outcome.failures.is_empty() {
        page.push_str("<ul>");
        for failure in &outcome.failures {
            let (what, advice) = (escaped(&failure.to_string()), escaped(&failure.advice));
            let _ = write!(
                page,
                "<li><span class=\"bad\">{what}</span><br><span class=\"advice\">{advice}</span>"
            );
        }
        page.push_str("</ul>");
    }
    connections(page, &outcome.connections);
    extras(page, outcome);
    if !outcome.connections.is_empty() {
        let resources = outcome.resources.samples.len() > 1;
        page.push_str(&plot::figure(outcome, &[], resources)?);
    }
    Ok(())
}

fn connections(page: &mut String, reports: &[Report]) {
    if reports.is_empty() {
        return;
    }
    page.push_str(
        "<table><tr><th>connection<th>signaled<th>checked<th>connected<th>first packet<th>first frame\
         <th>candidates<th>round trip",
    );
    for report in reports {
        let phases = &report.phases;
        let _ = write!(page, "<tr><td>{}", escaped(&report.name));
        for time in [
            phases.signaled_ms,
            phases.checked_ms,
            phases.connected_ms,
            phases.first_packet_ms,
            phases.first_frame_ms,
        ] {
            let _ = write!(page, "<td class=n>{}", ms(time));
        }
        let path = &report.connection;
        let _ = write!(
            page,
            "<td>{} – {}<td class=n>{}",
            escaped(&path.local_candidate),
            escaped(&path.remote_candidate),
            ms(path.round_trip_ms)
        );
    }
    page.push_str("</table>");
    streams(page, reports);
}

fn streams(page: &mut String, reports: &[Report]) {
    page.push_str(
        "<table><tr><th>stream<th>codec<th>pictures<th>lost<th>repeated<th>out of order\
         <th>corrupt<th>rate<th>longest freeze<th>latency p50 / p95 / p99<th>Mbit/s<th>packets lost",
    );
    for report in reports {
        for stream in &report.streams {
            let name = escaped(&format!("{} {}", report.name, stream.id));
            let traffic = stream.traffic.clone().unwrap_or_default();
            let codec = escaped(traffic.codec.as_deref().unwrap_or("–"));
            let _ = write!(page, "<tr><td>{name}<td>{codec}");
            match (&stream.video, &stream.audio) {
                (Some(video), _) => {
                    let it = &video.frames;
                    let _ = write!(
                        page,
                        "<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}\
                         <td class=n>{:.1} /s<td class=n>{:.0} ms<td class=n>{}",
                        it.received,
                        it.lost,
                        it.repeated,
                        it.out_of_order,
                        it.corrupt,
                        video.frame_rate,
                        video.longest_freeze_ms,
                        percentiles(video.latency.as_ref())
                    );
                }
                (None, Some(audio)) => {
                    let _ = write!(
                        page,
                        "<td colspan=5>sound: {} gaps<td>–<td class=n>{:.0} ms<td class=n>{}",
                        audio.gaps,
                        audio.longest_gap_ms,
                        percentiles(audio.latency.as_ref())
                    );
                }
                (None, None) => page.push_str("<td colspan=8>"),
            }
            let _ = write!(
                page,
                "<td class=n>{:.2}<td class=n>{}",
                traffic.bitrate / 1e6,
                traffic.lost
            );
        }
    }
    page.push_str("</table>");
}

/// What only some scenarios have.
fn extras(page: &mut String, outcome: &Outcome) {
    if let Some(echo) = &outcome.echo {
        let times = percentiles(echo.round_trip.as_ref());
        let (sent, returned) = (echo.sent, echo.returned);
        let _ = write!(page, "<p>Echo: {returned} of {sent} came back, {times}</p>");
    }
    if let Some(churn) = &outcome.churn {
        let (joins, seen) = (churn.joins, churn.seen);
        let _ = write!(
            page,
            "<p>{joins} came and left, {seen} of them saw a picture</p>"
        );
    }
    if let Some(ramp) = &outcome.ramp {
        let _ = write!(
            page,
            "<p>{} receiving ends were served well. {}</p><table><tr><th>receiving<th>served\
             <th>rate<th>latency p95<th>machine<th>",
            ramp.held,
            escaped(&ramp.limit)
        );
        for level in &ramp.levels {
            let _ = write!(
                page,
                "<tr><td class=n>{}<td class=n>{}<td class=n>{:.1} /s<td class=n>{}<td class=n>{} %<td>{}",
                level.receivers,
                level.served,
                level.frame_rate,
                ms(level.latency_p95_ms),
                level.machine_percent.unwrap_or_default(),
                marked(level.passed)
            );
        }
        page.push_str("</table>");
    }
    if !outcome.resources.growth.is_empty() {
        page.push_str("<table><tr><th>of this process<th>before<th>after<th>at most<th>");
        for it in &outcome.resources.growth {
            let _ = write!(
                page,
                "<tr><td>{} ({})<td class=n>{:.0}<td class=n>{:.0}<td class=n>{:.0}<td>{}",
                it.what,
                it.unit,
                it.before,
                it.after,
                it.limit,
                marked(it.flat)
            );
        }
        page.push_str("</table>");
    }
}

fn percentiles(times: Option<&Percentiles>) -> String {
    times.map_or("–".to_owned(), |it| {
        format!("{:.0} / {:.0} / {:.0} ms", it.p50_ms, it.p95_ms, it.p99_ms)
    })
}

fn ms(time: Option<f64>) -> String {
    time.map_or("–".to_owned(), |ms| format!("{ms:.0} ms"))
}

const fn verdict(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

fn marked(passed: bool) -> String {
    let class = if passed { "ok" } else { "bad" };
    format!("<span class=\"{class}\">{}</span>", verdict(passed))
}

/// Ids come from strangers.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_id_is_no_markup() {
        assert_eq!(escaped("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
    }
}
