//! Preset `dynamo` against a plain second writing of NVIDIA Dynamo's default cost and picker, row by row.

use fastrand::Rng;

use super::*;

const SNAPSHOTS: usize = 20_000;

struct Candidate {
    device: u32,
    host: u32,
    disk: u32,
    active_prefill_tokens: u32,
    active_blocks: u32,
    additional_blocks: u32,
    running: u32,
}

struct Case {
    block_size: u32,
    prompt_tokens: u64,
    phase: Phase,
    settings: Settings,
    rows: Vec<Candidate>,
}

impl Case {
    fn random(rng: &mut Rng) -> Self {
        // A narrow range of loads makes ties, a wide one makes none.
        let spread = [1, 2, 8, 5_000][rng.usize(..4)];
        let block_size = [1, 16, 32, 64, 100][rng.usize(..5)];
        let prompt_blocks = rng.u32(0..200);
        let candidate = |rng: &mut Rng| {
            let device = rng.u32(0..=prompt_blocks.min(spread * 4));
            let host = rng.u32(0..=(prompt_blocks - device).min(spread));
            Candidate {
                device,
                host,
                disk: rng.u32(0..=(prompt_blocks - device - host).min(spread)),
                active_prefill_tokens: rng.u32(0..spread) * rng.u32(1..=block_size),
                active_blocks: rng.u32(0..spread),
                additional_blocks: rng.u32(0..spread),
                running: rng.u32(0..spread.min(50)),
            }
        };
        let rows = (0..rng.usize(1..24)).map(|_| candidate(rng)).collect();
        let maybe = |rng: &mut Rng, scale: f64| rng.bool().then(|| (rng.f64() * scale * 4.0).round() / 4.0);
        let settings = Settings {
            preset: Preset::Dynamo,
            overlap_score_credit: maybe(rng, 2.0),
            overlap_score_credit_decay: maybe(rng, 2.0),
            prefill_load_scale: maybe(rng, 3.0),
            decode_active_request_weight: maybe(rng, 2.0),
            host_cache_hit_weight: maybe(rng, 1.0),
            disk_cache_hit_weight: maybe(rng, 1.0),
            ..Settings::default()
        };
        let phase = [Phase::Aggregated, Phase::Prefill, Phase::Decode][rng.usize(..3)];
        let prompt_tokens = u64::from(prompt_blocks * block_size + rng.u32(0..block_size));
        Self { block_size, prompt_tokens, phase, settings, rows }
    }

    fn request(&self, seed: u64) -> Request {
        Request { phase: self.phase, ..prompt(self.prompt_tokens, seed) }
    }

    fn policy(&self) -> Kv {
        Kv::configure(&Pool { block_size: self.block_size, ..Pool::default() }, self.settings).unwrap()
    }

    fn ranks(&self) -> Ranks {
        let column = |of: fn(&Candidate) -> u32| self.rows.iter().map(of).collect::<Vec<_>>();
        RanksBuilder::new(self.rows.len())
            .set(Column::DeviceOverlap, &column(|row| row.device))
            .set(Column::HostOverlap, &column(|row| row.host))
            .set(Column::DiskOverlap, &column(|row| row.disk))
            .set(Column::PrefillTokens, &column(|row| row.active_prefill_tokens))
            .set(Column::ActiveBlocks, &column(|row| row.active_blocks))
            .set(Column::NewBlocks, &column(|row| row.additional_blocks))
            .set(Column::Running, &column(|row| row.running))
            .build(&self.policy().needs())
    }

    fn reference_costs(&self) -> Vec<f64> {
        let floor = self.rows.iter().map(|row| row.active_prefill_tokens).min().unwrap();
        self.rows.iter().map(|row| self.reference_cost(row, floor)).collect()
    }

    fn reference_cost(&self, row: &Candidate, floor: u32) -> f64 {
        let settings = &self.settings;
        let block_size = f64::from(self.block_size);
        let tracks_prefill = self.phase != Phase::Decode;
        let request_blocks = self.prompt_tokens.div_ceil(u64::from(self.block_size)).max(1);
        let credit_weight = settings.overlap_score_credit.unwrap_or(1.0);
        let credit_decay = settings.overlap_score_credit_decay.unwrap_or(0.0);
        let mut effective_credit = credit_weight;
        if tracks_prefill && credit_decay > 0.0 {
            let excess = f64::from(row.active_prefill_tokens - floor) / block_size;
            effective_credit *= 1.0 / (1.0 + credit_decay * (excess / request_blocks as f64));
        }
        let credit = effective_credit * f64::from(row.device)
            + settings.host_cache_hit_weight.unwrap_or(0.75) * f64::from(row.host)
            + settings.disk_cache_hit_weight.unwrap_or(0.25) * f64::from(row.disk);
        let decode = f64::from(row.active_blocks + row.additional_blocks);
        let requests = settings.decode_active_request_weight.unwrap_or(0.0) * f64::from(row.running);
        if !tracks_prefill && credit_weight > 0.0 {
            return f64::max(0.0, decode - credit) + requests;
        }
        let raw_tokens =
            if tracks_prefill { u64::from(row.active_prefill_tokens) + self.prompt_tokens } else { 0 };
        let prefill = f64::max(0.0, raw_tokens as f64 / block_size - credit);
        settings.prefill_load_scale.unwrap_or(1.0) * prefill + decode + requests
    }
}

#[test]
fn costs_are_equal_to_the_last_bit() {
    let mut rng = Rng::with_seed(1);
    for snapshot in 0..SNAPSHOTS {
        let case = Case::random(&mut rng);
        let ours = case.policy().dynamo_costs(&case.request(0), &case.ranks());
        assert_eq!(ours.as_slice(), case.reference_costs(), "snapshot {snapshot}, {:?}", case.settings);
    }
}

#[test]
fn exactly_the_tied_minima_are_picked_and_evenly() {
    let mut rng = Rng::with_seed(2);
    let mut with_ties = 0;
    for snapshot in 0..SNAPSHOTS {
        let case = Case::random(&mut rng);
        let costs = case.reference_costs();
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let tied: Vec<bool> = costs.iter().map(|&cost| cost == least).collect();
        let ties = tied.iter().filter(|&&tied| tied).count();
        let (policy, ranks) = (case.policy(), case.ranks());
        let draws = if ties > 1 && with_ties < 200 { 300 * ties } else { 3 };
        let mut counts = vec![0; costs.len()];
        for _ in 0..draws {
            counts[row(policy.pick(&case.request(rng.u64(..)), &ranks))] += 1;
        }
        assert!(counts.iter().zip(&tied).all(|(&count, &tied)| tied || count == 0), "snapshot {snapshot}");
        if draws > 3 {
            with_ties += 1;
            // Six standard deviations of a count around 300.
            let even = |count: i32| (count - 300).abs() < 104;
            assert!(counts.iter().zip(&tied).all(|(&count, &tied)| !tied || even(count)), "{counts:?}");
        }
    }
    assert_eq!(with_ties, 200);
}

/// Dynamo's picker: costs normalised by their range, odds made probabilities, inverse CDF with one uniform draw.
fn reference_probabilities(costs: &[f64], temperature: f64) -> Vec<f64> {
    let min = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let max = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if min == max {
        return vec![1.0 / costs.len() as f64; costs.len()];
    }
    let scale = -1.0 / ((max - min) * temperature);
    let odds: Vec<f64> = costs.iter().map(|cost| (cost * scale - min * scale).exp()).collect();
    let sum: f64 = odds.iter().sum();
    odds.into_iter().map(|odds| odds / sum).collect()
}

#[test]
fn softmax_draws_the_same_row_from_the_same_sample() {
    let mut rng = Rng::with_seed(3);
    let mut compared = 0;
    for snapshot in 0..SNAPSHOTS {
        let mut case = Case::random(&mut rng);
        let temperature = [0.05, 0.3, 1.0, 5.0][rng.usize(..4)];
        case.settings.temperature = Some(temperature);
        let probabilities = reference_probabilities(&case.reference_costs(), temperature);
        let seed = rng.u64(..);
        let sample = Draw::new(seed).unit();
        let mut cumulative = 0.0;
        let mut expected = probabilities.len() - 1;
        let mut nearest = f64::INFINITY;
        for (row, probability) in probabilities.iter().enumerate() {
            cumulative += probability;
            nearest = f64::min(nearest, (sample - cumulative).abs());
            if sample <= cumulative {
                expected = row;
                break;
            }
        }
        // So near a boundary, rounding decides.
        if nearest > 1e-9 {
            assert_eq!(
                row(case.policy().pick(&case.request(seed), &case.ranks())),
                expected,
                "snapshot {snapshot}"
            );
            compared += 1;
        }
    }
    assert!(compared > SNAPSHOTS * 99 / 100, "{compared}");
}

#[test]
fn the_worked_example_of_its_documentation() {
    // Three workers, a prompt of 10 blocks: costs 8 + 10, 5 + 5 and 2 + 9; the second is chosen.
    let policy = kv(Settings { preset: Preset::Dynamo, ..Settings::default() });
    let ranks = RanksBuilder::new(3)
        .set(Column::DeviceOverlap, &[2, 5, 8])
        .set(Column::ActiveBlocks, &[10, 5, 9])
        .build(&policy.needs());
    assert_eq!(policy.dynamo_costs(&prompt(160, 0), &ranks).as_slice(), [18.0, 10.0, 11.0]);
    assert_eq!(row(policy.pick(&prompt(160, 7), &ranks)), 1);
}
