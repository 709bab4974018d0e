//! All results of `./dev bench` in one table, and as `target/bench/results.json`.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't run may stop")]

#[path = "common/report.rs"]
mod report;

use report::{Figure, Machine, Results};

/// The name of the file with all of them.
const ALL: &str = "results";

fn main() {
    let files = std::fs::read_dir(report::directory()).into_iter().flatten();
    let mut results: Vec<Results> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_stem().is_some_and(|stem| stem != ALL))
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        .collect();
    if results.is_empty() {
        println!("nothing was measured yet; run ./dev bench");
        return;
    }
    results.sort_by_key(|it| it.time);
    println!("\n{}\n", Machine::this().describe());
    println!("| benchmark | of what | whose | figure | value | target |");
    println!("|---|---|---|---|---|---|");
    for result in &results {
        for figure in &result.figures {
            println!("{}", row(&result.bench, figure));
        }
    }
    let path = report::directory().join(format!("{ALL}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&results).unwrap()).unwrap();
    println!("\nwith the machine, as JSON: {}", path.display());
}

fn row(bench: &str, it: &Figure) -> String {
    let target = match &it.target {
        Some((wanted, true)) => format!("{wanted}: met"),
        Some((wanted, false)) => format!("{wanted}: MISSED"),
        None => String::new(),
    };
    format!(
        "| {bench} | {} | {} | {} | {} {} | {target} |",
        it.case,
        it.subject,
        it.name,
        report::shown(it.value),
        it.unit
    )
}
