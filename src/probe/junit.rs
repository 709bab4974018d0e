//! The outcome for continuous integration: JUnit's XML, a test case for each scenario.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::outcome::{Outcome, Summary};

/// The XML.
///
/// # Errors
/// If it can't be written, which memory can't cause.
pub fn xml(summary: &Summary) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("switchboard probe");
    let mut suite = TestSuite::new("switchboard probe");
    for outcome in &summary.outcomes {
        suite.add_test_case(case(outcome));
    }
    report.add_test_suite(suite);
    report.to_string()
}

fn case(outcome: &Outcome) -> TestCase {
    let status = match &outcome.failures[..] {
        [] => TestCaseStatus::success(),
        [first, ..] => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let all = outcome
                .failures
                .iter()
                .map(|failure| format!("{failure}\n  {}", failure.advice));
            status
                .set_message(first.to_string())
                .set_type(first.finding.as_ref().map_or("connection", |_| "threshold"))
                .set_description(all.collect::<Vec<_>>().join("\n"));
            status
        }
    };
    let mut case = TestCase::new(outcome.name.clone(), status);
    let seconds = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    case.set_classname(format!("probe.{}", outcome.scenario))
        .set_time(seconds);
    case
}
