mod differential;
mod fleet;
mod image;
#[cfg(shuttle)]
mod interleaved;
mod learned;
mod ledger;
mod legs;
mod model;
mod pending;
mod race;
mod room;
mod traps;
