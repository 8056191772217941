//! The load that a rank publishes by itself (`--load-publish-endpoint`): a message for each change, and one a second at least.

use rankwise_core::policy::UNKNOWN;
use rankwise_core::target::EngineReport;

use crate::error::Error;
use crate::msgpack::{Reader, Token};

/// What one message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The rank that the engine says it is, among those that step together.
    pub rank: Option<u32>,
    /// How busy it is.
    pub report: EngineReport,
}

/// Bytes of one message's payload: it is a tag and a dozen numbers.
const PAYLOAD_BYTES_MAX: usize = 4096;

/// The tag and the fields that are there in every version.
const FIELDS_MIN: usize = 6;

/// Reads a payload, `["LoadStat", running, waiting, num_tokens, max_total_num_tokens, attn_dp_rank, ...]`. Versions append fields.
///
/// # Errors
/// If it is not msgpack of this shape, or too large.
pub fn published(payload: &[u8]) -> Result<Published, Error> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::Bound { what: "load message, bytes", max: PAYLOAD_BYTES_MAX });
    }
    let mut reader = Reader::new(payload);
    let length = reader.array("a load message, as an array")?;
    if length < FIELDS_MIN || reader.token()? != Token::Text(b"LoadStat") {
        return Err(reader.expected("LoadStat and five numbers"));
    }
    let mut number = || match reader.token()? {
        Token::Nil => Ok(None),
        Token::Unsigned(value) => Ok(Some(value)),
        Token::Float(value) if value >= 0.0 => Ok(Some(value as u64)),
        _ => Err(reader.expected("a number")),
    };
    let (running, waiting) = (number()?, number()?);
    let (used, capacity) = (number()?, number()?);
    let rank = number()?.map(|rank| u32::try_from(rank).unwrap_or(u32::MAX));
    reader.skip_many(length - FIELDS_MIN)?;
    reader.end()?;
    let report =
        EngineReport { running: count(running), waiting: count(waiting), kv_permille: share(used, capacity) };
    Ok(Published { rank, report })
}

fn count(value: Option<u64>) -> u32 {
    value.map_or(UNKNOWN, |value| u32::try_from(value).unwrap_or(UNKNOWN).min(UNKNOWN - 1))
}

/// In permille, at most all of it.
fn share(used: Option<u64>, capacity: Option<u64>) -> u32 {
    let Some((used, capacity)) = used.zip(capacity.filter(|capacity| *capacity > 0)) else { return UNKNOWN };
    let permille = u128::from(used.min(capacity)) * 1000 / u128::from(capacity);
    u32::try_from(permille).unwrap_or(UNKNOWN - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `["LoadStat",1,2,3,4,1,0,0,0,0,0]`, as 0.5.23 writes it.
    const GOLDEN: &[u8] = b"\x9b\xa8LoadStat\x01\x02\x03\x04\x01\x00\x00\x00\x00\x00";

    #[test]
    fn the_first_fields_are_read_and_later_ones_passed_over() {
        let report = EngineReport { running: 1, waiting: 2, kv_permille: 750 };
        assert_eq!(published(GOLDEN).unwrap(), Published { rank: Some(1), report });
        let six = b"\x96\xa8LoadStat\x01\x02\x03\x04\x01";
        assert_eq!(published(six).unwrap(), published(GOLDEN).unwrap());
        let more = b"\x97\xa8LoadStat\x01\x02\x03\x04\x01\x92\x01\x80";
        assert_eq!(published(more).unwrap(), published(GOLDEN).unwrap());
    }

    #[test]
    fn what_is_not_told_is_unknown_and_numbers_of_any_size_are_read() {
        let said = published(b"\x96\xa8LoadStat\xc0\xcd\x01\x00\xc0\x04\xc0").unwrap();
        let report = EngineReport { running: UNKNOWN, waiting: 256, kv_permille: UNKNOWN };
        assert_eq!(said, Published { rank: None, report });
        let huge = b"\x96\xa8LoadStat\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x00\xce\xff\xff\xff\xff\x04\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
        let report = EngineReport { running: UNKNOWN - 1, waiting: 0, kv_permille: 1000 };
        assert_eq!(published(huge).unwrap(), Published { rank: Some(u32::MAX), report });
        let empty = published(b"\x96\xa8LoadStat\x00\x00\x00\x00\x00").unwrap();
        assert_eq!(empty.report.kv_permille, UNKNOWN, "nothing of nothing is no share");
    }

    #[test]
    fn other_payloads_are_errors() {
        for cut in 0..GOLDEN.len() {
            assert!(published(&GOLDEN[..cut]).is_err(), "{cut}");
        }
        let mut longer = GOLDEN.to_vec();
        longer.push(0);
        assert!(published(&longer).is_err());
        for other in [
            &b"\x95\xa8LoadStat\x01\x02\x03\x04"[..],
            b"\x96\xa8loadstat\x01\x02\x03\x04\x01",
            b"\x96\xa8LoadStat\xff\x02\x03\x04\x01",
            b"\x96\xa8LoadStat\x01\x02\x03\x04\xa1x",
            b"\x80",
        ] {
            assert!(published(other).is_err(), "{other:?}");
        }
        assert!(published(&[0; PAYLOAD_BYTES_MAX + 1]).is_err());
    }
}
