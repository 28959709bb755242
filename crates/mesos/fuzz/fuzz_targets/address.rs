//! Addresses and `Location` headers never panic the parser.

#![no_main]

use gantry_mesos::address::{MasterSource, redirect_target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<MasterSource>();
    if let Some(target) = redirect_target(text) {
        assert_eq!(redirect_target(&format!("//{target}/x")), Some(target));
    }
});
