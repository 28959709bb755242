//! What decodes as an event survives being written, as protobuf and as JSON.

#![no_main]

use gantry_mesos::v1::scheduler::Event;
use gantry_mesos::{json, required};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = required::decode::<Event>(bytes) else {
        return;
    };
    let again = event.encode_to_vec();
    assert!(required::missing::<Event>(&again).is_empty());
    // JSON leaves out enum numbers that have no name, which may be required ones, and
    // puts NaN, which is unequal to itself, in words; so only a failure of another kind
    // is a fault.
    match json::from_json::<Event>(&json::to_vec(&event)) {
        Ok(_) | Err(json::JsonError::MissingRequired(_)) => {}
        Err(e) => panic!("{e}"),
    }
});
