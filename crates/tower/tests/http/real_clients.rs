//! Clients of other projects: curl, a browser, Python's urllib3 and Go's retryablehttp, against servers on loopback.

use crate::servers::{hello, serve};
use crate::support::{shared, soon};
use axum::Router;
use axum::routing::post;
use ratelimit_meter_tower::{EXPOSED, Observe, PolicyDecision, RateLimitLayer, Shared};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::process::Command;

/// Prints the reason why a test is skipped. Programs that `.ci/setup` installs must be there in CI.
fn skip(missing: &str, is_installed_in_ci: bool) {
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!(is_installed_in_ci && is_ci), "no {missing}, but CI=true");
    // Not by `println`, whose text the test harness hides if the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: no {missing}");
}

/// Runs a command to its end, which comes in time, and returns its output.
async fn output(command: &mut Command) -> Output {
    soon(command.kill_on_drop(true).output()).await.unwrap()
}

/// A command, if it is there.
async fn command(name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().await.is_ok() {
        return Some(Command::new(name));
    }
    skip(name, true);
    None
}

#[tokio::test]
async fn curl_reads_the_fields() {
    let Some(mut curl) = command("curl").await else { return };
    let address = serve(hello(shared("1/h"))).await;
    let url = format!("http://{address}/");
    let output = output(curl.args(["-s", "-i", "-w", "\n", &url, &url])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |start: &str| {
        text.lines()
            .filter(|line| line.starts_with(start))
            .map(str::trim_end)
            .next_back()
            .unwrap()
            .to_owned()
    };
    assert_eq!(line("HTTP/1.1"), "HTTP/1.1 429 Too Many Requests");
    assert_eq!(line("retry-after"), "retry-after: 3600");
    assert_eq!(line("ratelimit:"), "ratelimit: \"default\";r=0;t=3600");
    assert_eq!(line("ratelimit-policy"), "ratelimit-policy: \"default\";q=1;w=3600");
    assert!(text.trim_end().ends_with(r#""violated-policies":["default"]}"#));
}

/// The responses that a page of another origin sees for two POSTs that each need a preflight.
const PAGE: &str = r#"<body><script>
const ask = async () => {
    try {
        const response = await fetch("http://ADDRESS/", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
        const seen = ["retry-after", "ratelimit"].map(name => response.headers.get(name));
        return [response.status, ...seen].join(" ");
    } catch (error) { return error.name; }
};
(async () => { document.body.textContent = "seen: " + await ask() + " / " + await ask() + " end"; })();
</script></body>"#;

/// Returns the text of a page that asks an API. The browser is started again if it ends without a page, as it may on a loaded machine.
async fn seen_by_a_page(app: impl Fn() -> Router) -> Option<String> {
    const ATTEMPTS: u32 = 3;
    for attempt in 1.. {
        match try_page(app()).await? {
            Ok(seen) => return Some(seen),
            Err(output) => assert!(attempt < ATTEMPTS, "{output}"),
        }
    }
    None
}

/// Returns the text of the page, or the output of a browser that shows none.
async fn try_page(app: Router) -> Option<Result<String, String>> {
    let mut chromium = command("chromium").await?;
    let api = serve(app).await;
    let page = PAGE.replace("ADDRESS", &api.to_string());
    let site = serve(Router::new().route("/", axum::routing::get(|| async { axum::response::Html(page) }))).await;
    let profile = std::env::temp_dir().join(format!("ratelimit-meter-tower-{}", api.port()));
    let flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--dump-dom",
    ];
    let command = chromium
        .args(flags)
        .args(["--timeout=60000", "--virtual-time-budget=20000"])
        .args([
            format!("--user-data-dir={}", profile.display()),
            format!("http://{site}/"),
        ]);
    let output = output(command).await;
    let _ = std::fs::remove_dir_all(&profile);
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.split_once("seen: ").and_then(|(_, after)| after.split_once(" end"));
    let output = || format!("{dom} {}", String::from_utf8_lossy(&output.stderr));
    Some(seen.map(|(seen, _)| seen.to_owned()).ok_or_else(output))
}

fn cors() -> tower_http::cors::CorsLayer {
    let any = tower_http::cors::Any;
    tower_http::cors::CorsLayer::new()
        .allow_origin(any)
        .allow_headers(any)
        .allow_methods(any)
        .expose_headers(EXPOSED)
}

fn once_an_hour() -> RateLimitLayer<Shared> {
    RateLimitLayer::new(shared("1/h"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r22_page_reads_denial_with_cors_outside() {
    let right = || {
        Router::new()
            .route("/", post(|| async {}))
            .layer(once_an_hour())
            .layer(cors())
    };
    if let Some(seen) = seen_by_a_page(right).await {
        assert_eq!(seen, "200  \"default\";r=0;t=3600 / 429 3600 \"default\";r=0;t=3600");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r22_page_sees_failure_with_cors_inside() {
    let wrong = || {
        Router::new()
            .route("/", post(|| async {}))
            .layer(cors())
            .layer(once_an_hour())
    };
    if let Some(seen) = seen_by_a_page(wrong).await {
        assert_eq!(seen, "200  \"default\";r=0;t=3600 / TypeError");
    }
}

#[derive(Clone, Default)]
struct Denials(Arc<AtomicU32>);

impl Observe for Denials {
    fn denied(&self, _: &PolicyDecision<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that admits a request a second, and its denials.
async fn one_a_second() -> (SocketAddr, Denials) {
    let denials = Denials::default();
    let layer = RateLimitLayer::new(Shared::new("1/s burst 1".parse().unwrap()).unwrap()).observe(denials.clone());
    let app = Router::new()
        .route("/", axum::routing::get(|| async { "hello" }))
        .layer(layer);
    (serve(app).await, denials)
}

/// Runs a client that sends three requests, and checks that all succeed and that each denial was obeyed: it comes back once for each.
async fn obeys(client: &mut Command) {
    let (address, denials) = one_a_second().await;
    let output = output(client.env("URL", format!("http://{address}/"))).await;
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(text.trim(), "200 200 200", "{errors}");
    // A client that waits for Retry-After is never denied twice in a row; on a slow machine not even once.
    assert!(denials.0.load(Ordering::Relaxed) <= 2, "{denials:?}");
}

impl core::fmt::Debug for Denials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} denials", self.0.load(Ordering::Relaxed))
    }
}

const PYTHON: &str = r#"
import os, urllib3
# Of the retries urllib3 makes by itself: the default policy obeys Retry-After for 413, 429 and 503.
http = urllib3.PoolManager(retries=urllib3.Retry(total=1))
print(*[http.request("GET", os.environ["URL"]).status for _ in range(3)])
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r30_pythons_urllib3_obeys_retry_after() {
    for python in ["python3", "/usr/bin/python3"] {
        let import = Command::new(python).args(["-c", "import urllib3"]).output().await;
        if import.is_ok_and(|output| output.status.success()) {
            return obeys(Command::new(python).args(["-c", PYTHON])).await;
        }
    }
    skip("python3 with urllib3 (Debian: python3-urllib3)", true);
}

const GO: &str = r#"
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

func main() {
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.RetryMax = 1
	client.RetryWaitMin = time.Millisecond // without Retry-After
	for i := 0; i < 3; i++ {
		response, err := client.Get(os.Getenv("URL"))
		if err != nil {
			panic(err)
		}
		response.Body.Close()
		if i > 0 {
			fmt.Print(" ")
		}
		fmt.Print(response.StatusCode)
	}
}
"#;

/// Debian's folder of Go packages.
const GO_PACKAGES: &str = "/usr/share/gocode";

/// Not in CI: Go takes a third of a gigabyte, and half a minute to install.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r30_gos_retryablehttp_obeys_retry_after() {
    let package = Path::new(GO_PACKAGES).join("src/github.com/hashicorp/go-retryablehttp");
    let has_go = Command::new("go").arg("version").output().await.is_ok();
    if !has_go || !package.exists() {
        return skip(
            "go with retryablehttp (Debian: golang-go golang-github-hashicorp-go-retryablehttp-dev)",
            false,
        );
    }
    let folder = std::env::temp_dir().join(format!("ratelimit-meter-tower-go-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("main.go"), folder.join("client"));
    std::fs::write(&source, GO).unwrap();
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .env("GO111MODULE", "off")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", folder.join("cache"))
        .env("CGO_ENABLED", "0")
        .output()
        .await
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    obeys(&mut Command::new(program)).await;
    let _ = std::fs::remove_dir_all(&folder);
}
