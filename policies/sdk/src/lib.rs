//! Write a routing policy for rankwise: one type, one function over a table of dp ranks.
//!
//! ```
//! use rankwise_policy::prelude::*;
//!
//! struct LeastRunning;
//!
//! impl Policy for LeastRunning {
//!     type Settings = NoSettings;
//!
//!     fn configure(_: &Pool, _: NoSettings) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn needs(&self) -> Needs {
//!         Needs::columns(&[Column::Running])
//!     }
//!
//!     fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
//!         let running = ranks.column(Column::Running);
//!         Ok(Decision::Rank(ranks.argmin(|row| running[row], request.seed)))
//!     }
//! }
//!
//! export_policy!(LeastRunning);
//!
//! let policy = LeastRunning::configure(&Pool::default(), NoSettings {}).unwrap();
//! let ranks = RanksBuilder::new(3).set(Column::Running, &[4, 1, 2]).build(&policy.needs());
//! assert_eq!(policy.pick(&Request::default(), &ranks), Ok(Decision::Rank(1)));
//! ```
//!
//! A policy is a pure function: it is given a table and a request, and answers. It has no clock, no network and no
//! randomness but `request.seed`, so that a decision can be replayed and that any instance may be asked.

mod candidates;
mod column;
mod costs;
mod decision;
mod draw;
mod lanes;
mod load_bound;
mod pin;
mod policy;
mod ranks;
mod rendezvous;
mod request;
mod settings;
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

pub use candidates::Candidates;
pub use column::{Column, Condition, UNKNOWN};
pub use costs::Costs;
pub use decision::{Decision, REASON_BYTES_MAX, REJECT_STATUSES, Rejection};
pub use draw::{Draw, softmax};
pub use load_bound::LoadBound;
pub use pin::{Pin, PinSettings};
pub use policy::{Learner, Needs, NoSettings, Outcome, Policy, Pool, Scorer};
pub use ranks::{InOrder, Ranks, RanksBuilder};
pub use rendezvous::rendezvous;
pub use request::{Fact, Phase, Request};
pub use settings::{finite, parse as parse_settings};

/// Everything a policy is written with.
pub mod prelude {
    pub use crate::{
        Candidates, Column, Condition, Costs, Decision, Draw, Fact, Learner, LoadBound, Needs, NoSettings,
        Outcome, Phase, Pin, PinSettings, Policy, Pool, Ranks, RanksBuilder, Rejection, Request, Scorer,
        UNKNOWN, export_policy, finite, rendezvous, softmax,
    };
}

/// Makes a [`Policy`] the one that this crate exports as a component; `export_policy!(Name, scorer)` and `, learner`, or both,
/// if it is a [`Scorer`] or a [`Learner`] too. Does nothing in a native build, where the policy is unit-tested.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty $(, $also:ident)*) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static INSTANCE: $crate::component::Instance<$policy> = $crate::component::Instance::new();

            struct Component;

            impl $crate::component::Guest for Component {
                fn configure(
                    pool: $crate::component::WirePool,
                    settings_json: ::std::string::String,
                ) -> ::std::result::Result<$crate::component::WireNeeds, ::std::string::String> {
                    INSTANCE.configure(pool, &settings_json)
                }

                fn pick(
                    request: $crate::component::WireRequest,
                    ranks: $crate::component::WireRanks,
                ) -> ::std::result::Result<$crate::component::WireDecision, ::std::string::String> {
                    INSTANCE.pick(request, ranks)
                }
            }

            $crate::component::export_component!(Component with_types_in $crate::component::bindings);

            $($crate::export_policy!(@ $also $policy);)*
        };
    };
    (@ scorer $policy:ty) => {
        impl $crate::component::ScorerGuest for Component {
            fn score(
                request: $crate::component::WireRequest,
                ranks: $crate::component::WireRanks,
            ) -> ::std::vec::Vec<f32> {
                INSTANCE.score(request, ranks)
            }
        }

        $crate::component::export_scoring!(Component with_types_in $crate::component::scoring);
    };
    (@ learner $policy:ty) => {
        static MEMORY: $crate::component::Memory<$policy> = $crate::component::Memory::new();

        impl $crate::component::LearnerGuest for Component {
            fn learn(
                targets: ::std::vec::Vec<u32>,
                outcomes: ::std::vec::Vec<u64>,
            ) -> ::std::vec::Vec<u32> {
                INSTANCE.learn(&MEMORY, &targets, &outcomes)
            }
        }

        $crate::component::export_learning!(Component with_types_in $crate::component::learning);
    };
}
