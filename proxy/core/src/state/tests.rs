mod differential;
mod fleet;
mod learned;
mod ledger;
mod model;
mod pending;
mod race;
mod traps;
