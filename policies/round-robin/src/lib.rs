//! Round robin, exact and without state: the request's sequence number says whose turn it is.

use rankwise_policy::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct RoundRobin {
    pin: Pin,
}

impl Policy for RoundRobin {
    type Settings = PinSettings;

    fn configure(_pool: &Pool, settings: PinSettings) -> Result<Self, String> {
        Ok(Self { pin: settings.pin })
    }

    fn needs(&self) -> Needs {
        self.pin.needs()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        Ok(self.pin.choose(ranks, |count| (request.sequence % u64::from(count)) as u32))
    }
}

export_policy!(RoundRobin);
