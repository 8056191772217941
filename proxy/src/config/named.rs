//! Choices that are made by name, in the config and on the command line alike.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal, {
        $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant),+
        }

        impl $type {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As written in the config.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let expected = || one_of(Self::ALL.iter().map(|choice| choice.name()));
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("unknown {} `{text}`: expected {}", $what, expected())),
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let names: Vec<_> = Self::ALL.iter().map(|choice| choice.name()).collect();
                json_schema!({ "type": "string", "enum": names })
            }
        }
    };
}

named! {
    /// A policy whose component is part of the binary.
    BuiltInPolicy, "policy", {
        /// One target after the other.
        RoundRobin = "round-robin",
        /// A uniformly random target.
        Random = "random",
        /// Of two random targets the one with less booked work.
        PowerOfTwo = "power-of-two",
        /// The target with the least booked work.
        LeastLoaded = "least-loaded",
        /// The target of the session's last request, unless it is overloaded.
        SessionAffinity = "session-affinity",
        /// The same target for prompts that begin alike, unless it is overloaded.
        PrefixHash = "prefix-hash",
        /// Least of a sum over columns, by weights that the settings name; tells scores.
        Weighted = "weighted",
        /// The target whose first token should come soonest, by how fast each turned out to compute prompts.
        QuickestPrefill = "quickest-prefill",
        /// Least work left after what the target has cached, lockstep groups considered.
        #[default]
        Kv = "kv",
    }
}

named! {
    /// What decides, natively, when the policy fails.
    Fallback, "fallback", {
        /// The target with the least booked work.
        #[default]
        LeastLoaded = "least-loaded",
        /// One target after the other.
        RoundRobin = "round-robin",
    }
}

named! {
    /// What serves a worker's URL.
    EngineKind, "engine", {
        /// Ask the worker.
        #[default]
        Auto = "auto",
        /// vLLM: ranks, events and load are discovered, ranks are pinned by header.
        Vllm = "vllm",
        /// SGLang: the same; ranks are pinned by header and body field.
        Sglang = "sglang",
        /// TensorRT-LLM: the same behind rankwise's shim; bare it chooses its rank itself.
        Trtllm = "trtllm",
        /// A worker behind `dynamo.frontend --router-mode direct`: config says what it is.
        Dynamo = "dynamo",
        /// Any OpenAI-compatible server: one target, nothing discovered, never pinned.
        Generic = "generic",
    }
}

named! {
    /// Which ranks of a worker step together.
    Lockstep, "lockstep", {
        /// As the engine reports it; `worker` where it does not say.
        #[default]
        Auto = "auto",
        /// All ranks of the worker: a mixture-of-experts model under attention data parallelism.
        Worker = "worker",
        /// Each rank for itself: a dense model.
        Rank = "rank",
    }
}

named! {
    /// What a worker does of a request.
    Role, "role", {
        /// What the engine says of itself; `aggregated` where it does not say.
        #[default]
        Auto = "auto",
        /// All of it.
        Aggregated = "aggregated",
        /// Its prompt.
        Prefill = "prefill",
        /// Its answer, with the prompt's KV from another worker.
        Decode = "decode",
    }
}

named! {
    /// Whether each request leaves a line.
    AccessLog, "access_log", {
        /// No line.
        #[default]
        Off = "off",
        /// A JSON object per request on stderr.
        Stderr = "stderr",
    }
}

/// `a, b or c`.
pub(super) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
