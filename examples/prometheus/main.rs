//! Limits made-up clients and prints the metrics as Prometheus reads them. `dashboard.json` beside this file shows them in Grafana.
//!
//! ```sh
//! cargo run --example prometheus --features metrics
//! ```
//!
//! A server would answer `GET /metrics` with the same text: `handle.render()`, after the three calls of `record`.

use metrics_exporter_prometheus::PrometheusBuilder;
use ratelimit_meter::observed::{Observed, record_clock};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // The recorder comes first: an observed meter looks its counters up once.
    let handle = PrometheusBuilder::new().install_recorder()?;

    let service = Observed::new("service", GCRA::from_quota("1000/s".parse::<Quota>()?)?);
    let clients = KeyedMeter::<u32>::with_capacity("5/min".parse::<Quota>()?, 10_000)?;
    let clients = Observed::new("clients", clients);
    let mut served = 0;
    for request in 0..2000 {
        // Client 0 sends every other request.
        let client = if request % 2 == 0 { 0 } else { request };
        // Ask the client's limit first, so that one client cannot use up the service.
        if clients.check(&client).is_ok() && service.check().is_ok() {
            served += 1;
        }
    }

    clients.record();
    record_clock();
    handle.run_upkeep();
    println!("# {served} of 2000 requests are served");
    println!("{}", handle.render());
    Ok(())
}
