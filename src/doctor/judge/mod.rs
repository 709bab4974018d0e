//! Facts in, findings out. Pure.

mod machine;
mod network;
mod server;
#[cfg(test)]
mod tests;

use super::{Facts, Finding, Level, Topic};

/// What the facts mean.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = machine::judge(&facts.machine);
    findings.extend(network::addresses(&facts.addresses));
    findings.extend(machine::pair(&facts.machine.pair));
    let addresses = facts.addresses.all.as_deref().unwrap_or_default();
    findings.extend(network::stun(facts.stun.as_ref(), addresses, &facts.turn));
    findings.extend(network::turn(&facts.turn, facts.now));
    if let Some(server) = &facts.server {
        findings.extend(server::judge(server, facts.now));
    }
    findings
}

impl Finding {
    fn ok(topic: Topic, what: impl Into<String>) -> Self {
        Self::new(topic, Level::Ok, what)
    }

    fn warning(topic: Topic, what: impl Into<String>) -> Self {
        Self::new(topic, Level::Warning, what)
    }

    fn problem(topic: Topic, what: impl Into<String>) -> Self {
        Self::new(topic, Level::Problem, what)
    }

    fn new(topic: Topic, level: Level, what: impl Into<String>) -> Self {
        Self {
            topic,
            level,
            what: what.into(),
            why: None,
            fix: None,
            command: None,
        }
    }

    /// Why it matters, and what to do.
    fn because(mut self, why: impl Into<String>, fix: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self.fix = Some(fix.into());
        self
    }

    fn by(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    fn by_if_any(self, command: Option<String>) -> Self {
        match command {
            Some(command) => self.by(command),
            None => self,
        }
    }
}
