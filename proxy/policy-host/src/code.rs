//! What instances are made of.

use crate::bindings::PolicyPre;
use crate::check::Optional;
use crate::engine::Tier;
use crate::limits::Limits;

/// What one compiler made of a component.
pub(crate) struct Code {
    pub(crate) tier: Tier,
    pub(crate) pre: PolicyPre<Limits>,
    pub(crate) optional: Optional,
}
