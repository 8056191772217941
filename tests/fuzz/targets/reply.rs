//! An engine's answer, plain or streamed, in chunks of any size: how it is cut tells nothing new.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_engines::reply::{BodyScanner, StreamScanner};

fuzz_target!(|input: &[u8]| {
    let Some((chunk, answer)) = input.split_first() else { return };
    let chunk = usize::from(*chunk) + 1;
    for bytes_max in [64, 1 << 16] {
        let (mut whole, mut cut) = (StreamScanner::new(bytes_max), StreamScanner::new(bytes_max));
        whole.push(answer);
        answer.chunks(chunk).for_each(|part| cut.push(part));
        assert_eq!(whole.finish(), cut.finish());

        let (mut whole, mut cut) = (BodyScanner::new(bytes_max), BodyScanner::new(bytes_max));
        whole.push(answer);
        answer.chunks(chunk).for_each(|part| cut.push(part));
        assert_eq!(whole.finish(), cut.finish());
    }
});
