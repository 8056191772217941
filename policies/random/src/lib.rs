//! Random: every worker, or every rank, is as likely as the others.

use rankwise_policy::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    pin: Pin,
}

impl Policy for Random {
    type Settings = PinSettings;

    fn configure(_pool: &Pool, settings: PinSettings) -> Result<Self, String> {
        Ok(Self { pin: settings.pin })
    }

    fn needs(&self) -> Needs {
        self.pin.needs()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        Ok(self.pin.choose(ranks, |count| Draw::new(request.seed).below(count)))
    }
}

export_policy!(Random);
