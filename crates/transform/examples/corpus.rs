//! Carries the framer's corpus to libFuzzer and back; `scripts/nightly.sh fuzz` uses it.
//!
//!     cargo run -p modnet-transform --example corpus seeds FOLDER     # one file an input
//!     cargo run -p modnet-transform --example corpus keep FOLDER      # the folder's files become tests/found.txt

use std::{fs, path::Path};

#[path = "../tests/common/corpus.rs"]
mod corpus;

/// Something is done with each input in four ways, of the 64 that the first byte can choose.
const ACTS: [u8; 4] = [0, 1, 14, 63];

fn main() -> std::io::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match &words[..] {
        [act, folder] if act == "seeds" => seeds(folder.as_ref()),
        [act, folder] if act == "keep" => keep(folder.as_ref()),
        _ => {
            eprintln!("usage: corpus seeds|keep FOLDER");
            std::process::exit(2)
        }
    }
}

fn seeds(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let talks = corpus::talks();
    let written = talks.iter().flat_map(|talk| ACTS.map(|act| corpus::packed(act, talk)));
    for (number, input) in written.chain(corpus::found()).enumerate() {
        fs::write(folder.join(format!("seed-{number}")), input)?;
    }
    Ok(())
}

fn keep(folder: &Path) -> std::io::Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?.escape_ascii().to_string());
    }
    inputs.sort();
    fs::write(corpus::found_file(), inputs.join("\n") + "\n")
}
