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

mod column;
mod decision;
mod draw;
mod policy;
mod ranks;
mod request;
mod settings;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

pub use column::{Column, Condition, UNKNOWN};
pub use decision::{Decision, Rejection};
pub use draw::{Draw, softmax};
pub use policy::{Needs, NoSettings, Policy, Pool};
pub use ranks::{Ranks, RanksBuilder};
pub use request::{Fact, Phase, Request};
pub use settings::{finite, parse as parse_settings};

/// Everything a policy is written with.
pub mod prelude {
    pub use crate::{
        Column, Condition, Decision, Draw, Fact, Needs, NoSettings, Phase, Policy, Pool, Ranks, RanksBuilder,
        Rejection, Request, UNKNOWN, export_policy, finite, softmax,
    };
}

/// Makes a [`Policy`] the one that this crate exports as a component. Does nothing in a native build, where the
/// policy is unit-tested.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty) => {
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
        };
    };
}
