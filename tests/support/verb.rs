//! The requests to a meter, in any order.

use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Check,
    Peek,
    Take,
    UpTo,
    Charge,
    Refund,
    Reserve,
    Cancel,
    Status,
    Reset,
    Wait,
}
pub(crate) use Verb::{Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Wait};

const VERBS: &[Verb] = &[
    Check, Check, Peek, Take, UpTo, UpTo, Charge, Refund, Refund, Reserve, Reserve, Cancel, Status, Wait, Wait, Wait,
];

pub(crate) fn sequences() -> impl Strategy<Value = Vec<(Verb, u64, u64)>> {
    let verb = prop_oneof![40 => select(VERBS), 1 => Just(Reset)];
    prop::collection::vec((verb, any::<u64>(), any::<u64>()), 1..150)
}
