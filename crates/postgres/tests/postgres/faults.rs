//! Decisions during faults.

use crate::laws::{average, bucket};
use crate::server::{Server, connect, drop_once_it_waits, through, until_a_session_waits};
use ratelimit_meter_postgres::{BlockingPostgresStore, PostgresStore};
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, Reply, StoreError, StoreLimit, Verb};
use ratelimit_meter_store_check::clock::FakeClock;
use ratelimit_meter_store_check::postgres::PgBouncer;
use ratelimit_meter_store_check::proxy::{Proxy, Replies};
use ratelimit_meter_store_check::server::wait_for;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// The longest time of a call without a fault: long enough for a loaded machine.
const AMPLE: Duration = Duration::from_secs(60);

async fn check(store: &PostgresStore, key: &str, limit: &StoreLimit, n: u64) -> Result<Option<u64>, StoreError> {
    let reply: Reply = store.decide(Verb::Check, None, &[Ask { key, limit, n }]).await?;
    Ok(reply.cells)
}

/// After a crash unlogged states are gone, logged ones are not; and the pool connects again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_forgets_unlogged_states_and_keeps_logged_ones() {
    let server = running!(Server::start());
    let limit = bucket("10/d");
    let (unlogged, _) = server.store().await;
    let (logged, config) = server.store().await;
    let client = connect(&config).await;
    let set = client.batch_execute("ALTER TABLE meter.bucket SET LOGGED; ALTER TABLE meter.average SET LOGGED");
    set.await.expect("logged");
    for store in [&unlogged, &logged] {
        assert_eq!(check(store, "a", &limit, 10).await, Ok(Some(10)));
        assert_eq!(check(store, "a", &limit, 1).await, Ok(Some(0)));
    }
    tokio::task::block_in_place(|| server.crash_and_restart());
    for (store, left) in [(&unlogged, 10), (&logged, 0)] {
        // The connections of before are lost: at most one error each.
        let mut answer = check(store, "a", &limit, 10).await;
        while let Err(error) = &answer {
            assert!(
                matches!(error, StoreError::Disconnected(_) | StoreError::Unreachable(_)),
                "{error}"
            );
            answer = check(store, "a", &limit, 10).await;
        }
        assert_eq!(answer, Ok(Some(left)));
    }
}

/// The clock of the server is stepped while it runs: back by an hour, and forward in two steps to where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stepped_clock_keeps_the_bounds() {
    let clock = running!(FakeClock::new());
    let server = running!(Server::start_at(&clock));
    let (store, _) = server.store().await;
    let limit = bucket("60/h");
    let average = StoreLimit::Average(average("60/h"));
    for key in ["a", "b"] {
        assert_eq!(check(&store, key, &limit, 60).await, Ok(Some(60)));
    }
    assert_eq!(check(&store, "average", &average, 59).await, Ok(Some(59)));
    let peek = async |key, n| {
        let ask = Ask { key, limit: &limit, n };
        let reply = store.decide(Verb::Peek, None, &[ask]).await.expect("a peek");
        let n = u32::try_from(n).expect("small");
        let wait = limit.until(reply.states[0], reply.clock, n).expect("one day");
        (wait.as_secs(), limit.remaining(reply.states[0], reply.clock))
    };
    clock.set(-3600);
    // A cell's time, or a little less, and not an hour more; `b` is not asked for until the clock goes forward again.
    assert!(peek("a", 1).await.0 <= 60);
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(0)), "no time has passed");
    assert_eq!(check(&store, "average", &average, 30).await, Ok(Some(0)));
    assert!((3500..=3600).contains(&peek("a", 60).await.0), "all is owed");
    clock.set(-2400);
    // Twenty minutes: 20 cells of `a`, whose state has moved to the earlier time, and none of `b`, whose state is still ahead.
    assert!((20..25).contains(&peek("a", 1).await.1));
    assert!(peek("b", 1).await.1 < 5);
    clock.set(0);
    assert_eq!(
        check(&store, "a", &limit, 60).await,
        Ok(Some(60)),
        "an hour forward: the burst"
    );
    assert!(peek("a", 1).await.1 < 5, "and no more");
    assert!(peek("b", 1).await.1 < 5, "the clock is where it was");
    clock.set(1_000_000_000);
    assert_eq!(
        check(&store, "b", &limit, 60).await,
        Ok(Some(60)),
        "decades forward: the burst"
    );
    assert_eq!(check(&store, "b", &limit, 5).await, Ok(Some(0)), "and no more");
}

/// Regression 9: a server that does not answer holds a call up for its deadline, no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_server_times_out_within_the_deadline() {
    let server = running!(Server::start());
    let (store, config) = server.store().await;
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    // The backend of the pool's connection; a second one cannot be made while the postmaster is stopped.
    let backends = connect(&config).await;
    let pids = backends
        .query(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            &[],
        )
        .await
        .expect("the backends");
    let pids: Vec<String> = pids.iter().map(|row| row.get::<_, i32>(0).to_string()).collect();
    let kill = |name: &str| {
        let status = std::process::Command::new("kill").arg(name).args(&pids).status();
        assert!(status.expect("the program kill").success());
        server.signal(name);
    };
    kill("-STOP");
    let hurried = store.clone().with_deadline(Duration::from_millis(50));
    for _ in 0..3 {
        let answer = tokio::time::timeout(AMPLE, check(&hurried, "a", &limit, 1)).await;
        assert_eq!(answer.expect("within the deadline"), Err(StoreError::TimedOut));
    }
    kill("-CONT");
    // A sent call may have been counted: once or not at all.
    let left = check(&store, "a", &limit, 6).await;
    assert_eq!(left, Ok(Some(6)));
}

/// Regression 4: a call whose reply was lost is sent again elsewhere, and counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_reply_counts_once() {
    let server = running!(Server::shared());
    let (direct, config) = server.store().await;
    let proxy = Proxy::to(config.get_ports()[0]);
    let store = PostgresStore::connect(through(&config, proxy.port()), 1);
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    for lost in 1..=3 {
        proxy.set(Replies::Cut);
        let answer = check(&store, "a", &limit, 1).await;
        assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
        assert!(answer.is_err_and(|error| error.is_indeterminate()));
        proxy.set(Replies::Pass);
        // The pool connects again.
        assert_eq!(check(&store, "b", &limit, 1).await, Ok(Some(1)), "{lost}");
    }
    assert_eq!(check(&direct, "a", &limit, 7).await, Ok(Some(0)));
    assert_eq!(check(&direct, "a", &limit, 6).await, Ok(Some(6)));
}

/// A connection that takes longer than a call's deadline is there for the next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_goes_on_after_the_deadline() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let proxy = Proxy::to(config.get_ports()[0]);
    let store = PostgresStore::connect(through(&config, proxy.port()), 1);
    let hurried = store.clone().with_deadline(Duration::from_millis(50));
    let limit = bucket("10/d");
    proxy.set(Replies::Hold);
    assert_eq!(check(&hurried, "a", &limit, 1).await, Err(StoreError::TimedOut));
    proxy.set(Replies::Pass);
    let is_connected = || store.pool().status().available == 1;
    assert!(tokio::task::block_in_place(|| wait_for(is_connected)));
    assert_eq!(check(&store, "a", &limit, 10).await, Ok(Some(10)));
}

#[tokio::test]
async fn absent_server_is_unreachable() {
    let mut config = tokio_postgres::Config::new();
    // A port that no server has: the first one is reserved.
    config.host("127.0.0.1").port(1).user("postgres");
    let store = PostgresStore::connect(config, 1);
    let answer = check(&store, "a", &bucket("1/s"), 1).await;
    assert!(matches!(answer, Err(StoreError::Unreachable(_))), "{answer:?}");
}

#[tokio::test]
async fn missing_functions_error_advises_installing_them() {
    let server = running!(Server::shared());
    let store = PostgresStore::connect(server.database().await, 1);
    let answer = check(&store, "a", &bucket("1/s"), 1).await;
    let Err(StoreError::Refused(message)) = answer else {
        panic!("{answer:?}")
    };
    assert!(message.contains("install sql/meter.sql"), "{message}");
}

/// Another transaction holds the row: `lock_timeout` ends the call at the server, and nothing was counted.
#[tokio::test]
async fn lock_timeout_is_a_timeout_and_counts_nothing() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    let holder = connect(&config).await;
    let hold = "BEGIN; SELECT FROM meter.bucket WHERE key = 'a' FOR UPDATE";
    holder.batch_execute(hold).await.expect("held");
    let mut bounded = config.clone();
    bounded.options("-c lock_timeout=20ms");
    let bounded = PostgresStore::connect(bounded, 1);
    assert_eq!(check(&bounded, "a", &limit, 1).await, Err(StoreError::TimedOut));
    // A denial waits for no lock.
    assert_eq!(check(&bounded, "a", &limit, 10).await, Ok(Some(0)));
    holder.batch_execute("ROLLBACK").await.expect("released");
    assert_eq!(check(&bounded, "a", &limit, 9).await, Ok(Some(9)));
}

/// A call whose caller set no deadline waits for a silent server, but not for ever.
#[tokio::test]
async fn decision_without_a_deadline_ends() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let proxy = Proxy::to(server.port());
    let store = PostgresStore::connect(through(&config, proxy.port()), 1);
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    proxy.set(Replies::Lose);
    // The clock of the runtime goes forward while the call waits.
    tokio::time::pause();
    let answer = tokio::time::timeout(AMPLE, check(&store, "a", &limit, 1)).await;
    assert_eq!(answer.expect("an answer"), Err(StoreError::TimedOut));
}

/// A call that is dropped while it waits for a lock is cancelled, and its connection serves no other call.
#[tokio::test]
async fn dropped_call_is_cancelled_at_the_server() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let store = PostgresStore::connect(config.clone(), 1);
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    let holder = connect(&config).await;
    let hold = "BEGIN; SELECT FROM meter.bucket WHERE key = 'a' FOR UPDATE";
    holder.batch_execute(hold).await.expect("held");
    // A server ignores the cancellation of a statement that it has not begun.
    let watcher = connect(&config).await;
    drop_once_it_waits(&watcher, check(&store, "a", &limit, 1)).await;
    // The only connection of the pool is free at once, though the row is still held.
    assert_eq!(check(&store, "b", &limit, 1).await, Ok(Some(1)));
    // And the statement ends before it gets the lock.
    until_a_session_waits(&watcher, false).await;
    holder.batch_execute("ROLLBACK").await.expect("released");
    assert_eq!(check(&store, "a", &limit, 9).await, Ok(Some(9)));
}

/// Under REPEATABLE READ a lost race is an error that is safe to try again, never a wrong answer.
#[tokio::test]
async fn repeatable_read_fails_a_lost_race() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    let client = connect(&config).await;
    for call in [
        "SELECT * FROM meter.allow('a', '10/d')",
        "SELECT * FROM meter.change('charge', 'a', 1, 0, 1, 8640000000, 8640000000, 86400000000)",
        "SELECT * FROM meter.check_all('{a}', '{8640000000}', '{1}', '{8640000000}', '{86400000000}', '{0}')",
    ] {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM meter.bucket";
        client.batch_execute(begin).await.expect("a snapshot");
        assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
        let lost = client.query(call, &[]).await.expect_err("a lost race");
        assert_eq!(
            lost.code(),
            Some(&SqlState::T_R_SERIALIZATION_FAILURE),
            "{call}: {lost}"
        );
        client.batch_execute("ROLLBACK").await.expect("rolled back");
    }
}

/// The store tries a lost race again: here its own sessions are REPEATABLE READ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_races_are_tried_again() {
    let server = running!(Server::shared());
    let (_, mut config) = server.store().await;
    config.options("-c default_transaction_isolation=repeatable\\ read");
    let store = PostgresStore::connect(config, 4);
    let limit = bucket("60/d");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut admitted = 0;
            for _ in 0..20 {
                match check(&store, "a", &limit, 1).await {
                    Ok(cells) => admitted += cells.expect("one day"),
                    Err(error) => {
                        assert_eq!(error.name(), "refused", "{error}");
                        assert!(error.to_string().contains("'read committed' for the user"), "{error}");
                    }
                }
            }
            admitted
        });
    }
    let admitted: u64 = tasks.join_all().await.into_iter().sum();
    let left = u64::from(limit.max_batch()) - admitted;
    assert_eq!(
        check(&store, "a", &limit, left).await,
        Ok(Some(left)),
        "{admitted} admitted"
    );
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(0)));
}

/// Two server connections under eight clients: statements have no name, and no call needs the session of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_in_transaction_mode_serves_every_call() {
    let server = running!(Server::shared());
    let bouncer = running!(PgBouncer::start(&server));
    let config = through(&server.database().await, bouncer.port());
    let store = PostgresStore::connect(config.clone(), 8);
    store.install().await.expect("installed through the pooler");
    let (limit, other, share) = (bucket("200/d"), bucket("1000/d"), StoreLimit::Average(average("50/d")));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut admitted = [0, 0];
            for _ in 0..40 {
                let asks = [("a", &limit), ("b", &other)].map(|(key, limit)| Ask { key, limit, n: 1 });
                let reply = store.decide(Verb::Check, None, &asks).await.expect("several limits");
                admitted[0] += reply.cells.expect("one day");
                admitted[1] += check(&store, "c", &share, 1)
                    .await
                    .expect("an average")
                    .expect("one day");
                store.sweep(0).await.expect("a sweep");
            }
            admitted
        });
    }
    let admitted = tasks.join_all().await;
    assert_eq!(
        [0, 1].map(|i| admitted.iter().map(|each| each[i]).sum::<u64>()),
        [200, 50]
    );
}

/// A role with only the rights that the file names.
#[tokio::test]
async fn documented_grants_suffice() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let role = format!("caller_{}", config.get_dbname().expect("a database"));
    let client = connect(&config).await;
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA meter TO {role};
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA meter TO {role}"
    );
    client.batch_execute(&grants).await.expect("granted");
    let mut as_role = config.clone();
    as_role.user(&role);
    let store = PostgresStore::connect(as_role, 1);
    let (limit, share) = (bucket("10/d"), StoreLimit::Average(average("10/d")));
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(1)));
    assert_eq!(check(&store, "a", &share, 1).await, Ok(Some(1)));
    // Fewer rights are an error that names them.
    let revoke = |verb: &str, to: &str| format!("{verb} UPDATE ON meter.bucket {to} {role}");
    client.batch_execute(&revoke("REVOKE", "FROM")).await.expect("revoked");
    let answer = check(&store, "a", &limit, 1).await;
    assert!(
        matches!(&answer, Err(StoreError::Refused(message)) if message.contains("42501")),
        "{answer:?}"
    );
    client.batch_execute(&revoke("GRANT", "TO")).await.expect("granted");
    let calls = "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA meter FROM PUBLIC";
    client.batch_execute(calls).await.expect("revoked");
    let error = check(&store, "a", &limit, 1).await.expect_err("no right to call");
    assert!(error.to_string().contains("EXECUTE on its functions"), "{error}");
    let calls = format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA meter TO {role}");
    client.batch_execute(&calls).await.expect("granted");
    let asks = ["a", "b"].map(|key| Ask {
        key,
        limit: &limit,
        n: 1,
    });
    for verb in [Verb::Check, Verb::Refund, Verb::Reset, Verb::Lease { at_most: 2 }] {
        store.decide(verb, None, &asks).await.expect("allowed");
    }
    assert!(matches!(store.sweep(0).await, Err(StoreError::Refused(_))));
    let grant = format!("GRANT DELETE ON ALL TABLES IN SCHEMA meter TO {role}");
    client.batch_execute(&grant).await.expect("granted");
    store.sweep(0).await.expect("allowed");
    // To install takes other rights, and a schema in the search path.
    let mut without_schema = config.clone();
    without_schema.options("-c search_path=nowhere");
    for store in [&store, &PostgresStore::connect(without_schema, 1)] {
        let error = store.install().await.expect_err("no rights, or no schema");
        assert!(error.to_string().contains("CREATE on the database"), "{error}");
    }
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    client.batch_execute(&drop).await.expect("dropped");
}

/// Policies that hide a row, or keep it from being changed, and not from being inserted.
#[tokio::test]
async fn row_hidden_by_a_policy_is_an_error() {
    let server = running!(Server::shared());
    let (admin, config) = server.store().await;
    let role = format!("hidden_{}", config.get_dbname().expect("a database"));
    let client = connect(&config).await;
    let create = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA meter TO {role}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA meter TO {role};
         ALTER TABLE meter.bucket ENABLE ROW LEVEL SECURITY; ALTER TABLE meter.average ENABLE ROW LEVEL SECURITY;
         CREATE POLICY inserts ON meter.bucket FOR INSERT WITH CHECK (true); CREATE POLICY inserts ON meter.average FOR INSERT WITH CHECK (true)"
    );
    client.batch_execute(&create).await.expect("created");
    let mut as_role = config.clone();
    as_role.user(&role);
    let store = PostgresStore::connect(as_role.clone(), 1).with_deadline(AMPLE);
    let (limit, ticks, share) = (
        bucket("10/d"),
        bucket("10/d every 1h"),
        StoreLimit::Average(average("10/d")),
    );
    for limit in [&limit, &share] {
        assert_eq!(check(&admin, "k", limit, 1).await, Ok(Some(1)));
    }
    let hides = |answer: &Result<Option<u64>, StoreError>| matches!(answer, Err(StoreError::Refused(text)) if text.contains("row security"));
    for can_read in [false, true] {
        for limit in [&limit, &ticks, &share] {
            let answer = check(&store, "k", limit, 1).await;
            assert!(hides(&answer), "{can_read} {limit:?}: {answer:?}");
        }
        let call = "SELECT check_rate_limit('k')";
        let error = connect(&as_role)
            .await
            .batch_execute(call)
            .await
            .expect_err("a hidden row");
        assert!(
            error
                .as_db_error()
                .is_some_and(|error| error.message().contains("row security")),
            "{error:?}"
        );
        let reads = "CREATE POLICY reads ON meter.bucket FOR SELECT USING (true); CREATE POLICY reads ON meter.average FOR SELECT USING (true)";
        if !can_read {
            client.batch_execute(reads).await.expect("created");
        }
    }
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    client.batch_execute(&drop).await.expect("dropped");
}

/// As where an administrator made the schema, and roles may make none.
#[tokio::test]
async fn schema_owner_installs_and_upgrades() {
    let server = running!(Server::shared());
    let mut config = server.database().await;
    let role = format!("owner_{}", config.get_dbname().expect("a database"));
    let client = connect(&config).await;
    let create = format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA meter AUTHORIZATION {role}");
    client.batch_execute(&create).await.expect("created");
    config.user(&role).options("-c search_path=meter");
    let store = PostgresStore::connect(config, 1);
    for _ in 0..2 {
        store.install().await.expect("installed");
        assert_eq!(check(&store, "a", &bucket("10/d"), 1).await, Ok(Some(1)));
    }
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    client.batch_execute(&drop).await.expect("dropped");
}

/// Settings of a session that change the meaning of SQL: no path to the functions' schema, a zone half an hour off, other styles of text, the strictest
/// isolation.
#[tokio::test]
async fn settings_of_a_session_change_no_decision() {
    let server = running!(Server::shared());
    let (_, mut config) = server.store().await;
    config.options(
        "-c search_path= -c timezone=Asia/Kolkata -c datestyle=German -c intervalstyle=sql_standard -c extra_float_digits=0 \
         -c default_transaction_isolation=serializable -c standard_conforming_strings=off -c bytea_output=escape -c quote_all_identifiers=on",
    );
    let store = PostgresStore::connect(config.clone(), 1);
    let mut with_path = config.clone();
    with_path.options("-c search_path=\"My-App\" -c quote_all_identifiers=on -c plpgsql.extra_errors=all");
    let create = "CREATE SCHEMA \"My-App\"";
    connect(&config).await.batch_execute(create).await.expect("created");
    for _ in 0..2 {
        PostgresStore::connect(with_path.clone(), 1)
            .install()
            .await
            .expect("installed again");
    }
    let limit = bucket("2/d");
    for admitted in [1, 1, 0] {
        assert_eq!(check(&store, "k", &limit, 1).await, Ok(Some(admitted)));
    }
    let client = connect(&config).await;
    let call = "SELECT allowed AND retry_after = '0' OR retry_after BETWEEN '11:50:00'::interval AND '12:00:00' FROM meter.allow('a', '2/d')";
    for _ in 0..3 {
        assert!(client.query_one(call, &[]).await.unwrap().get::<_, bool>(0));
    }
    let call = "SELECT drain = 1 AND one = 1200000 AND burst = 24000000 AND tick = 1000000 FROM meter.units('1.5k / 30 min burst 20 every 1 s')";
    assert!(client.query_one(call, &[]).await.unwrap().get::<_, bool>(0));
    let call = "SELECT allowed, extract(epoch FROM next_allowed_time - clock_timestamp())::float8 \
        FROM public.check_rate_limit('a', 1, 1, INTERVAL '1' DAY)";
    for admitted in [true, false] {
        let row = client.query_one(call, &[]).await.unwrap();
        let wait: f64 = row.get(1);
        assert_eq!((row.get(0), wait > 1000.0), (admitted, !admitted), "{wait}");
    }
}

/// Operators and functions in a schema of the search path, of the exact types where those of `pg_catalog` need a conversion. A call of one is an error.
const HOSTILE: &str = r"
    CREATE SCHEMA hostile;
    DO $$
    DECLARE
      numbers CONSTANT text[] := '{int4,int8,float8,numeric}';
      l text; r text; result text; name text;
    BEGIN
      FOR l, r IN
        SELECT a, b FROM unnest(numbers) a, unnest(numbers || 'interval'::text) b UNION SELECT 'interval', a FROM unnest(numbers) a
        UNION VALUES ('text[]', 'text'), ('text[]', 'text[]'), ('oid', 'regclass'), ('oid', 'regtype'), ('oid', 'regnamespace'), ('oid', 'regprocedure')
      LOOP
        FOREACH result IN ARRAY ARRAY['bool', CASE WHEN 'interval' IN (l, r) THEN 'interval' WHEN l = 'text[]' THEN l WHEN 'float8' IN (l, r) THEN 'float8' ELSE 'numeric' END] LOOP
          EXECUTE format('CREATE FUNCTION hostile.%I(l %s, r %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE ''''hostile operator''''; END''',
            'op_' || result, l, r, result);
          FOREACH name IN ARRAY CASE result WHEN 'bool' THEN '{=,<>,<,>,<=,>=}'::text[] ELSE '{+,-,*,/,%,||}' END LOOP
            IF NOT EXISTS (SELECT FROM pg_operator WHERE oprname = name AND (oprleft, oprright) = (l::regtype, r::regtype)) THEN
              EXECUTE format('CREATE OPERATOR hostile.%s (FUNCTION = hostile.%I, LEFTARG = %s, RIGHTARG = %s)', name, 'op_' || result, l, r);
            END IF;
          END LOOP;
        END LOOP;
      END LOOP;
      FOR name, l IN
        SELECT f, t FROM unnest('{exp,ln,ceil,floor,trunc,sinh,to_timestamp,max,pg_advisory_xact_lock}'::text[]) f, unnest(numbers) t
        UNION SELECT f, t || ', ' || u FROM unnest('{div,gcd}'::text[]) f, unnest(numbers) t, unnest(numbers) u
        UNION SELECT 'cardinality', t FROM unnest('{text[],int8[],float8[],bool[]}'::text[]) t
        UNION VALUES ('array_fill', 'int8, int4[]'), ('array_fill', 'float8, int4[]'), ('array_append', 'text[], text'), ('convert_to', 'text, text'),
          ('format', 'text, int8'), ('pg_partition_tree', 'text'), ('quote_ident', 'name'), ('quote_nullable', 'int8')
      LOOP
        IF to_regprocedure(format('pg_catalog.%s(%s)', name, l)) IS NULL THEN
          EXECUTE format('CREATE FUNCTION hostile.%s(%s) RETURNS text LANGUAGE plpgsql AS ''BEGIN RAISE ''''hostile function %1$s''''; END''', name, l);
        END IF;
      END LOOP;
    END $$";

/// Calls that evaluate most expressions of the functions.
const CALLS: [&str; 25] = [
    "SELECT meter.units(quota) FROM unnest('{100/min burst 20,1.5k / 30 min burst 20 weight 2 every 1 s,999983/d,5 per hour,10/1.5us}'::text[]) quota",
    "SELECT meter.units('1/s burst 1.5')",
    "SELECT meter.units('1/s boost 1')",
    "SELECT meter.units('1/1000000w')",
    "SELECT meter.units('9999999999/s')",
    "SELECT meter.units('1/100w burst 4294967295')",
    "SELECT meter.units('1/s every 1ns')",
    "SELECT meter.check('a', cost, 1, 1000, 3000) FROM unnest('{0,1,3000,4000}'::int8[]) cost",
    "SELECT meter.check('b', cost, 5000, 1000, 3000) FROM unnest('{0,1,3000,4000}'::int8[]) cost",
    "SELECT meter.check('a', cost, 1, 999, 3000, 1000000) FROM unnest('{0,1,3000,4000}'::int8[]) cost",
    "UPDATE meter.bucket SET t = t + 1000000000, mark = mark + 1000000000; SELECT meter.check('a', 1, 1, 999, 3000)",
    "SELECT meter.decide(verb, '{d,e}', '{1,2}', drains, ones, '{1000,2000}', '{3000,9000}', '{0,1000}', 5, at)
        FROM unnest('{check,upto,lease,charge,refund,cancel,peek,reset,charge}'::text[]) verb, (VALUES ('{1,2000}'::int8[], '{1000,1000}'::int8[], NULL::int8),
            ('{7,2000}', '{997,1000}', 1700000000000000)) other(drains, ones, at)",
    "SELECT meter.decide(verb, '{f,g}', '{1,2}', '{NULL,1}', '{NULL,1000}', '{NULL,1000}', '{10,9000}', '{NULL,0}', a, at, periods, '{0.1,NULL}', '{t,NULL}')
        FROM unnest('{check,upto,lease,charge,refund,cancel,peek,reset,charge}'::text[]) verb, (VALUES ('{6e7,NULL}'::float8[], 5, NULL::int8),
            ('{5e7,NULL}', 1700000000000000, 1700000000000000)) other(periods, a, at)",
    "SELECT meter.decide('check', '{f}', '{1}', '{NULL}', '{NULL}', '{NULL}', '{10}', '{NULL}', 0, NULL, '{6e7}', '{0.4}', '{t}') FROM generate_series(1, 5)",
    "SELECT meter.decide('bad', '{f}', '{1}', '{1}', '{1}', '{1}', '{1}', '{0}')",
    "SELECT meter.change('charge', 'h', 5, 0, 1, 1000, 1000, 3000)",
    "SELECT meter.check_all('{h,i}', costs, '{1,1}', '{1000,1000}', '{3000,3000}', '{0,0}') FROM (VALUES ('{1,1}'::int8[]), ('{1,0}')) other(costs)",
    "SELECT meter.allow('j', '2/h', n) FROM unnest('{1,1,1,3}'::int8[]) n",
    "SELECT meter.allow('j', '2/h every 10min') FROM generate_series(1, 3)",
    "SELECT meter.check_average('k', n, 6e7, 0.3, strict) FROM unnest('{0,1,1,1,1,9}'::float8[]) n, unnest('{f,t}'::bool[]) strict",
    "SELECT meter.check_average('k', 1, 5e7, 0.3); UPDATE meter.average SET t = t + 1000000000; SELECT meter.check_average('k', 1, 5e7, 0.3)",
    "SELECT check_rate_limit('l', cost, 10, INTERVAL '1 minute', strict) FROM unnest('{0,1,9,99}'::float8[]) cost, unnest('{f,t}'::bool[]) strict",
    "SELECT check_rate_limit('m', 1, 100)",
    "SELECT check_rate_limit('l', -1)",
    "SELECT meter.sweep(0, 1, INTERVAL '0')",
];

/// A role that may make objects in a schema of the search path must not run code with the rights of callers.
#[tokio::test]
async fn objects_of_other_schemas_are_never_called() {
    let server = running!(Server::shared());
    let mut config = server.database().await;
    connect(&config).await.batch_execute(HOSTILE).await.expect("created");
    config.options("-c search_path=public,hostile");
    let store = PostgresStore::connect(config.clone(), 1);
    for _ in 0..2 {
        store.install().await.expect("installed");
    }
    let client = connect(&config).await;
    let code = |error: &tokio_postgres::Error| error.code().expect("of the server").code().to_owned();
    for hostile in ["SELECT 1::float8 * 2", "SELECT cardinality('{a}'::text[])"] {
        let error = client.batch_execute(hostile).await.expect_err("hostile");
        assert_eq!(code(&error), "P0001", "{hostile}");
    }
    for call in CALLS {
        if let Err(error) = client.batch_execute(call).await {
            assert_eq!(code(&error), "22023", "{call}: {error:?}");
        }
    }
}

/// A dump of the schema, restored elsewhere, goes on with its states.
#[tokio::test]
async fn restored_dump_keeps_the_debt() {
    let server = running!(Server::shared());
    if !server.programs().join("pg_dump").exists() {
        return ratelimit_meter_store_check::skipped("pg_dump beside the server");
    }
    let (store, config) = server.store().await;
    let limit = bucket("3/d");
    assert_eq!(check(&store, "k", &limit, 2).await, Ok(Some(2)));
    let other = server.database().await;
    let program = |name: &str, database: &tokio_postgres::Config, more: &[&str]| {
        let port = server.port().to_string();
        let mut command = std::process::Command::new(server.programs().join(name));
        command
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port])
            .args(more);
        command.arg(database.get_dbname().expect("a database"));
        let output = command.output().expect("a program of the server's");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let dump = std::env::temp_dir().join(format!("{}.sql", other.get_dbname().expect("a database")));
    let file = dump.to_string_lossy();
    program("pg_dump", &config, &["-f", &file]);
    program("psql", &other, &["-Xqv", "ON_ERROR_STOP=1", "-f", &file]);
    std::fs::remove_file(&dump).expect("the dump");
    let restored = PostgresStore::connect(other, 1);
    assert_eq!(check(&restored, "k", &limit, 2).await, Ok(Some(0)));
    assert_eq!(check(&restored, "k", &limit, 1).await, Ok(Some(1)));
}

/// Installs at once, and again over live states.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installs_at_once_and_again_keep_the_states() {
    let server = running!(Server::shared());
    let config = server.database().await;
    let mut installs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = PostgresStore::connect(config.clone(), 1);
        installs.spawn(async move { store.install().await });
    }
    assert!(installs.join_all().await.iter().all(Result::is_ok));
    let (store, limit) = (PostgresStore::connect(config, 1), bucket("10/d"));
    assert_eq!(check(&store, "a", &limit, 10).await, Ok(Some(10)));
    store.install().await.expect("installed again");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(0)));
}

/// `meter.check` of an earlier file returned output parameters, which a new file cannot merely replace.
#[tokio::test]
async fn newer_file_replaces_an_earlier_one_with_states() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let limit = bucket("10/d");
    // Of a rate whose drained units do not fit, so that its rows keep the level.
    let fine = bucket("10007/365d burst 10");
    assert_eq!(check(&store, "a", &limit, 9).await, Ok(Some(9)));
    assert_eq!(check(&store, "b", &fine, 9).await, Ok(Some(9)));
    let client = connect(&config).await;
    let earlier = "ALTER TABLE meter.bucket RENAME mark TO level;
        UPDATE meter.bucket SET level = level - t * drain WHERE key = 'a';
        DROP FUNCTION meter.check;
        CREATE FUNCTION meter.check(key text, cost bigint, drain bigint, one bigint, burst bigint, tick bigint DEFAULT 0,
          OUT admitted boolean, OUT clock bigint, OUT t bigint, OUT level bigint)
        LANGUAGE sql AS 'SELECT false, 1::bigint, 1::bigint, 0::bigint'";
    client.batch_execute(earlier).await.expect("the earlier function");
    // This session has planned a call of the earlier function.
    let prepared = client.prepare("SELECT admitted FROM meter.check('a', 8640000000, 1, 8640000000, 86400000000)");
    let prepared = prepared.await.expect("a statement");
    let admitted = |rows: Vec<tokio_postgres::Row>| rows[0].get::<_, bool>(0);
    assert!(!admitted(client.query(&prepared, &[]).await.expect("a row")));
    store.install().await.expect("upgraded");
    for (key, limit) in [("a", &limit), ("b", &fine)] {
        assert_eq!(check(&store, key, limit, 2).await, Ok(Some(0)));
        assert_eq!(check(&store, key, limit, 1).await, Ok(Some(1)));
    }
    assert!(!admitted(client.query(&prepared, &[]).await.expect("a row")));
}

/// A call of an earlier file's function waits for the upgrade, finds a column renamed, and is decided by the new function.
#[tokio::test]
async fn upgrade_fails_no_call_in_flight() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let limit = bucket("10/d");
    assert_eq!(check(&store, "a", &limit, 9).await, Ok(Some(9)));
    let client = connect(&config).await;
    let earlier = "ALTER TABLE meter.bucket RENAME mark TO level;
        UPDATE meter.bucket SET level = level - t * drain;
        CREATE OR REPLACE FUNCTION meter.check(key text, cost bigint, drain bigint, one bigint, burst bigint, tick bigint DEFAULT 0)
        RETURNS meter.decision LANGUAGE plpgsql AS
        'BEGIN UPDATE meter.bucket b SET level = b.level; RETURN (false, 1, 1, 0)::meter.decision; END'";
    client.batch_execute(earlier).await.expect("the earlier function");
    assert_eq!(check(&store, "a", &limit, 1).await, Ok(Some(0)));
    let begin = "BEGIN; LOCK TABLE meter.bucket";
    client.batch_execute(begin).await.expect("locked");
    let in_flight = tokio::spawn({
        let store = store.clone();
        async move { check(&store, "a", &bucket("10/d"), 1).await }
    });
    until_a_session_waits(&connect(&config).await, true).await;
    let upgrade = format!("{}; COMMIT", ratelimit_meter_postgres::SQL);
    client.batch_execute(&upgrade).await.expect("upgraded");
    assert_eq!(in_flight.await.expect("no panic"), Ok(Some(1)));

    // The functions of the earlier file over the tables of the newer one.
    let create = &earlier[earlier.find("CREATE").expect("a function")..];
    client.batch_execute(create).await.expect("the earlier function");
    let error = check(&store, "a", &limit, 1).await.expect_err("no column");
    assert_eq!(error.name(), "refused", "{error}");
    assert!(error.to_string().contains("install the newest"), "{error}");
}

/// From a plain thread, and from a thread of an async runtime, where it blocks and does not panic.
#[tokio::test]
async fn blocking_store_answers_from_any_thread() {
    let server = running!(Server::shared());
    let config = server.database().await;
    let store = BlockingPostgresStore::new(PostgresStore::connect(config, 2)).expect("a thread");
    store.install().expect("installed");
    let limit = bucket("10/d");
    let asks = [Ask {
        key: "a",
        limit: &limit,
        n: 1,
    }];
    let decide = || store.decide(Verb::Check, None, &asks).expect("a decision").cells;
    assert_eq!(decide(), Some(1));
    let other = std::thread::scope(|scope| scope.spawn(decide).join());
    assert_eq!(other.expect("no panic"), Some(1));
    assert_eq!(store.sweep(0).expect("a sweep").forgotten, 0);
}

#[tokio::test]
async fn keys_that_text_cannot_hold_are_errors() {
    let server = running!(Server::shared());
    let (store, _) = server.store().await;
    let limit = bucket("10/d");
    // Random, since an index compresses repeated values.
    let long: String = std::iter::repeat_with(fastrand::alphanumeric).take(5000).collect();
    for key in ["a\0b", &long] {
        let answer = check(&store, key, &limit, 1).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    assert_eq!(check(&store, "кошка 'or' 1=1; --", &limit, 1).await, Ok(Some(1)));
}
