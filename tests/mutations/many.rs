//! Mutations of decisions on many keys at once.

use super::Mutation;
use super::Target::Test;

pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "a key is drawn for which there is no room",
        file: "src/keyed/many.rs",
        from: "for (place, key) in ahead.iter_mut().zip(keys.by_ref())",
        to: "for (key, place) in keys.by_ref().zip(ahead.iter_mut())",
        target: Test("keyed"),
        falls: "many::many_are_decided_as_one_by_one",
    },
    Mutation {
        what: "the last key of a batch is not decided",
        file: "src/keyed/many.rs",
        from: "if next == end {",
        to: "if next + 1 >= end {",
        target: Test("keyed"),
        falls: "many::many_are_decided_as_one_by_one",
    },
    Mutation {
        what: "many are decided now, whatever the time given",
        file: "src/keyed/many.rs",
        from: "self.many(keys, When::At(at))",
        to: "{ let _ = at; self.many(keys, When::Now) }",
        target: Test("keyed"),
        falls: "many::many_are_decided_as_one_by_one",
    },
];
