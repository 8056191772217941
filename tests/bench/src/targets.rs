//! What figures are held against.

use rankwise_measure::figure::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::less("pick_p50_64", 450.0, 350.0),
    Target::less("pick_p50_512", 1600.0, 1000.0),
    Target::less("pick_p50_4096", 11_000.0, 5000.0),
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
