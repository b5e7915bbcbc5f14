//! Behind a proxy, with plans: a limit for each address beside one for each user, and a third on trial.
//!
//! `cargo run -p ratelimit_meter_tower --example plans` sends itself some requests and prints the answers.

use http::{Method, Request, Response};
use ratelimit_meter_tower::{ClientIp, ExtensionKey, Observe, PRIVATE, PerKey, PolicyDecision, RateLimitLayer, Shared};
use std::convert::Infallible;
use std::net::SocketAddr;
use tower::{Layer, ServiceExt, service_fn};

/// The result of authentication, which is an outer layer.
#[derive(Clone, PartialEq, Eq, Hash)]
struct User {
    id: u32,
    plan: &'static str,
}

/// Prints the requests that a limit on trial would deny.
struct Trial;

impl Observe for Trial {
    fn would_deny(&self, event: &PolicyDecision<'_>) {
        println!("  ({} would deny this)", event.policy());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = PerKey::new(ClientIp::trusting(PRIVATE)?, "300/min".parse()?, 1_000_000)?.named("ip");
    let user = PerKey::new(ExtensionKey::<User>::new(), "5/min".parse()?, 200_000)?
        .named("user")
        .tier("pro", "600/min".parse()?)?
        .tier_by(|head| head.extensions().get::<User>().map(|user| user.plan))
        .cost(|head| if head.method() == Method::POST { 5 } else { 1 });
    let trial = Shared::new("2/s burst 2".parse()?)?.named("all").dry_run();
    let layer = RateLimitLayer::new((address, user, trial))
        .skip_if(|head| head.uri().path() == "/health")
        .observe(Trial);
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Vec::<u8>::new()))
    }));

    let free = User { id: 1, plan: "default" };
    let pro = User { id: 2, plan: "pro" };
    for (user, method) in [
        (&free, Method::GET),
        (&free, Method::POST),
        (&free, Method::POST),
        (&pro, Method::POST),
    ] {
        let request = Request::builder()
            .method(&method)
            .uri("/")
            .header("x-forwarded-for", "203.0.113.7")
            .extension(SocketAddr::from(([10, 0, 0, 1], 443)))
            .extension(user.clone())
            .body(())?;
        let response = service.clone().oneshot(request).await?;
        println!("user {} ({}), {method}: {}", user.id, user.plan, response.status());
        for name in ["ratelimit", "retry-after"] {
            if let Some(value) = response.headers().get(name) {
                println!("  {name}: {}", value.to_str()?);
            }
        }
    }
    Ok(())
}
