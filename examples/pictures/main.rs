//! Draws the pictures of `docs/which.md`: the same requests through each kind of limit, in virtual time.
//!
//! `cargo run --features dual --example pictures` writes them to `docs/`; `cargo test --features dual --example pictures` holds them, and
//! the numbers on that page, to what is drawn.

mod averages;
mod bursts;
mod drawing;
mod plots;
mod run;
#[cfg(test)]
mod tests;
mod traffic;

use std::error::Error;
use std::path::Path;

/// A picture and where in `docs/` it belongs.
struct Picture {
    file: &'static str,
    svg: String,
}

fn pictures() -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut all = bursts::pictures(&bursts::Runs::new()?);
    all.push(averages::picture(&averages::Runs::new()?));
    Ok(all)
}

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
}

fn main() -> Result<(), Box<dyn Error>> {
    for Picture { file, svg } in pictures()? {
        std::fs::write(docs().join(file), &svg)?;
        println!("docs/{file}: {} bytes", svg.len());
    }
    Ok(())
}
