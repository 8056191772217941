//! A config file: it is taken, or refused with a place in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise::config::{ConfigError, parse};

fuzz_target!(|text: &str| {
    match parse("fuzz.yaml", text) {
        Ok(config) => assert!(!config.pools.is_empty() && !config.listeners.is_empty()),
        Err(ConfigError::Invalid(diagnostic)) => assert!(diagnostic.to_string().contains("fuzz.yaml:")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
