//! What a pick is held against: the plain scan that every router's decision comes down to, natively.

/// The row of least cost by four columns, ties broken at random as they come: one row after the other.
#[inline(never)]
pub(super) fn scan(device: &[u32], active: &[u32], new: &[u32], prefill: &[u32], request: Request) -> u32 {
    let (mut best, mut least, mut ties) = (0, f32::INFINITY, 0_u64);
    let (mut random, per_token) = (request.seed | 1, 1.0 / request.block_size as f32);
    for (row, &cached) in device.iter().enumerate() {
        let to_compute = prefill[row] as f32 * per_token + request.prompt_blocks as f32 - cached as f32;
        let cost = to_compute + (active[row] + new[row]) as f32;
        if cost < least {
            (best, least, ties) = (row, cost, 1);
        } else if cost == least {
            ties += 1;
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random.is_multiple_of(ties) {
                best = row;
            }
        }
    }
    best as u32
}

/// What it is told of a request.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) seed: u64,
    pub(super) block_size: u32,
    pub(super) prompt_blocks: u32,
}
