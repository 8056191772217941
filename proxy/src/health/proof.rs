//! What a rank has proven.

/// What a request of the proxy's own has shown. `None`: there is nothing by which it could be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// It served what was pinned to it.
    pub pin: Option<bool>,
    /// Its events told of the blocks that it computed.
    pub events: Option<bool>,
    /// Its answer said how much was cached.
    pub cached_tokens: bool,
}

impl Proof {
    /// Whether its events should have told, and did not.
    pub fn is_untold(self) -> bool {
        self.events == Some(false)
    }
}
