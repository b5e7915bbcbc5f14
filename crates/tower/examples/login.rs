//! A log-in guard: five failures an hour for each name and twenty for each address; a log-in that succeeds is free.
//!
//! `cargo run -p ratelimit_meter_tower --example login` guesses a password and prints the answers.

use http::{Request, Response, StatusCode};
use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer, key_fn};
use std::convert::Infallible;
use std::net::SocketAddr;
use tower::{Layer, ServiceExt, service_fn};

/// The name that a form was sent with, which an outer layer has read.
#[derive(Clone)]
struct LoginName(&'static str);

async fn log_in(request: Request<&'static str>) -> Result<Response<Vec<u8>>, Infallible> {
    let status = match *request.body() {
        "xyzzy" => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    };
    let response = Response::builder().status(status).body(Vec::new());
    Ok(response.unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The quota of a name would reveal attempts of other people, so it is quiet.
    let names = PerKey::new(
        key_fn(|head| head.extensions().get::<LoginName>().map(|name| name.0)),
        "5/h".parse()?,
        100_000,
    )?
    .named("name")
    .quiet()
    .refund_if(|reply| reply.status().is_success());
    let addresses = PerKey::new(PeerIp::new(), "20/h".parse()?, 100_000)?
        .named("ip")
        .refund_if(|reply| reply.status().is_success());
    let service = RateLimitLayer::new((names, addresses)).layer(service_fn(log_in));
    let passwords = ["xyzzy", "1234", "letmein", "qwerty", "dragon", "secret", "xyzzy"];
    for password in passwords {
        let request = Request::post("/login")
            .extension(LoginName("alice"))
            .extension(SocketAddr::from(([192, 0, 2, 1], 4711)))
            .body(password)?;
        let response = service.clone().oneshot(request).await?;
        let wait = response.headers().get("retry-after").map(|wait| wait.to_str());
        let wait = wait
            .transpose()?
            .map_or_else(String::new, |wait| format!(", retry after {wait} s"));
        println!("{password}: {}{wait}", response.status());
    }
    Ok(())
}
