//! What is counted of tokens, for `/metrics`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Counters of checks. Clones count together.
#[derive(Debug, Clone)]
pub struct Meters {
    checks: Family<Check, Counter>,
    pub(super) cache_hits: Counter,
    time: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    kind: &'static str,
    result: &'static str,
}

/// What comes of a check.
const RESULTS: [&str; 4] = ["accepted", "invalid", "scope", "unreachable"];

impl Meters {
    /// Checks by this kind of authority are going to come: until then each result is there with 0.
    pub(super) fn expect(&self, kind: &'static str) {
        for result in RESULTS {
            self.checks.get_or_create_owned(&Check { kind, result });
        }
    }

    pub(super) fn checked(&self, kind: &'static str, result: &'static str) {
        self.checks.get_or_create(&Check { kind, result }).inc();
    }

    /// An authority answered after so long.
    pub(super) fn took(&self, time: Duration) {
        self.time.observe(time.as_secs_f64());
    }

    /// Adds everything to a registry.
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "token_checks",
            "Tokens checked, by kind of authority and result",
            self.checks.clone(),
        );
        to.register(
            "token_cache_hits",
            "Tokens whose verdict was remembered",
            self.cache_hits.clone(),
        );
        to.register_with_unit(
            "token_check",
            "How long authorities took to answer",
            Unit::Seconds,
            self.time.clone(),
        );
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            checks: Family::default(),
            cache_hits: Counter::default(),
            // From 0.1 ms, a signature, to 6.5 s, more than the default deadline.
            time: Histogram::new(exponential_buckets(0.0001, 2.0, 17)),
        }
    }
}
