//! The bytes are operations, four bytes each; the queue must do what the model says. A start of a sequence is a sequence.

#![no_main]

#[path = "../../tests/it/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model::check(&model::decode(data)));
