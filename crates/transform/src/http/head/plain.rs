//! A plain head, read in one pass: all of it is there, each line ends with CRLF, none is folded.
//!
//! Nearly all heads are plain, and to find their fields was most of what a module of messages does for a message that it leaves
//! alone. Eight bytes are looked at in one step; every name is looked at once, its length remembered. What is not plain is
//! left to httparse, which is asked step by step what is wrong.
//!
//! Of the heads that a server sends most lines are those of the head before, and so it is with what its clients send: a line that is the
//! same as the one in its place there is compared, and not read again; nor is a head that is all the same. That a head was read
//! before is no reason to trust it: only bytes that were found plain are, and what is found in them depends on nothing else.
//!
//! Must not: take what those steps refuse, or read it in another way (`tests/common` holds the two against each other).

use super::{is_method, Head, Kept, Lengths, Line, Place, Start, BEGIN, FIELDS, MOST};
use crate::http::chunked::is_token;
use crate::http::framing;

/// 1 in every byte of a word.
const ONES: u64 = u64::MAX / 0xff;
/// Marks are the highest bits of a word's bytes.
const MARKS: u64 = ONES << 7;
/// What names are made of: most of a head's lines are short, and so are names.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_token(byte as u8);
        byte += 1;
    }
    table
};

impl Head {
    /// Reads the head that `bytes` begin with into this one, whose memory it takes, where it is plain. Whether it is; if not, this
    /// one is nothing.
    pub fn read_plain(&mut self, bytes: &[u8], is_request: bool) -> bool {
        self.find(&bytes[..bytes.len().min(MOST)], is_request).is_some()
    }

    fn find(&mut self, text: &[u8], is_request: bool) -> Option<()> {
        // What was edited is not what its bytes say.
        let is_known = self.said().is_some() && (self.start == Start::Request) == is_request;
        if is_known && text.starts_with(&self.bytes) {
            return Some(());
        }
        self.said = None;
        if !is_known {
            self.first = Place::default();
            self.lines.clear();
        }
        let mut at = self.first.end as usize;
        if at == 0 || !text.starts_with(&self.bytes[..at]) {
            at = if is_request { self.request_line(text) } else { self.status_line(text) }?;
        }
        self.first = Place::new(0, at);
        self.lengths = Lengths::default();
        let mut count = 0;
        while let line @ [first, ..] = &text[at..] {
            if *first == b'\r' {
                break;
            }
            let known = self.lines.get(count).and_then(|known| again(known, &self.bytes, line, at));
            let kept = known.or_else(|| field(line, at)).filter(|_| count < FIELDS)?;
            self.lengths.add(kept.name.length());
            match self.lines.get_mut(count) {
                Some(line) => *line = Line::Kept(kept),
                None => self.lines.push(Line::Kept(kept)),
            }
            at = kept.end as usize;
            count += 1;
        }
        let length = line_end(text, at)?;
        self.lines.truncate(count);
        (self.parsed, self.edited, self.plain) = (count, false, None);
        self.bytes.clear();
        self.bytes.extend_from_slice(&text[..length]);
        self.said = Some(framing::look(self));
        Some(())
    }

    /// Where the line after a request's first one begins.
    fn request_line(&mut self, text: &[u8]) -> Option<usize> {
        let method = memchr::memchr(b' ', &text[..text.len().min(32)])?;
        if method == 0 || !is_method(&text[..method]) {
            return None;
        }
        let target = &text[method + 1..];
        let target = &target[..end_of_text::<b'!'>(target)];
        let end = method + 1 + target.len();
        let minor = minor(text[end..].strip_prefix(b" ")?)?;
        if target.is_empty() || std::str::from_utf8(target).is_err() {
            return None;
        }
        (self.start, self.minor) = (Start::Request, minor);
        (self.method, self.target) = (Place::new(0, method), Place::new(method + 1, end));
        line_end(text, end + 1 + BEGIN.len() + 1)
    }

    /// Where the line after a response's first one begins.
    fn status_line(&mut self, text: &[u8]) -> Option<usize> {
        let minor = minor(text)?;
        let at = BEGIN.len() + 1;
        let [b' ', code @ .., b' ' | b'\r'] = text.get(at..at + 5)? else { return None };
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
        let status = code.iter().try_fold(0, |sum, byte| Some(sum * 10 + digit(byte)?))?;
        if status < 100 {
            return None;
        }
        (self.start, self.minor) = (Start::Response { status }, minor);
        (self.method, self.target) = (Place::default(), Place::default());
        line_end(text, at + 4 + end_of_text::<b' '>(&text[at + 4..]))
    }
}

/// The field that `line` begins with, at this place of the head, where it is the one that was `known` in other `bytes`.
fn again(known: &Line, bytes: &[u8], line: &[u8], at: usize) -> Option<Kept> {
    let Line::Kept(known) = known else { return None };
    if !line.starts_with(known.of(bytes)) {
        return None;
    }
    // Both are places in heads, so that neither sum wraps.
    let from = Place::new(at, 0).start;
    let moved = |place: u32| place - known.name.start + from;
    let place = |place: Place| Place { start: moved(place.start), end: moved(place.end) };
    Some(Kept { name: place(known.name), value: place(known.value), end: moved(known.end) })
}

/// The field that `line` begins with, at this place of the head.
fn field(line: &[u8], at: usize) -> Option<Kept> {
    let colon = end_of_name(line);
    if colon == 0 || *line.get(colon)? != b':' {
        return None;
    }
    let value = &line[colon + 1..];
    let end = end_of_text::<b' '>(value);
    let next = line_end(line, colon + 1 + end)?;
    let (from, to) = trimmed(&value[..end]);
    Some(Kept {
        name: Place::new(at, at + colon),
        value: Place::new(at + colon + 1 + from, at + colon + 1 + to),
        end: Place::new(at, at + next).end,
    })
}

/// x of `HTTP/1.x`.
fn minor(text: &[u8]) -> Option<u8> {
    match text.strip_prefix(BEGIN)?.first()? {
        b'0' => Some(0),
        b'1' => Some(1),
        _ => None,
    }
}

/// Behind the line's end at `at`.
fn line_end(text: &[u8], at: usize) -> Option<usize> {
    (text.get(at..at + 2)? == b"\r\n").then_some(at + 2)
}

/// Where a value is, without the blanks around it.
fn trimmed(value: &[u8]) -> (usize, usize) {
    let (mut from, mut to) = (0, value.len());
    while from < to && matches!(value[from], b' ' | b'\t') {
        from += 1;
    }
    while from < to && matches!(value[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    (from, to)
}

/// Where the name that a line begins with ends. By itself, as the next one is: among the places of a line each step was three times as
/// long.
#[inline(never)]
fn end_of_name(line: &[u8]) -> usize {
    line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len())
}

/// How many bytes are before the first mark: all eight, where there is none.
fn before(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Where the text that `bytes` begin with ends: before the first byte below `LEAST`, tabs aside where blanks are text, or DEL.
#[inline(never)]
fn end_of_text<const LEAST: u8>(bytes: &[u8]) -> usize {
    let is_text = |byte: u8| byte >= LEAST && byte != 0x7f || byte == b'\t' && LEAST == b' ';
    let (words, _) = bytes.as_chunks();
    let mut from = 0;
    for word in words {
        let marks = no_text::<LEAST>(*word);
        from += before(marks);
        if marks != 0 {
            break;
        }
    }
    // Here it ends; or there is a tab, or less than a word is left.
    let rest = &bytes[from..];
    from + rest.iter().position(|byte| !is_text(*byte)).unwrap_or(rest.len())
}

/// The lowest mark is at the first byte below `LEAST`, or DEL; what is taken away may be borrowed from the bytes above it.
fn no_text<const LEAST: u8>(bytes: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(bytes);
    let below = word.wrapping_sub(ONES * LEAST as u64) & !word;
    let del = word ^ (ONES * 0x7f);
    (below | del.wrapping_sub(ONES) & !del) & MARKS
}
