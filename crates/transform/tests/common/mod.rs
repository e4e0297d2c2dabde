//! What holds for every input of the framer; used by `tests/mutations.rs` and by the fuzz target.
//!
//! The input's first byte chooses what the judge does and how the second play is cut, the rest is records: a byte for
//! direction and length, then bytes.

use modnet_transform::http::filter::Filter;
use modnet_transform::http::framing::{of_request, of_response};
use modnet_transform::http::head::{end_of, may_be_request, may_be_response};
use modnet_transform::http::{Body, Broken, Change, Connection, Fed, Head, Judge, Request, Room, Way};

/// Into how many bytes the second play is cut.
const CUTS: [usize; 4] = [1, 3, 17, 200];
/// More than a framer may hold back of one direction: a head, and a little.
const MOST: usize = 64 * 1024 + 64;

/// Body transforms that keep every byte.
struct Same;

impl Body for Same {
    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        out.extend_from_slice(input);
        Ok(())
    }
    fn flush(&mut self, _out: &mut Vec<u8>) -> Result<(), Broken> {
        Ok(())
    }
    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), Broken> {
        Ok(())
    }
}

/// What heads are asked for, and what mutations bring.
const NAMES: [&str; 6] = ["x", "host", "upgrade", "connection", "content-length", "transfer-encoding"];

/// Does one thing always.
struct Always(u8);

impl Always {
    fn change(&self, head: &mut Head) -> Change {
        match self.0 {
            0 => Change::Keep,
            1 => Change::Body(Box::new(Same)),
            2 => {
                head.set("X-Seen", b"yes");
                head.remove("server");
                Change::Body(Box::new(Same))
            }
            _ => Change::GiveUp,
        }
    }
}

impl Judge for Always {
    fn request(&mut self, request: &mut Head, _room: Room) -> Change {
        self.change(request)
    }
    fn response(&mut self, _request: &Request, response: &mut Head, _room: Room) -> Change {
        self.change(response)
    }
}

/// Everything that went in and came out, by direction.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Played {
    pub fed: [Vec<u8>; 2],
    pub out: [Vec<u8>; 2],
    pub broken: bool,
    pub reason: Option<&'static str>,
    pub messages: [u64; 2],
}

/// Plays pieces, each cut by `cut`; panics where the framer holds more than it may.
pub fn play(
    act: u8,
    edits: [bool; 2],
    pieces: &[(Way, &[u8])],
    mut cut: impl FnMut(usize) -> usize,
) -> Played {
    let mut connection = Connection::new(edits);
    let mut judge = Always(act);
    let mut played = Played::default();
    let mut skip = [0_u64; 2];
    'all: for (way, piece) in pieces {
        let index = *way as usize;
        let mut rest = *piece;
        while !rest.is_empty() {
            let (now, after) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
            rest = after;
            played.fed[index].extend_from_slice(now);
            // As the engine: what may be skipped is not fed.
            let skipped = usize::try_from(skip[index]).unwrap_or(usize::MAX).min(now.len());
            if skip[index] != u64::MAX {
                skip[index] -= skipped as u64;
            }
            played.out[index].extend_from_slice(&now[..skipped]);
            let now = &now[skipped..];
            if now.is_empty() {
                continue;
            }
            let mut out = Vec::new();
            match connection.feed(*way, now, &mut out, &mut judge) {
                Fed::Same => played.out[index].extend_from_slice(now),
                Fed::Out => played.out[index].append(&mut out),
                Fed::Broken(_) => {
                    played.broken = true;
                    break 'all;
                }
            }
            skip[index] = connection.skip(*way, 1);
            if act == 0 {
                let held = played.fed[index].len() - played.out[index].len();
                assert!(held <= MOST, "{held} bytes held back");
            }
        }
    }
    for way in [Way::Request, Way::Response] {
        if !played.broken {
            connection.end(way, &mut played.out[way as usize]).unwrap();
        }
    }
    played.reason = connection.opaque().map(|reason| reason.name());
    played.messages = connection.messages();
    played
}

/// The head that these bytes begin with, found step by step.
fn step_by_step(bytes: &[u8], is_request: bool) -> Option<Head> {
    let may_be = if is_request { may_be_request } else { may_be_response };
    may_be(bytes).ok()?;
    let length = end_of(bytes, &mut 0).ok()??;
    Head::parse(bytes[..length].to_vec(), is_request).ok()
}

/// A head that is read in one pass is the one that is found step by step, and none is missed but those with folded lines; also where
/// it takes the place of another, which is in `before`.
pub fn check_head(bytes: &[u8], is_request: bool, before: &mut Head) {
    let told = |head: &Head| {
        let owned = |bytes: &[u8]| bytes.to_vec();
        let fields: Vec<_> = head.fields().map(|(name, value)| (owned(name), owned(value))).collect();
        let line = [head.first_line(), head.method(), head.target()].map(owned);
        (head.start(), head.minor(), line, fields, owned(head.as_sent()))
    };
    let is_folded = |head: &Head| head.as_sent().windows(2).any(|pair| matches!(pair, b"\n " | b"\n\t"));
    let steps = step_by_step(bytes, is_request).filter(|head| !is_folded(head));
    let framed = |head: &Head| {
        let short = Filter { least: 6, ..Filter::default() };
        let is_short = !is_request && !short.wants(&Request::of(&Head::default()), head);
        let framing = if is_request { of_request(head) } else { of_response(head, false) };
        // What is asked for by name is what there is, and nothing of the head before.
        let named = NAMES.map(|name| head.all(name).map(<[u8]>::to_vec).collect::<Vec<_>>());
        (framing, is_short, named)
    };
    let all = |head: &Head| (told(head), framed(head));
    let check = |head: &mut Head| {
        assert_eq!(head.read_plain(bytes, is_request).then(|| all(head)), steps.as_ref().map(all));
    };
    check(&mut Head::default());
    // Of other bytes; then of the same.
    check(before);
    check(before);
}

/// Checks one input; why the framer stepped aside, if it did.
pub fn check(input: &[u8]) -> Option<&'static str> {
    let (first, rest) = input.split_first()?;
    let (act, edits) = (first & 3, [first & 4 != 0, first & 8 != 0]);
    let mut pieces = Vec::new();
    let mut rest = rest;
    let (mut before, mut of_both) = ([Head::default(), Head::default()], Head::default());
    while let Some((kind, after)) = rest.split_first() {
        let length = (usize::from(kind & 0x7f) * 8).max(1).min(after.len());
        let (piece, after) = after.split_at(length);
        let is_request = kind & 0x80 == 0;
        check_head(piece, is_request, &mut before[usize::from(is_request)]);
        check_head(piece, is_request, &mut of_both);
        pieces.push((if is_request { Way::Request } else { Way::Response }, piece));
        rest = after;
    }
    let whole = play(act, edits, &pieces, |length| length);
    // Nobody changes anything, or nobody may: what goes in comes out.
    if act == 0 || act == 3 {
        assert!(whole.out == whole.fed, "changed though nobody did");
    }
    // Cuts have no meaning but for the chunks of a changed body.
    let single = play(act, edits, &pieces, |_| CUTS[usize::from(first >> 4 & 3)]);
    // (What is wrong in two ways may be found wrong in either.)
    let seen = |played: &Played| (played.reason.is_some(), played.broken, played.messages);
    assert_eq!(seen(&single), seen(&whole), "cuts change what is seen");
    if act == 0 || act == 3 {
        assert!(single.out == whole.out, "cuts change what goes on");
    }
    whole.reason
}
