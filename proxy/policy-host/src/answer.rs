//! Whether what a policy answered is a decision that the table allows.

use rankwise_core::policy::{Decision, Phase, REASON_BYTES_MAX, REJECT_STATUSES, Rejection};

use crate::bindings;
use crate::failure::PolicyFailure;

/// The decision, or what is wrong with it. `has_worker` says whether some row has this worker.
pub(crate) fn check(
    answer: bindings::Decision,
    phase: Phase,
    rows: u32,
    has_worker: impl FnOnce(u32) -> bool,
) -> Result<Decision, PolicyFailure> {
    let decision = match answer {
        bindings::Decision::Rank(row) if row < rows => Decision::Rank(row),
        bindings::Decision::Rank(row) => return bad(format!("row {row} of {rows}")),
        bindings::Decision::Worker(worker) if has_worker(worker) => Decision::Worker(worker),
        bindings::Decision::Worker(worker) => return bad(format!("worker {worker} is in no row")),
        bindings::Decision::Skip if phase == Phase::Prefill => Decision::Skip,
        bindings::Decision::Skip => return bad("skip outside the phase prefill".to_owned()),
        bindings::Decision::Wait(ms) => Decision::Wait(ms),
        bindings::Decision::Reject(rejection) => {
            let (status, length) = (rejection.status, rejection.reason.len());
            if !REJECT_STATUSES.contains(&status) {
                return bad(format!("reject with status {status}"));
            }
            if length > REASON_BYTES_MAX {
                return bad(format!("reject with a reason of {length} bytes, of at most {REASON_BYTES_MAX}"));
            }
            Decision::Reject(Rejection {
                status,
                retry_after_s: rejection.retry_after_s,
                reason: rejection.reason,
            })
        }
    };
    Ok(decision)
}

fn bad(text: String) -> Result<Decision, PolicyFailure> {
    Err(PolicyFailure::BadAnswer(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::rankwise::policy::types::Rejection as WireRejection;

    fn checked(answer: bindings::Decision, phase: Phase) -> Result<Decision, String> {
        check(answer, phase, 8, |worker| worker == 3).map_err(|failure| failure.to_string())
    }

    fn reject(status: u16, length: usize) -> bindings::Decision {
        bindings::Decision::Reject(WireRejection {
            status,
            retry_after_s: Some(1),
            reason: "x".repeat(length),
        })
    }

    #[test]
    fn decisions_inside_the_table_pass() {
        use bindings::Decision as Answer;
        assert_eq!(checked(Answer::Rank(7), Phase::Decode), Ok(Decision::Rank(7)));
        assert_eq!(checked(Answer::Worker(3), Phase::Aggregated), Ok(Decision::Worker(3)));
        assert_eq!(checked(Answer::Skip, Phase::Prefill), Ok(Decision::Skip));
        assert_eq!(checked(Answer::Wait(5), Phase::Aggregated), Ok(Decision::Wait(5)));
        for status in REJECT_STATUSES {
            assert!(checked(reject(status, 256), Phase::Aggregated).is_ok());
        }
    }

    #[test]
    fn others_are_failures() {
        use bindings::Decision as Answer;
        let wrong = |answer, phase| checked(answer, phase).unwrap_err();
        assert_eq!(wrong(Answer::Rank(8), Phase::Aggregated), "bad answer: row 8 of 8");
        assert_eq!(wrong(Answer::Worker(4), Phase::Aggregated), "bad answer: worker 4 is in no row");
        assert_eq!(wrong(Answer::Skip, Phase::Decode), "bad answer: skip outside the phase prefill");
        assert_eq!(wrong(reject(500, 0), Phase::Aggregated), "bad answer: reject with status 500");
        assert!(wrong(reject(429, 257), Phase::Aggregated).contains("257 bytes"));
    }
}
