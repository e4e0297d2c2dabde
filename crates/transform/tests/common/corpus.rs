//! The kept corpus of the framer: what people wrote (`tests/corpus`), and what libFuzzer found (`tests/found.txt`).
//!
//! Used by `tests/mutations.rs` and by the example `corpus`. It must not know what is right.

use std::path::PathBuf;

/// What the two sides say, in order: whether it is the server, and the bytes.
pub type Talk = Vec<(bool, Vec<u8>)>;

/// Where the inputs are that libFuzzer found: one a line, escaped.
pub fn found_file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/found.txt"))
}

/// What people wrote.
pub fn talks() -> Vec<Talk> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the corpus is gone");
    files.iter().map(|file| talk(&std::fs::read_to_string(file).unwrap())).collect()
}

/// A corpus file is text for people: lines `>` from the client, `<` from the server, escapes as in Rust.
fn talk(text: &str) -> Talk {
    let said = |line: &str| {
        let rest = &line[line.len().min(2)..];
        let bytes = rest.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").into_bytes();
        (line.starts_with('<'), bytes)
    };
    text.lines().map(said).collect()
}

/// As the fuzz target reads it.
pub fn packed(act: u8, talk: &Talk) -> Vec<u8> {
    let mut input = vec![act];
    for (is_server, bytes) in talk {
        let way = if *is_server { 0x80 } else { 0 };
        for piece in bytes.chunks(0x7f * 8) {
            // Records are multiples of eight: the last is padded by the next line's kind, so it is cut into smaller ones.
            let (whole, rest) = piece.split_at(piece.len() / 8 * 8);
            if !whole.is_empty() {
                input.push(way | u8::try_from(whole.len() / 8).unwrap());
                input.extend_from_slice(whole);
            }
            for byte in rest {
                input.extend_from_slice(&[way, *byte]);
            }
        }
    }
    input
}

/// What libFuzzer found, packed.
pub fn found() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(found_file()).unwrap();
    text.lines().map(|line| unescaped(line.as_bytes())).collect()
}

/// The inverse of `escape_ascii`.
fn unescaped(line: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let kind = rest[0];
        rest = &rest[1..];
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    bytes
}
