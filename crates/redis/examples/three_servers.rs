//! Three axum processes share one limit, on Redis and then on PostgreSQL: `cargo run -p ratelimit_meter_redis --example three_servers`.
//!
//! For each store the example starts a server and itself three times. It sends 60 requests of two clients to the three in turn, and prints the
//! admissions of each process. A limit in each process would admit three times as many. With `redis` or `postgres` as an argument it shows that store
//! alone.

use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::HeaderMap};
use ratelimit_meter::NegativeMultiDecision;
use ratelimit_meter_postgres::PostgresStore;
use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{AsyncStore, OnFailure, SharedMeter, Via};
use ratelimit_meter_store_check::postgres::Postgres;
use ratelimit_meter_store_check::server::{Server, free_port, wait_for};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Each client may send 10 requests at once, and 60 a minute.
const QUOTA: &str = "60/min burst 10";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => on_redis().and_then(|()| on_postgres()),
        ["redis"] => on_redis(),
        ["postgres"] => on_postgres(),
        ["serve", store, port] => serve(store, port.parse()?),
        _ => Err("usage: three_servers [redis|postgres]".into()),
    }
}

/// One of the three: a service behind the limit.
fn serve(store: &str, port: u16) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if store.starts_with("redis://") {
            serve_over(RedisStore::open(store)?, port).await
        } else {
            let store = PostgresStore::connect(store.parse()?, 4);
            store.install().await?;
            serve_over(store, port).await
        }
    })
}

async fn serve_over<S: AsyncStore>(store: S, port: u16) -> Result<(), Box<dyn Error>> {
    let limit = SharedMeter::builder("demo", QUOTA.parse()?)
        .deadline(Duration::from_millis(500))
        .on_failure(OnFailure::Deny)
        .build(store)?;
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(middleware::from_fn_with_state(limit, limited::<S>));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// Admits a request, or answers 429 with the seconds until the next conforms; 503 if the store does not answer.
async fn limited<S: AsyncStore>(
    State(limit): State<SharedMeter<S>>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    // In production, use a subject that the client cannot choose: its address, or its account.
    let client = query.get("client").map_or("", String::as_str);
    let verdict = match limit.check(client).await {
        Ok(verdict) => verdict,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    };
    match (verdict.decision(), verdict.via()) {
        (Ok(()), _) => next.run(request).await,
        (Err(_), Via::Failure(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        (Err(denied), _) => {
            let mut headers = HeaderMap::new();
            if let NegativeMultiDecision::BatchNonConforming(_, denial) = denied {
                let seconds = denial.wait_time().as_secs_f64().ceil().max(1.0);
                headers.insert(
                    RETRY_AFTER,
                    HeaderValue::from_str(&seconds.to_string()).unwrap_or(HeaderValue::from_static("1")),
                );
            }
            (StatusCode::TOO_MANY_REQUESTS, headers, format!("{denied}\n")).into_response()
        }
    }
}

/// The three, killed at the end.
struct Processes(Vec<(u16, Child)>);

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn on_redis() -> Result<(), Box<dyn Error>> {
    match Server::start(&[]) {
        Some(redis) => demonstrate("Redis", &redis.url()),
        None => {
            println!(
                "install one: `apt install redis-server`, `brew install redis`; or name a server's binary by METER_TEST_REDIS"
            );
            Ok(())
        }
    }
}

fn on_postgres() -> Result<(), Box<dyn Error>> {
    match Postgres::start() {
        Some(postgres) => {
            let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port());
            demonstrate("PostgreSQL", &url)
        }
        None => {
            println!(
                "install one: `apt install postgresql`, `brew install postgresql`; or name the folder of its programs by METER_TEST_POSTGRES"
            );
            Ok(())
        }
    }
}

fn demonstrate(name: &str, url: &str) -> Result<(), Box<dyn Error>> {
    let mut processes = Processes(Vec::new());
    for _ in 0..3 {
        let port = free_port();
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", url, &port.to_string()])
            .spawn()?;
        processes.0.push((port, child));
    }
    for (port, _) in &processes.0 {
        if !wait_for(|| status(*port, "nobody").is_ok()) {
            return Err(format!("the service on port {port} does not start").into());
        }
    }
    println!("three processes, one limit on {name}: {QUOTA} for each client");
    let begin = Instant::now();
    let mut admitted = BTreeMap::<(&str, u16), u32>::new();
    for i in 0..60 {
        let client = ["alice", "bob"][i % 2];
        let port = processes.0[i / 2 % 3].0;
        *admitted.entry((client, port)).or_default() += u32::from(status(port, client)? == 200);
    }
    for ((client, port), number) in &admitted {
        println!("{client:>6} on port {port}: {number} admitted");
    }
    for client in ["alice", "bob"] {
        let total: u32 = admitted
            .iter()
            .filter(|((name, _), _)| *name == client)
            .map(|(_, number)| number)
            .sum();
        println!("{client:>6}: {total} of 30 admitted in all");
        // The burst, and a cell each second.
        let most = 11 + begin.elapsed().as_secs();
        if !(10..=most).contains(&total.into()) {
            return Err(format!("{total} admitted, not 10 to {most}").into());
        }
    }
    Ok(())
}

/// Sends one request and returns the status of the answer.
fn status(port: u16, client: &str) -> Result<u16, Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "GET /?client={client} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).ok_or("no status")?.parse()?)
}
