mod differential;
mod fleet;
mod ledger;
mod model;
mod pending;
mod race;
mod traps;
