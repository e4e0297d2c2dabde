//! The kept corpus, changed at random from a fixed seed: a short run of what `make fuzz` does for long.
//!
//! Changes are made to what the two sides say, before it is packed as the fuzz target reads it, so that a word more does not
//! turn the rest into noise. It must not know what is right: `common` says that.

use std::collections::BTreeMap;
use std::time::Instant;

use modnet_transform::http::Reason;

mod common;
#[path = "common/corpus.rs"]
mod corpus;

use corpus::{found, packed, talks, Talk};

/// Rounds unless `MODNET_ROUNDS` says otherwise; some seconds in a debug build.
const ROUNDS: u64 = 40_000;
/// One round in so many repeats a part until it is larger than any bound of the framer; such a round costs some ms.
const LARGE_EVERY: usize = 20_000;
/// Larger than the largest head, and than the heads that wait for their answers.
const LARGE: usize = 300_000;
/// No round may leave more behind, or need more at a time: the inputs, their copies, and what the framer holds.
const MOST_MEMORY: u64 = 64 << 20;

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

/// One change.
fn change(talk: &mut Talk, corpus: &[Talk], chance: &mut Chance) {
    if talk.is_empty() {
        talk.push((false, Vec::new()));
    }
    let which = chance.below(talk.len());
    let bytes = &mut talk[which].1;
    let at = chance.below(bytes.len() + 1);
    match chance.below(16) {
        0 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).unwrap(),
        0..=6 => drop(bytes.splice(at..at, WORDS[chance.below(WORDS.len())].bytes())),
        7 | 8 => drop(bytes.drain(at..(at + 1 + chance.below(9)).min(bytes.len()))),
        9 | 10 => {
            let other = &corpus[chance.below(corpus.len())];
            let (is_server, said) = &other[chance.below(other.len())];
            let from = chance.below(said.len() + 1);
            talk.insert(which, (*is_server, said[from..].to_vec()));
        }
        11 | 12 => {
            let again = talk[which].clone();
            talk.push(again);
        }
        13 | 14 => bytes.truncate(at),
        _ => {
            let other = chance.below(talk.len());
            talk.swap(which, other);
        }
    }
}

/// Says a part of it, or all, again and again.
fn enlarge(talk: &mut Talk, chance: &mut Chance) {
    let which = chance.below(talk.len());
    let bytes = &mut talk[which].1;
    let (from, to) = match chance.below(2) {
        0 => (0, bytes.len()),
        _ => (chance.below(bytes.len() + 1), chance.below(bytes.len() + 1)),
    };
    let part = bytes[from.min(to)..from.max(to)].to_vec();
    if !part.is_empty() {
        drop(bytes.splice(from..from, part.repeat(1 + LARGE / part.len())));
    }
}

/// Most bytes of memory that this process has had at a time.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn the_corpus_and_its_mutations_keep_the_rules() {
    let corpus = talks();
    let mut chance = Chance(0x2026_1126);
    let mut seen = BTreeMap::new();
    let mut check = |input: &[u8]| *seen.entry(common::check(input).unwrap_or("none")).or_insert(0_u64) += 1;
    for talk in &corpus {
        for act in 0..64 {
            check(&packed(act, talk));
        }
    }
    for input in found() {
        check(&input);
    }
    let large = |begin: &str, again: &str| [begin, &again.repeat(LARGE / again.len())].concat().into_bytes();
    check(&packed(0, &vec![(false, large("GET / HTTP/1.1\r\nX: ", "x"))]));
    check(&packed(0, &vec![(false, large("", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"))]));
    let rounds = std::env::var("MODNET_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let (begun, before) = (Instant::now(), peak());
    let mut bytes = 0;
    for round in 1..=rounds {
        let mut talk = corpus[chance.below(corpus.len())].clone();
        let act = u8::try_from(chance.below(64)).unwrap();
        for _ in 0..=chance.below(4) {
            change(&mut talk, &corpus, &mut chance);
        }
        if chance.below(LARGE_EVERY) == 0 {
            enlarge(&mut talk, &mut chance);
        }
        let input = packed(act, &talk);
        bytes += input.len() as u64;
        check(&input);
        if round % 10_000_000 == 0 {
            println!("{round} inputs after {} s, {} MB", begun.elapsed().as_secs(), peak() >> 20);
        }
    }
    println!("{rounds} inputs of {bytes} bytes in {} s: {seen:?}", begun.elapsed().as_secs());
    println!("memory: {} MB before, {} MB at most", before >> 20, peak() >> 20);
    assert!(peak() - before < MOST_MEMORY, "{} MB", peak() >> 20);
    assert!(seen.len() > Reason::ALL.len(), "not every end was come to: {seen:?}");
}
