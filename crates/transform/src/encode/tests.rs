//! Every coding: what comes out decodes to what went in, at every level, however cut, flushed and changed.

use std::io::Read;

use super::{make, HIGHEST, NAMES};

/// Decodes as much as there is: None where it is damaged or not all there.
fn decoded(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match name {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).ok()?,
        "zstd" => zstd::stream::read::Decoder::new(bytes).ok()?.read_to_end(&mut out).ok()?,
        _ => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).ok()?,
    };
    Some(out)
}

/// What can be decoded of a stream that goes on.
fn so_far(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let mut reader: Box<dyn Read + '_> = match name {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        _ => Box::new(brotli::Decompressor::new(bytes, 4096)),
    };
    let mut length = 0;
    while let Ok(count) = reader.read(&mut out[length..]) {
        length += count;
        if count == 0 {
            break;
        }
    }
    out.truncate(length);
    out
}

/// Numbers from a seed: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn small(&mut self, bound: u8) -> u8 {
        u8::try_from(self.below(u64::from(bound))).unwrap()
    }

    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < length {
            let line =
                format!("{},\"EC2\",{},us-east-1,0.{}\n", self.below(99), self.below(9), self.below(999));
            text.extend_from_slice(line.as_bytes());
            if self.below(9) == 0 {
                text.extend((0..self.below(300)).map(|_| self.small(255)));
            }
        }
        text.truncate(length);
        text
    }
}

#[test]
fn every_level_decodes_to_what_went_in() {
    let text = Chance(7).text(200_000);
    for name in NAMES {
        let mut sizes = Vec::new();
        for level in 0..=HIGHEST {
            let mut stream = make(name, level).unwrap().unwrap();
            let mut out = Vec::new();
            stream.write(&text, &mut out).unwrap();
            stream.finish(&mut out).unwrap();
            assert!(decoded(name, &out).as_deref() == Some(&text[..]), "{name} {level}");
            sizes.push(out.len());
        }
        assert!(sizes[9] < sizes[1] && sizes[1] < text.len(), "{name}: {sizes:?}");
    }
}

#[test]
fn the_highest_level_of_gzip_is_never_longer_than_the_one_below_also_after_a_change() {
    // Short matches far away: what the library's own 9 falls for.
    let text = Chance(7).text(400_000);
    let length = |first: u8, then: u8| {
        let (mut stream, mut out) = (make("gzip", first).unwrap().unwrap(), Vec::new());
        stream.set_level(then, &mut out).unwrap();
        stream.write(&text, &mut out).unwrap();
        stream.finish(&mut out).unwrap();
        out.len()
    };
    let (eight, nine) = (length(8, 8), length(9, 9));
    assert!(nine <= eight, "{nine} {eight}");
    assert_eq!((length(9, 8), length(8, 9)), (eight, nine));
}

#[test]
fn levels_change_in_mid_stream_wherever_the_cuts_are() {
    let mut chance = Chance(11);
    for round in 0..100 {
        let length = usize::try_from(chance.below(if round % 20 == 0 { 400_000 } else { 9_000 })).unwrap();
        let text = chance.text(length);
        for name in NAMES {
            let mut stream = make(name, chance.small(10)).unwrap().unwrap();
            let (mut out, mut rest) = (Vec::new(), &text[..]);
            while !rest.is_empty() {
                let most = if chance.below(2) == 0 { 50 } else { 70_000 };
                let (piece, after) =
                    rest.split_at(rest.len().min(1 + usize::try_from(chance.below(most)).unwrap()));
                stream.write(piece, &mut out).unwrap();
                rest = after;
                match chance.below(4) {
                    0 => {
                        let level = stream.set_level(chance.small(10), &mut out).unwrap();
                        assert_eq!(level, stream.level());
                    }
                    1 => stream.flush(&mut out).unwrap(),
                    _ => {}
                }
            }
            stream.finish(&mut out).unwrap();
            assert!(decoded(name, &out).as_deref() == Some(&text[..]), "{name}, round {round}");
        }
    }
}

#[test]
fn a_flush_makes_everything_so_far_decodable_and_a_second_one_adds_nothing() {
    for name in NAMES {
        let mut stream = make(name, 6).unwrap().unwrap();
        let mut out = Vec::new();
        for (sent, part) in [(6, &b"data: "[..]), (9, b"1\n\n"), (18, b"data: 2\n\n")] {
            stream.write(part, &mut out).unwrap();
            stream.flush(&mut out).unwrap();
            assert_eq!(so_far(name, &out), &b"data: 1\n\ndata: 2\n\n"[..sent], "{name}");
            let length = out.len();
            stream.flush(&mut out).unwrap();
            assert_eq!(out.len(), length, "{name}");
        }
    }
}

#[test]
fn an_empty_body_is_a_stream() {
    for name in NAMES {
        let mut stream = make(name, 6).unwrap().unwrap();
        let mut out = Vec::new();
        stream.finish(&mut out).unwrap();
        assert_eq!(decoded(name, &out).as_deref(), Some(&b""[..]), "{name}");
    }
    assert!(make("deflate", 6).is_none());
}
