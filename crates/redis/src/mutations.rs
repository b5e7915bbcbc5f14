//! Each way to break a script is noticed by a check. The scripts are sent with their text, changed in one place.

use crate::failure::{ScriptFailure, failure};
use crate::wire::{self, FAST, METER, ScriptCall};
use ratelimit_meter_store::{Ask, BlockingStore, Micros, Reply, StoreError, StoreLimit, Units, Verb};
use ratelimit_meter_store_check::server::Server;
use ratelimit_meter_store_check::{Plan, check};
use redis::{Client, Connection, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Texts of either script, each replaced where it occurs first, and their replacements.
const MUTATIONS: [(&str, &str); 29] = [
    // meter.lua: the cells that conform.
    ("n * cell > free then", "n * cell >= free then"),
    (
        "deciding and n * cell > burst and -1",
        "deciding and n * cell >= burst and -1",
    ),
    ("max(0, floor(free / cell))", "max(0, floor(free / cell) + 1)"),
    ("floor(free / cell / 2)", "floor(free / cell)"),
    ("if deciding and not whole and admitted > 0 then admitted = 0 end", ""),
    ("if whole then count = n end", "count = n"),
    ("if n < admitted then admitted = n end", "admitted = n"),
    // The level at the time of the step.
    ("if interval > 0 then t = now - now % interval end", ""),
    ("if units < 0 then units = 0 end", ""),
    ("t, ahead = written, written - t", "t, ahead = written, 0"),
    ("t, ahead = written, written - t", "ahead = 0"),
    ("units = owed * exp((written - t) / drain)", "units = owed"),
    ("units = max(before, min(units, decayed))", ""),
    // Another quota.
    ("ceil(part / one0 * one) + 1 or 0", "floor(part / one0 * one) or 0"),
    ("(t - written) * drain0", "(t - written) * drain"),
    ("(kind == 'b') ~= bucket", "false"),
    ("min(TOP, owed + (written - t) * drain, ", "min(TOP, owed, "),
    // Cells that are given back.
    ("min(TOP, n * cell) - since * drain", "min(TOP, n * cell)"),
    ("drawn = drawn - drawn % interval", "drawn = drawn + 0"),
    // Writes, and times to live.
    ("units ~= before or", "true or"),
    ("stale[i] = true", "stale[i] = false"),
    ("ceil(rest / 1000) + 1", "ceil(rest / 2000)"),
    ("rest = rest + 3.6e9", "rest = rest + 0"),
    ("byte(limit) == 69", "false"),
    // fast.lua.
    ("filled > ARGV[3] - 0", "filled >= ARGV[3] - 0"),
    ("  if by ~= limit then return false end\n", ""),
    ("  if passed < 0 then return false end\n", ""),
    ("if level < 0 then level = 0 end", ""),
    ("filled / drain / 1000 + 1.5", "filled / drain / 2000"),
];

/// A store that sends changed scripts.
struct Mutant {
    connection: Mutex<Connection>,
    scripts: [String; 2],
}

impl Mutant {
    fn new(server: &Server, mutation: Option<(&str, &str)>) -> Self {
        let scripts = [FAST.text, METER.text].map(|text| match mutation {
            Some((from, to)) => text.replacen(from, to, 1),
            None => text.to_owned(),
        });
        let changed = scripts[0] != FAST.text || scripts[1] != METER.text;
        assert_eq!(changed, mutation.is_some(), "{mutation:?} is nowhere");
        let connection = Client::open(server.url()).unwrap().get_connection().unwrap();
        Self {
            connection: Mutex::new(connection),
            scripts,
        }
    }

    fn send(&self, call: &ScriptCall, script: &str, asks: &[Ask<'_>]) -> Result<Value, StoreError> {
        let cmd = call.command("EVAL", script);
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        cmd.query(&mut *connection).map_err(|error| match failure(error, asks) {
            ScriptFailure::Final(error) => error,
            other => panic!("{other:?}"),
        })
    }
}

impl BlockingStore for Mutant {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let [fast, meter] = &self.scripts;
        if let Some(call) = ScriptCall::fast(verb, at, asks) {
            if let Some(reply) = wire::fast_reply(&self.send(&call, fast, asks)?, &asks[0])? {
                return Ok(reply);
            }
        }
        wire::reply(&self.send(&ScriptCall::general(verb, at, asks), meter, asks)?, asks)
    }
}

fn limit(quota: &str) -> StoreLimit {
    StoreLimit::Bucket(Units::of(quota.parse().unwrap()).unwrap())
}

/// Checks the parts that traces by the caller's time do not reach: times to live, writes, and the server's clock.
fn by_the_servers_clock(store: &Mutant, server: &Server) {
    let (day, other) = (limit("10/d"), limit("20/d"));
    let ask = |verb, key: &str, limit: &StoreLimit, n| store.decide(verb, None, &[Ask { key, limit, n }]).unwrap();
    let ttl = |key: &str| -> i64 {
        server
            .command(&["PTTL", key])
            .unwrap()
            .trim_start_matches(':')
            .trim()
            .parse()
            .unwrap()
    };
    // fast.lua
    assert_eq!(ask(Verb::Check, "day", &day, 10).cells, Some(10));
    assert!((86_390_000..=86_400_002).contains(&ttl("day")));
    assert_eq!(ask(Verb::Check, "day", &day, 1).cells, Some(0));
    assert_eq!(ask(Verb::Check, "day", &other, 11).cells, Some(0), "ten are owed");
    assert_eq!(ask(Verb::Check, "day", &other, 9).cells, Some(9));
    let idle = format!("{} 1 {}", 1_000_000_000_000_000_u64, day.scale());
    server.command(&["SET", "idle", &idle, "PX", "1000000"]).unwrap();
    assert_eq!(ask(Verb::Check, "idle", &day, 10).cells, Some(10));
    assert_eq!(
        ask(Verb::Check, "idle", &day, 1).cells,
        Some(0),
        "no more than the burst after years"
    );
    // meter.lua
    let average = StoreLimit::Average(ratelimit_meter_store::Average::of("10/d".parse().unwrap()).unwrap());
    let error = store
        .decide(
            Verb::Check,
            None,
            &[Ask {
                key: "idle",
                limit: &average,
                n: 1,
            }],
        )
        .unwrap_err();
    assert_eq!(error, StoreError::WrongState("idle".to_owned()));
    assert_eq!(ask(Verb::UpTo, "part", &day, 4).cells, Some(4));
    assert!((34_550_000..=34_560_002).contains(&ttl("part")));
    let changes = server.info("rdb_changes_since_last_save");
    assert_eq!(ask(Verb::Lease { at_most: 1 }, "part", &day, 7).cells, Some(0));
    assert_eq!(
        server.info("rdb_changes_since_last_save"),
        changes,
        "a denial writes nothing"
    );
    let at = Micros::new(1_000_000_000_000_000);
    store
        .decide(
            Verb::Check,
            at,
            &[Ask {
                key: "theirs",
                limit: &limit("10/s"),
                n: 1,
            }],
        )
        .unwrap();
    assert!(ttl("theirs") > 3_500_000, "a caller's clock may be an hour behind");
    // The clock of the server was set back by an hour, for either script.
    let now = ask(Verb::Peek, "now", &day, 1).clock.get();
    let (second, ahead) = (limit("10/h"), now + 3_600_000_000);
    let StoreLimit::Bucket(units) = second else {
        unreachable!()
    };
    for verb in [Verb::Check, Verb::UpTo] {
        server
            .command(&[
                "SET",
                "ahead",
                &format!("{ahead} {} {}", units.burst(), second.scale()),
                "PX",
                "99999999",
            ])
            .unwrap();
        let denied = ask(verb, "ahead", &second, 1);
        assert_eq!(denied.cells, Some(0));
        assert_eq!(second.until(denied.states[0], denied.clock, 1).unwrap().as_secs(), 360);
        assert!(
            !server.command(&["GET", "ahead"]).unwrap().contains(&ahead.to_string()),
            "the key moves to the new time"
        );
    }
}

fn is_noticed(server: &Server, mutation: Option<(&str, &str)>) -> bool {
    server.command(&["FLUSHALL"]).unwrap();
    let plan = Plan { steps: 6000, seed: 6 };
    let checks = || {
        let store = Mutant::new(server, mutation);
        by_the_servers_clock(&store, server);
        check(&store, plan);
    };
    catch_unwind(AssertUnwindSafe(checks)).is_err()
}

#[test]
fn every_way_to_break_a_script_is_noticed() {
    let Some(server) = Server::start(&[]) else { return };
    assert!(!is_noticed(&server, None), "the scripts as they are pass");
    let unnoticed: Vec<_> = MUTATIONS
        .into_iter()
        .filter(|&mutation| !is_noticed(&server, Some(mutation)))
        .collect();
    assert!(unnoticed.is_empty(), "unnoticed: {unnoticed:#?}");
}
