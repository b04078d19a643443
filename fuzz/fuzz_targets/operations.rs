//! The bytes are operations, four bytes each; the queue must do what the model says. A start of a sequence is a sequence.

#![no_main]

use perdura::Config;
use perdura::testing::model::{Pair, Script, decode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let config = Config::default().retry_exception_denylist(vec!["denied.here".to_owned()]);
    let mut pair = Pair::<Script>::new(&config).expect("a fresh file can be made");
    for operation in decode(data) {
        pair.apply(&operation).unwrap_or_else(|difference| panic!("{difference}"));
    }
    pair.finish().unwrap_or_else(|difference| panic!("{difference}"));
});
