//! What figures are held against.

use rankwise_measure::figure::Target;

pub(crate) const TARGETS: &[Target] = &[
    // The plan's bounds are 450, 1,600 and 11,000 ns, goals 350, 1,000 and 5,000, on a machine where a prototype took 401, 1,542 and
    // 10,836: that scan as a component, given as many columns. So, in picks of such a component, what a pick takes.
    Target::less("pick_vs_plain_64", 1.12, 0.87),
    Target::less("pick_vs_plain_512", 1.04, 0.65),
    Target::less("pick_vs_plain_4096", 1.015, 0.46),
    Target::less("swap_failed", 0.0, 0.0),
    Target::less("swap_mixed", 0.0, 0.0),
    Target::less("swap_upload_ms", 40.0, 25.0),
    Target::less("swap_adopt_us", 20.0, 5.0),
    Target::less("runaway_cut_cpu_ms", 3.0, 3.0),
    Target::less("false_traps", 0.0, 0.0),
    Target::less("runaway_failed", 0.0, 0.0),
    Target::less("runaway_others_p99_over_ms", 3.0, 3.0),
    Target::less("reader_pause_us_64", 26.0, 20.0),
    Target::less("reader_pause_us_512", 26.0, 20.0),
];

/// Prints a figure against its target.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    rankwise_measure::figure::print(TARGETS, name, value, unit);
}
