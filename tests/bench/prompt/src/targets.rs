//! What the figures are held against.

use rankwise_measure::figure::{self, Target};

const TARGETS: &[Target] = &[
    Target::more("warm_8k_ratio", 400.0, 700.0),
    Target::more("warm_64k_ratio", 1500.0, 2800.0),
    Target::more("warm_128k_ratio", 2000.0, 3400.0),
    Target::more("template_64k_ratio", 250.0, 600.0),
    Target::more("cold_64k_ratio", 80.0, 130.0),
    Target::less("pin_1mb_us", 2.0, 1.0),
    Target::less("stall_cold_128k_ms", 1.0, 0.5),
    Target::less("stall_ids_128k_ms", 1.0, 0.5),
    Target::less("stall_known_128k_ms", 1.0, 0.5),
    Target::less("cache_over_budget", 1.0, 1.0),
    Target::less("rss_over_budget", 1.5, 1.2),
    Target::less("rss_growth_mib", 16.0, 4.0),
];

pub(crate) fn print(name: &str, value: f64, unit: &str) {
    figure::print(TARGETS, name, value, unit);
}
