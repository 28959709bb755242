//! JSON that is taken for a call is written and taken again as the same call.

#![no_main]

use gantry_mesos::json;
use gantry_mesos::v1::scheduler::Call;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(call) = json::from_json::<Call>(text) else {
        return;
    };
    let first = json::to_vec(&call);
    match json::from_json::<Call>(&first) {
        Ok(again) => assert_eq!(json::to_vec(&again), first),
        Err(e) => panic!("{e}"),
    }
});
