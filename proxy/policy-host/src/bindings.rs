//! What wasmtime makes of `wit/policy.wit`. Arguments are borrowed: a table goes straight into the guest's memory.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(crate) use exports::rankwise::policy::picker::{Decision, Needs, Pool, Ranks, Request};
pub(crate) use rankwise::policy::types::Phase;
