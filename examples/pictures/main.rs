//! Draws the pictures of `docs/which.md`: the same requests through each kind of limit, in virtual time.
//!
//! `cargo run --features dual --example pictures` writes them to `docs/`. `cargo test --features dual --example pictures` compares them, and the
//! numbers on that page, with a new drawing.

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

/// A picture, and the name of its file and of its link.
struct Picture {
    name: &'static str,
    svg: String,
}

fn pictures() -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut all = bursts::pictures(&bursts::Runs::new()?);
    all.push(averages::picture(&averages::Runs::new()?));
    Ok(all)
}

/// Returns the files for `docs/`: the pictures, and one file with all of them as data, for documentation without files beside it.
fn files() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let pictures = pictures()?;
    let definitions = pictures.iter().map(definition).collect();
    let files = pictures
        .into_iter()
        .map(|Picture { name, svg }| (format!("{name}.svg"), svg));
    Ok(files.chain([("which-pictures.md".to_owned(), definitions)]).collect())
}

/// Returns the link of a picture in Markdown, as data.
fn definition(Picture { name, svg }: &Picture) -> String {
    // Bytes with a meaning in Markdown or in a URL.
    let escape = |byte: u8| match byte {
        b'%' | b'#' | b'&' | b'<' | b'>' | b'\\' | b'\n' => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    };
    let data: String = svg.trim_end().bytes().map(escape).collect();
    format!("[{name}]: <data:image/svg+xml,{data}>\n")
}

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs"))
}

fn main() -> Result<(), Box<dyn Error>> {
    for (file, text) in files()? {
        std::fs::write(docs().join(&file), &text)?;
        println!("docs/{file}: {} bytes", text.len());
    }
    Ok(())
}
