//! The least of many, quickly.

#[cfg(test)]
mod tests;

const LANES: usize = 8;

/// The least value; one that is not a number (NaN) loses to any other. `None` if no value is a number.
///
/// Eight minima at once: one after the other, each comparison would wait for the one before.
#[inline]
pub(crate) fn least<Value: PartialOrd + Copy>(values: &[Value]) -> Option<Value> {
    // What every lane begins with is a number, so that no lane keeps what is none.
    let start = *values.iter().find(|value| value.partial_cmp(value).is_some())?;
    let lesser = |least: Value, value: Value| if value < least { value } else { least };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = lesser(lanes[lane], chunk[lane]);
        }
    }
    Some(lanes.iter().chain(rest).copied().fold(start, lesser))
}
