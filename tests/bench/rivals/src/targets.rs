//! What the figures are held against.

use rankwise_measure::figure::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::more("events_vs_dynamo_64", 2.3, 5.0),
    Target::more("events_vs_kvindex_64", 1.0, 2.0),
    Target::more("lookup_p50_vs_dynamo_64", 7.0, 25.0),
    Target::more("lookup_p50_vs_kvindex_64", 1.0, 3.5),
    Target::more("lookup_p99_vs_dynamo_64", 2.6, 8.0),
    Target::less("bytes_per_entry_64", 26.0, 20.0),
    Target::more("events_vs_dynamo_512", 2.3, 5.0),
    Target::more("events_vs_kvindex_512", 1.0, 2.0),
    Target::more("lookup_p50_vs_dynamo_512", 7.0, 25.0),
    Target::more("lookup_p50_vs_kvindex_512", 1.0, 3.5),
    Target::more("lookup_p99_vs_dynamo_512", 2.6, 8.0),
    Target::less("bytes_per_entry_512", 26.0, 20.0),
];
