//! Errors of servers that answer, but do not decide: each kind, with advice.

use crate::support::{OnRuntime, PATIENT, bucket, first_answer};
use ratelimit_meter_redis::{RedisBlockingStore, RedisStore};
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, Reply, StoreError, Verb};
use ratelimit_meter_store_check::proxy::{Proxy, Replies};
use ratelimit_meter_store_check::server::{Server, wait_for};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// The answers of the async and of the blocking store to one check.
fn check(url: &str) -> [Result<Reply, StoreError>; 2] {
    let (limit, _) = bucket("10/d");
    let asks = [Ask {
        key: "api:{alice}:0",
        limit: &limit,
        n: 1,
    }];
    let blocking = RedisBlockingStore::open(url, PATIENT).expect("a URL");
    let store = OnRuntime::unconnected(url);
    let mut answer = store.decide(Verb::Check, None, &asks);
    // Connecting takes long on a loaded machine.
    while matches!(&answer, Err(error) if error.to_string().contains("no answer")) {
        answer = store.decide(Verb::Check, None, &asks);
    }
    [answer, blocking.decide(Verb::Check, None, &asks)]
}

/// Checks that both stores fail with an error of this name, whose text contains `advice`. No cell was counted.
fn fails(url: &str, name: &str, advice: &str) {
    for answer in check(url) {
        let error = answer.expect_err(url);
        assert_eq!(error.name(), name, "{error}");
        assert!(error.to_string().contains(advice), "{error}");
        assert!(!error.is_indeterminate(), "{error}");
    }
}

/// Starts a server that answers each command with `line`, and returns its URL.
fn answering(line: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // The thread ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let (Ok(mut stream), mut read) = (stream, [0; 65536]) else {
                    return;
                };
                while let Ok(length @ 1..) = stream.read(&mut read) {
                    let commands = read[..length]
                        .split(|&byte| byte == b'\n')
                        .filter(|line| line.starts_with(b"*"));
                    let replies = format!("-{line}\r\n").repeat(commands.count());
                    if stream.write_all(replies.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://127.0.0.1:{port}/")
}

#[test]
fn server_errors_are_typed_and_advise() {
    let table = [
        ("NOAUTH Authentication required.", "refused", "redis://:password@host"),
        // Of a command of more than ten words, such as a peek.
        (
            "ERR Protocol error: unauthenticated multibulk length",
            "refused",
            "redis://:password@host",
        ),
        (
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "refused",
            "+evalsha",
        ),
        (
            "ERR ACL failure in script: User app has no permissions to run the 'get' command",
            "refused",
            "+get",
        ),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it cannot",
            "refused",
            "see its log",
        ),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "refused",
            "raise maxmemory",
        ),
        (
            "NOREPLICAS Not enough good replicas to write.",
            "refused",
            "min-replicas-to-write",
        ),
        (
            "ERR unknown command 'EVALSHA', with args beginning with: ",
            "refused",
            "Sentinel",
        ),
        (
            "ERR Unknown Redis command called from script script: 0, on @user_script:7.",
            "refused",
            "TIME",
        ),
        ("DENIED Redis is running in protected mode", "refused", "set a password"),
        (
            "READONLY You can't write against a read only replica.",
            "unreachable",
            "connect to the primary",
        ),
        (
            "LOADING Redis is loading the dataset in memory",
            "unreachable",
            "loading the dataset",
        ),
        ("MASTERDOWN Link with MASTER is down", "unreachable", "MASTER is down"),
        ("CLUSTERDOWN The cluster is down", "unreachable", "cluster is down"),
        // Of Redis before 7, in which scripts have the error of a command in their own.
        (
            "ERR Error running script (call to f_0): @user_script:19: -OOM command not allowed when used memory > 'maxmemory'.",
            "refused",
            "raise maxmemory",
        ),
    ];
    for (line, name, advice) in table {
        fails(&answering(line), name, advice);
    }
    // The client takes the answer of a full server for one about the password.
    let full = answering("ERR max number of clients reached");
    fails(&full.replace("redis://", "redis://:secret@"), "refused", "maxclients");
}

#[test]
fn passwords_rights_and_databases_are_asked_for() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.url();
    let with = |user: &str| url.replace("redis://", &format!("redis://{user}@"));
    for rights in [
        ["noscripts", "~*", "-@scripting"],
        ["nokeys", "~other*", "+@all"],
        ["noget", "~*", "-get"],
    ] {
        let [name, keys, commands] = rights;
        let command = ["ACL", "SETUSER", name, "on", ">secret", keys, "+@all", commands];
        assert_eq!(server.command(&command).unwrap(), "+OK\r\n");
    }
    fails(&with("noscripts:secret"), "refused", "+evalsha");
    fails(&with("nokeys:secret"), "refused", "the keys ~name*");
    fails(&with("noget:secret"), "refused", "+get");
    fails(&with("noget:wrong"), "refused", "check the user and the password");
    fails(&with("stranger:secret"), "refused", "check the user and the password");
    fails(&format!("{url}99"), "refused", "choose a database");
    let documented = ["+evalsha", "+eval", "+get", "+set", "+del", "+time", "~api*"];
    let command = [&["ACL", "SETUSER", "app", "on", ">secret", "-@all"], &documented[..]].concat();
    assert_eq!(server.command(&command).unwrap(), "+OK\r\n");
    fails(&format!("{}3", with("app:secret")), "refused", "+select");
    server.command(&["CONFIG", "SET", "requirepass", "p@ss:/?#"]).unwrap();
    fails(&url, "refused", "redis://:password@host");
    fails(&with(":wrong"), "refused", "check the user and the password");
    for answer in check(&with(":p%40ss%3A%2F%3F%23")) {
        assert_eq!(answer.map(|reply| reply.cells), Ok(Some(1)));
    }
}

/// The client alone does not connect again after such an error.
#[test]
fn accepted_password_ends_the_rejection() {
    let Some(server) = Server::start(&[]) else { return };
    let set_user = |state| server.command(&["ACL", "SETUSER", "app", state, ">secret", "~*", "+@all"]);
    let url = server.url().replace("redis://", "redis://app:secret@");
    let store = OnRuntime::unconnected(&url);
    let answer = || {
        store
            .runtime
            .block_on(first_answer(&store.store))
            .map(|reply| reply.cells)
    };
    assert_eq!(set_user("off").unwrap(), "+OK\r\n");
    assert!(matches!(answer(), Err(StoreError::Refused(_))));
    assert_eq!(set_user("on").unwrap(), "+OK\r\n");
    assert!(wait_for(|| answer() == Ok(Some(1))));
}

/// A server that accepts connections and answers nothing: the runtime's clock is paused and goes to the end of each wait.
#[test]
fn silent_server_is_unreachable_before_the_script() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port());
    proxy.set(Replies::Lose);
    let (limit, _) = bucket("10/d");
    let asks = [Ask {
        key: "k",
        limit: &limit,
        n: 1,
    }];
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let answer = runtime
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(async {
            let store = RedisStore::open(&proxy.url()).unwrap();
            store.decide(Verb::Check, None, &asks).await
        });
    let error = answer.expect_err("no answer");
    assert!(
        matches!(&error, StoreError::Unreachable(text) if text.contains("no answer while connecting")),
        "{error}"
    );
}

#[test]
fn other_servers_are_no_decision() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for answer in check(&format!("redis://127.0.0.1:{port}/")) {
        let error = answer.expect_err("HTTP");
        assert!(
            matches!(error, StoreError::Disconnected(_) | StoreError::Unreachable(_)),
            "{error}"
        );
    }
    let unknown = if cfg!(windows) { "11001" } else { "lookup" };
    fails("redis://name.invalid/", "unreachable", unknown);
}
