//! What the demo shows: a line while it runs, a table at the end. All figures are the engines' own.

use std::io::{IsTerminal, Write};

use rankwise_sim::{Fleet, Served};

/// The figures of one run.
pub(super) struct Report {
    policy: &'static str,
    requests: usize,
    prompt_tokens: u64,
    cached_tokens: u64,
    first_token_us: Vec<u64>,
    per_rank: Vec<(String, usize)>,
}

impl Report {
    /// Of what the fleet has served since its logs were cleared.
    pub(super) fn of(policy: &'static str, fleet: &Fleet) -> Self {
        let mut report = Self {
            policy,
            requests: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            first_token_us: Vec::new(),
            per_rank: Vec::new(),
        };
        for (number, worker) in fleet.workers().iter().enumerate() {
            let served = worker.served();
            for rank in 0..worker.stats().len() {
                let count = served.iter().filter(|one| one.rank as usize == rank).count();
                report.per_rank.push((format!("sim-{number} rank {rank}"), count));
            }
            report.add(&served);
        }
        report.first_token_us.sort_unstable();
        report
    }

    fn add(&mut self, served: &[Served]) {
        self.requests += served.len();
        self.prompt_tokens += served.iter().map(|one| u64::from(one.prompt_tokens)).sum::<u64>();
        self.cached_tokens += served.iter().map(|one| u64::from(one.cached_tokens)).sum::<u64>();
        self.first_token_us.extend(served.iter().map(|one| one.first_token_us));
    }

    fn cached_share(&self) -> f64 {
        100.0 * self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64
    }

    fn first_token_ms(&self, percent: usize) -> f64 {
        let last = self.first_token_us.len().saturating_sub(1);
        let at = self.first_token_us.get(last * percent / 100).copied().unwrap_or(0);
        at as f64 / 1000.0
    }
}

/// One line that tells how far a run is.
pub(super) fn progress(policy: &'static str, done: usize, of: usize, fleet: &Fleet) {
    const WIDTH: usize = 24;
    let report = Report::of(policy, fleet);
    let filled = WIDTH * done / of.max(1);
    let line = format!(
        "  {policy:<12} [{}{}] {done:>5}/{of}   cached tokens {:>5.1} %   first token p50 {:>6.0} ms",
        "#".repeat(filled),
        ".".repeat(WIDTH - filled),
        report.cached_share(),
        report.first_token_ms(50),
    );
    let mut out = std::io::stdout();
    let end = if out.is_terminal() { '\r' } else { '\n' };
    // A closed pipe is no reason to fail.
    let _ = write!(out, "{line}{end}").and_then(|()| out.flush());
}

/// Leaves the last line standing.
pub(super) fn progress_end() {
    if std::io::stdout().is_terminal() {
        println!();
    }
}

/// The comparison.
pub(super) fn table(reports: &[Report]) {
    let row = |name: &str, cell: &dyn Fn(&Report) -> String| {
        let cells: String = reports.iter().map(|report| format!("{:>16}", cell(report))).collect();
        println!("  {name:<38}{cells}");
    };
    println!();
    row("", &|report| report.policy.to_owned());
    row("requests", &|report| report.requests.to_string());
    row("prompt tokens found cached", &|report| format!("{:.1} %", report.cached_share()));
    row("prompt tokens computed", &|report| (report.prompt_tokens - report.cached_tokens).to_string());
    row("time to first token, p50 (simulated)", &|report| format!("{:.0} ms", report.first_token_ms(50)));
    row("time to first token, p99 (simulated)", &|report| format!("{:.0} ms", report.first_token_ms(99)));
    println!("  requests per dp rank");
    for at in 0..reports.first().map_or(0, |report| report.per_rank.len()) {
        row(&format!("    {}", reports[0].per_rank[at].0), &|report| report.per_rank[at].1.to_string());
    }
    println!();
    println!(
        "  round-robin takes the next worker and lets its engine choose the rank, whatever is cached where."
    );
    println!(
        "  kv sends each request to the rank with the least left to compute, by the engines' own cache events.\n"
    );
}
