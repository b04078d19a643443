//! Random sequences of operations against the reference in `model`.

use proptest::prelude::*;

use crate::model::{check, decode};

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(bytes in prop::collection::vec(any::<[u8; 4]>(), 1..80)) {
        check(&decode(bytes.as_flattened()));
    }
}
