//! A recording of decisions: whatever the bytes are, reading ends, and what was read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise::decisions::recording::{Decoder, Encoder, Event};

fuzz_target!(|bytes: &[u8]| {
    let events = match Decoder::new(bytes) {
        Ok(decoder) => decoder,
        Err(malformed) => return assert!(!malformed.to_string().is_empty()),
    };
    let mut written = Vec::new();
    let mut encoder = Encoder::begin(events.pool(), &mut written);
    let mut read = Vec::new();
    for event in events {
        // What is behind a record that cannot be read means nothing.
        let Ok(event) = event else { break };
        match &event {
            Event::Policy(policy) => {
                encoder.policy(policy, &mut written);
            }
            Event::Decision(record, policy) => {
                let table = &record.table;
                assert_eq!(table.packed.len(), table.rows as usize * table.columns.len());
                // The writer knows the columns of its own version, and this recording may have others.
                if table.columns == rankwise_core::policy::Column::ALL {
                    encoder.decision(record, policy.map(|number| number as u64), &mut written);
                } else {
                    return;
                }
            }
            Event::Truth(id, truth) => encoder.truth(*id, truth, &mut written),
        }
        read.push(format!("{event:?}"));
    }
    let again = Decoder::new(&written).expect("a recording");
    let again: Vec<_> = again.map(|event| format!("{:?}", event.expect("a record"))).collect();
    assert_eq!(read, again);
});
