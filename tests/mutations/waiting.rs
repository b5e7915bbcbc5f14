//! Mutations of `crates/tokio`.

use super::Mutation;
use super::Target::{Waiting, WaitingLoom};

const A_BUCKET: &str = "a_bucket_serves_as_one_that_counts_every_tick";
const A_METER: &str = "a_meter_serves_as_one_that_counts_every_millisecond";

pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "a newcomer overtakes",
        file: "crates/tokio/src/line.rs",
        from: "if fair && queued {",
        to: "if fair && queued && n > 3 {",
        target: Waiting("model"),
        falls: A_BUCKET,
    },
    Mutation {
        what: "what overflows is lost while somebody waits for it",
        file: "crates/tokio/src/bucket.rs",
        from: "        let come = self.come_by(at);
        if !queued {",
        to: "        let come = self.come_by(at);
        if !queued || self.max > 0 {",
        target: Waiting("edges"),
        falls: "what_overflows_is_kept_for_who_waits_for_it",
    },
    Mutation {
        what: "what overflows is kept when nobody waits",
        file: "crates/tokio/src/bucket.rs",
        from: "        if !queued {
            level.spent",
        to: "        if !queued && self.max == 0 {
            level.spent",
        target: Waiting("model"),
        falls: A_BUCKET,
    },
    Mutation {
        what: "a place is charged when it is noticed",
        file: "crates/tokio/src/line.rs",
        from: "                true => due,",
        to: "                true => now,",
        target: Waiting("waiting"),
        falls: "a_charge_is_as_of_the_due_instant_however_late_the_wake_up",
    },
    Mutation {
        what: "one who leaves keeps the cells it was served",
        file: "crates/tokio/src/line.rs",
        from: "self.give_back(source, n - missing, now);",
        to: "self.give_back(source, 0, now);",
        target: Waiting("model"),
        falls: A_METER,
    },
    Mutation {
        what: "one who leaves the middle is still counted",
        file: "crates/tokio/src/line.rs",
        from: "self.missing -= u64::from(missing);",
        to: "self.missing -= u64::from(missing) * u64::from(was_head);",
        target: Waiting("model"),
        falls: A_METER,
    },
    Mutation {
        what: "a head whose timer is too late is not seen to",
        file: "crates/tokio/src/queue/mod.rs",
        from: "Sleeper::Task(runtime) => alarms.rings_by(runtime, due),",
        to: "Sleeper::Task(_) => true,",
        target: Waiting("leaving"),
        falls: "timer_is_set_for_the_waiter_behind_one_served_by_a_leave",
    },
    Mutation {
        what: "a head of another runtime is not woken",
        file: "crates/tokio/src/queue/mod.rs",
        from: "waker.into_iter().for_each(Waker::wake);",
        to: "drop(waker);",
        target: WaitingLoom,
        falls: "models::waiter_behind_one_that_another_runtime_serves_is_woken_for_its_own_instant",
    },
    Mutation {
        what: "jitter exceeds the timeout",
        file: "crates/tokio/src/patience.rs",
        from: "left.min(patience.jitter)",
        to: "left.max(patience.jitter)",
        target: Waiting("patience"),
        falls: "timeout_bounds_the_call_with_its_jitter",
    },
    Mutation {
        what: "a refund is not noticed",
        file: "crates/tokio/src/metered.rs",
        from: "self.peek_n_at(missing, now).is_ok()",
        to: "self.peek_n_at(missing, now).is_ok() && missing == 0",
        target: Waiting("waiting"),
        falls: "a_refund_is_noticed_by_whoever_comes_by",
    },
    Mutation {
        what: "a thread that moves up sleeps on",
        file: "crates/tokio/src/queue/mod.rs",
        from: "Sleeper::Thread(until) => until.is_none_or(|until| until <= last),",
        to: "Sleeper::Thread(_) => true,",
        target: Waiting("leaving"),
        falls: "a_thread_that_comes_to_the_head_earlier_than_it_was_told_looks_again",
    },
    Mutation {
        what: "a slot that went to another is taken for the old one",
        file: "crates/tokio/src/places.rs",
        from: "    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Place> {
        self.slot(ticket.slot)
            .filter(|place| place.missing > 0 && place.number == ticket.number)",
        to: "    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Place> {
        self.slot(ticket.slot).filter(|place| place.missing > 0)",
        target: Waiting("model"),
        falls: A_BUCKET,
    },
    Mutation {
        what: "a timer that went off while it was set is thought to be set",
        file: "crates/tokio/src/alarm.rs",
        from: "let is_right = alarm.at == Some(due);",
        to: "let is_right = alarm.at == Some(due) || alarm.at.is_none();",
        target: WaitingLoom,
        falls: "models::a_timer_that_goes_off_while_it_is_set_is_set_again",
    },
    Mutation {
        what: "a timer that went off is not set again",
        file: "crates/tokio/src/queue/bell.rs",
        from: "        if is_set_again {",
        to: "        if is_set_again && locked.line.waiting() > 1 {",
        target: Waiting("leaving"),
        falls: "a_forgotten_future_costs_its_own_cells_and_delays_nobody",
    },
    Mutation {
        what: "all runtimes share the timer of the first",
        file: "crates/tokio/src/alarm.rs",
        from: "self.0.iter_mut().find(|alarm| alarm.runtime == runtime)",
        to: "self.0.iter_mut().find(|alarm| alarm.runtime == runtime || alarm.timer.is_some())",
        target: Waiting("leaving"),
        falls: "a_runtime_that_nobody_drives_does_not_hold_up_another",
    },
    Mutation {
        what: "a runtime that has ended is asked for timers",
        file: "crates/tokio/src/runtime/real.rs",
        from: "return if due <= now() { Set::Elapsed } else { Set::Dead };",
        to: "return Set::Elapsed;",
        target: Waiting("leaving"),
        falls: "a_runtime_that_shuts_down_with_waiters_leaves_the_others_alone",
    },
    Mutation {
        what: "a deadline counts from the head of the queue",
        file: "crates/tokio/src/line.rs",
        from: "let cells = self.missing + u64::from(n);",
        to: "let cells = u64::from(n);",
        target: Waiting("patience"),
        falls: "a_deadline_that_cannot_be_met_fails_at_once_and_tells_the_earliest_instant",
    },
    Mutation {
        what: "cells of one who leaves in its jitter are lost",
        file: "crates/tokio/src/held.rs",
        from: "if self.n > 0 {",
        to: "if self.n > 1 {",
        target: Waiting("patience"),
        falls: "cells_of_one_who_leaves_while_it_jitters_are_given_back",
    },
    Mutation {
        what: "cells overflow into the word that is taken without the lock",
        file: "crates/tokio/src/bucket.rs",
        from: "let lost = come.saturating_sub(self.max.into());",
        to: "let lost = 0;",
        target: Waiting("model"),
        falls: A_BUCKET,
    },
    Mutation {
        what: "cells are taken without the lock while somebody joins",
        file: "crates/tokio/src/queue/guard.rs",
        from: "        if line.waiting() == 0 {
            self.queue.source.close(&mut line.state);",
        to: "        if line.waiting() > 0 {
            self.queue.source.close(&mut line.state);",
        target: WaitingLoom,
        falls: "models::cells_that_are_there_are_had_once_with_the_lock_or_without",
    },
    Mutation {
        what: "a key stays when the last has left",
        file: "crates/tokio/src/keyed.rs",
        from: "        if entry.members == 0 {",
        to: "        if entry.members == usize::MAX {",
        target: Waiting("keyed"),
        falls: "a_key_is_kept_until_the_last_has_left",
    },
];
