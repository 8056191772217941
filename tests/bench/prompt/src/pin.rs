//! Two fields added to a body of 1 MB.

use std::hint::black_box;

use fastrand::Rng;
use rankwise_measure::cpu::thread_cpu;
use rankwise_measure::samples::Samples;
use rankwise_prompt::splice;
use serde_json::json;

use crate::targets::print;
use crate::texts::{Texts, body};

/// The clock is too coarse for one.
const TIMES: u32 = 1000;

pub(crate) fn run(trials: usize) -> anyhow::Result<()> {
    let text = Texts::new().text(&mut Rng::with_seed(1), 1 << 20);
    let body = body(&[json!({"role": "user", "content": text})]);
    let fields = [("data_parallel_rank", "3"), ("routed_dp_rank", "3")];
    let mut times = Samples::default();
    for _ in 0..trials {
        let started = thread_cpu();
        for _ in 0..TIMES {
            black_box(splice::append_all(black_box(&body), &fields)?);
        }
        times.push((thread_cpu() - started) / TIMES);
    }
    print("pin_1mb_us", times.p50() / 1e3, "us");
    Ok(())
}
