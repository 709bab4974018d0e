//! Finds out how many receiving ends a server holds: their number is doubled until something breaks,
//! and then the middle is tried again and again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::flow::{News, Tell};
use super::outcome::{Failure, Level, Outcome, Ramp};
use super::resources;
use super::run::{Cast, judged};

/// Ends whose media is decoded and judged. The others only count packets: decoding hundreds of
/// streams would measure this machine.
const JUDGED: u32 = 2;
/// How often it is looked whether all are served.
const LOOK: Duration = Duration::from_millis(100);
/// When the numbers that passed and that didn't are this close, it is enough: an eighth.
const CLOSE: u32 = 8;

/// Raises the number of receiving ends, up to `most`.
pub(super) async fn run(
    cast: &mut Cast<'_>,
    most: u32,
    outcome: &mut Outcome,
    tell: Tell<'_>,
) -> Result<(), Failure> {
    let mut ramp = Ramp::default();
    let mut broken: Option<u32> = None;
    let mut next = 1;
    let began = Instant::now();
    loop {
        tell(News::Step(format!("{next} receiving")));
        let (level, limit) = level(cast, next).await?;
        let passed = level.passed;
        ramp.levels.push(level);
        match passed {
            true => ramp.held = ramp.held.max(next),
            false => {
                broken = Some(next);
                ramp.limit = limit;
            }
        }
        next = match broken {
            _ if *cast.stop.borrow() => break,
            None if next >= most => break,
            None => (next * 2).min(most),
            Some(broken) if broken - ramp.held <= 1 + ramp.held / CLOSE => break,
            Some(broken) => ramp.held + (broken - ramp.held) / 2,
        };
    }
    ramp.all = broken.is_none();
    if ramp.held == 0 {
        let unserved = cast.unserved(began.elapsed()).await;
        outcome.failures.extend(unserved);
        if outcome.failures.is_empty() {
            let advice = "look at the levels in the report";
            let why = format!("not even one receiving end is served well: {}", ramp.limit);
            outcome.failures.push(Failure::new("the ramp", why, advice));
        }
    }
    outcome.connections = cast
        .receivers
        .iter()
        .flat_map(|peer| peer.reports())
        .collect();
    outcome.ramp = Some(ramp);
    Ok(())
}

/// Has so many ends receive for a while; what broke, if it isn't good enough.
async fn level(cast: &mut Cast<'_>, receivers: u32) -> Result<(Level, String), Failure> {
    settle(cast, receivers).await?;
    let patience = Instant::now() + cast.plan.patience();
    while served(cast, &HashMap::new()) < receivers && Instant::now() < patience {
        sleep(LOOK).await;
    }
    // From here on it counts.
    for peer in &cast.receivers {
        for (_, connection) in peer.spectator.connections() {
            let _ = connection.interval();
        }
    }
    let before = packets(cast);
    let (_, times) = resources::machine(None);
    let mut stop = cast.stop.clone();
    tokio::select! {
        () = sleep(cast.plan.length) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let (machine_percent, _) = resources::machine(times);
    let mut level = Level {
        receivers,
        served: served(cast, &before),
        frame_rate: f64::INFINITY,
        latency_p95_ms: None,
        machine_percent,
        passed: false,
    };
    let mut limit = match level.served < receivers {
        true => format!("{} of {receivers} got no media", receivers - level.served),
        false => String::new(),
    };
    for peer in cast.receivers.iter().take(JUDGED as usize) {
        for (_, connection) in peer.spectator.connections() {
            let report = connection.interval();
            for (_, video) in report.videos() {
                level.frame_rate = level.frame_rate.min(video.frame_rate);
                let latency = video.latency.map(|it| it.p95_ms);
                level.latency_p95_ms = [level.latency_p95_ms, latency]
                    .into_iter()
                    .flatten()
                    .reduce(f64::max);
            }
            if let Some(failure) = judged(&cast.plan.thresholds, &report).first()
                && limit.is_empty()
            {
                limit = failure.to_string();
            }
        }
    }
    if !level.frame_rate.is_finite() {
        level.frame_rate = 0.0;
    }
    level.passed = limit.is_empty();
    Ok((level, limit))
}

/// Lets ends come or leave until there are so many.
async fn settle(cast: &mut Cast<'_>, receivers: u32) -> Result<(), Failure> {
    let here = |cast: &Cast<'_>| u32::try_from(cast.receivers.len()).unwrap_or(u32::MAX);
    while here(cast) < receivers {
        let number = here(cast) + 1;
        let peer = cast.stage.receiver(number, number <= JUDGED).await?;
        cast.receivers.push(peer);
    }
    let mut leaving = cast.receivers.split_off(receivers as usize);
    for peer in &mut leaving {
        peer.tell_to_stop();
    }
    for peer in leaving {
        peer.stop().await;
    }
    Ok(())
}

/// Packets that each end has received.
fn packets(cast: &Cast<'_>) -> HashMap<String, u64> {
    let count = |peer: &super::ends::Peer| {
        let connections = peer.spectator.connections();
        let all = connections.iter().map(|(_, it)| it.progress().packets);
        (peer.spectator.name().to_owned(), all.sum())
    };
    cast.receivers.iter().map(count).collect()
}

/// How many ends have received more than before.
fn served(cast: &Cast<'_>, before: &HashMap<String, u64>) -> u32 {
    let now = packets(cast);
    let more = now
        .iter()
        .filter(|(name, packets)| **packets > before.get(*name).copied().unwrap_or(0));
    u32::try_from(more.count()).unwrap_or(u32::MAX)
}
