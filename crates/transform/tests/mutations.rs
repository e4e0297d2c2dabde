//! A short run of what `fuzz/` does for long: inputs of the kept corpus, changed at random from a fixed seed.

mod common;

/// Rounds unless `MODNET_ROUNDS` says otherwise; some seconds in a debug build.
const ROUNDS: u64 = 40_000;

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// What parsers stumble over.
const WORDS: [&str; 22] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    ": ",
    " ",
    "\0",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Upgrade: h2c\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "HEAD ",
    "CONNECT ",
    "GET / HTTP/1.1\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n\r\n",
];

fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the corpus is gone");
    files.iter().map(|file| packed(&std::fs::read(file).unwrap())).collect()
}

/// A corpus file is text for people: lines `>` from the client, `<` from the server, escapes as in Rust.
fn packed(text: &[u8]) -> Vec<u8> {
    let mut input = vec![0];
    for line in String::from_utf8(text.to_vec()).unwrap().lines() {
        let (way, rest) = (if line.starts_with('<') { 0x80 } else { 0 }, &line[line.len().min(2)..]);
        let bytes = rest.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").into_bytes();
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

#[test]
fn the_corpus_and_its_mutations_keep_the_rules() {
    let corpus = corpus();
    let mut chance = Chance(0x2026_1126);
    for input in &corpus {
        for act in 0..16 {
            let mut input = input.clone();
            input[0] = act;
            common::check(&input);
        }
    }
    let rounds = std::env::var("MODNET_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    for _ in 0..rounds {
        let mut input = corpus[chance.below(corpus.len())].clone();
        input[0] = u8::try_from(chance.below(16)).unwrap();
        for _ in 0..=chance.below(4) {
            let at = chance.below(input.len());
            match chance.below(5) {
                0 => input[at] = u8::try_from(chance.below(256)).unwrap(),
                1 => drop(input.splice(at..at, WORDS[chance.below(WORDS.len())].bytes())),
                2 => drop(input.drain(at..(at + chance.below(9)).min(input.len()))),
                3 => {
                    let other = &corpus[chance.below(corpus.len())];
                    input.extend_from_slice(&other[chance.below(other.len())..]);
                }
                _ => input.truncate(at.max(1)),
            }
            if input.is_empty() {
                input.push(0);
            }
        }
        common::check(&input);
    }
}
