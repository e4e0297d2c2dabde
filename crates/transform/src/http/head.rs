//! A message's head: its bytes as they came, where its fields are in them, and what was edited.
//!
//! httparse reads it; what it tolerates and others do not (bare LF, a CR inside a line) is refused. A head that came whole and is
//! plain is read in one pass ([`plain`]); all others are looked at step by step ([`may_be_request`], [`end_of`],
//! [`Head::parse`]), and only those steps say what is wrong with one. Lines that nobody edits are written as they came.

mod plain;

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::framing::Said;
use super::reason::Reason;

/// Largest head, in bytes: nginx takes 4 × 8 KB, Apache 100 lines of 8 KB, node 16 KB, h11 64 KB.
pub const MOST: usize = 64 * 1024;
/// Most fields: Apache's limit is 100, nginx's 1000 of the upstream.
const FIELDS: usize = 128;

/// What the first line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// A request.
    #[default]
    Request,
    /// A response.
    Response {
        /// Its status.
        status: u16,
    },
}

/// Where a part of a head is: half as large as a range, since many heads may wait for their answers.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    end: u32,
}

impl Place {
    #[allow(clippy::cast_possible_truncation)] // a head has at most MOST bytes
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn length(self) -> usize {
        (self.end - self.start) as usize
    }

    fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// A line that nobody has edited.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// It begins with it.
    name: Place,
    value: Place,
    /// Where it ends, its CRLF included.
    end: u32,
}

#[derive(Clone, Debug)]
enum Line {
    Kept(Kept),
    New(Box<(Vec<u8>, Vec<u8>)>),
}

impl Kept {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.name.start as usize..self.end as usize]
    }
}

impl Line {
    fn name<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Kept(kept) => kept.name.of(text),
            Self::New(field) => &field.0,
        }
    }

    fn value<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Kept(kept) => kept.value.of(text),
            Self::New(field) => &field.1,
        }
    }

    fn is_named(&self, wanted: &str, text: &[u8]) -> bool {
        // Most names differ in length, which is told without a look at them.
        let length = match self {
            Self::Kept(kept) => kept.name.length(),
            Self::New(field) => field.0.len(),
        };
        length == wanted.len() && is_same(self.name(text), wanted.as_bytes())
    }
}

/// Whether two names of one length are the same, in whatever case. Most letters are equal, which is told faster than what their small
/// ones are.
fn is_same(name: &[u8], wanted: &[u8]) -> bool {
    name.iter().zip(wanted).all(|(one, two)| one == two || one ^ two == 0x20 && one.is_ascii_alphabetic())
}

/// Which lengths names have, a bit each: most fields that are asked for are not there, and no name is as long.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths(u64);

impl Lengths {
    fn bit(length: usize) -> u64 {
        1 << length.min(63)
    }

    fn add(&mut self, length: usize) {
        self.0 |= Self::bit(length);
    }

    fn may_have(self, name: &str) -> bool {
        self.0 & Self::bit(name.len()) != 0
    }
}

/// A head.
#[derive(Clone, Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
    /// `bytes` with folded lines made one, at the same places; None: nothing is folded.
    plain: Option<Vec<u8>>,
    start: Start,
    minor: u8,
    /// The first line, its end included.
    first: Place,
    method: Place,
    target: Place,
    lines: Vec<Line>,
    lengths: Lengths,
    /// How many lines there were.
    parsed: usize,
    edited: bool,
    /// What it said of its body's length when it was read in one pass; None: it was not.
    said: Option<Result<Said, Reason>>,
}

/// Whether the head is all there: its length.
///
/// `from`: where the search goes on; what comes before was searched.
///
/// # Errors
/// A line that does not end with CRLF, or a head that is too large.
pub fn end_of(bytes: &[u8], from: &mut usize) -> Result<Option<usize>, Reason> {
    while let Some(found) = memchr::memchr(b'\n', &bytes[*from..]) {
        let at = *from + found;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Reason::BareLineEnd);
        }
        *from = at + 1;
        if at >= 3 && &bytes[at - 3..at] == b"\r\n\r" {
            return if at < MOST { Ok(Some(at + 1)) } else { Err(Reason::Oversize) };
        }
    }
    *from = bytes.len();
    if bytes.len() > MOST {
        return Err(Reason::Oversize);
    }
    Ok(None)
}

/// Whether these bytes can begin a request; told from the first byte on, so that nobody waits for the rest of
/// what is no HTTP.
///
/// # Errors
/// They cannot.
pub fn may_be_request(bytes: &[u8]) -> Result<(), Reason> {
    const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n";
    if bytes.starts_with(HTTP2) {
        return Err(Reason::Http2);
    }
    let line = &bytes[..memchr::memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let method = &line[..memchr::memchr(b' ', line).unwrap_or(line.len())];
    if !is_method(method) {
        return Err(Reason::NotHttp);
    }
    if line.len() < bytes.len() && !line.ends_with(b" HTTP/1.1") && !line.ends_with(b" HTTP/1.0") {
        // `PRI * HTTP/2.0` whose line feed is not there yet.
        return if HTTP2.starts_with(bytes) { Ok(()) } else { Err(Reason::NotHttp) };
    }
    Ok(())
}

/// Registered methods have at most 17 letters; all are capitals and '-'.
fn is_method(method: &[u8]) -> bool {
    method.len() <= 24 && method.iter().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(byte))
}

/// What a response begins with.
const BEGIN: &[u8] = b"HTTP/1.";

/// Whether these bytes can begin a response.
///
/// # Errors
/// They cannot.
pub fn may_be_response(bytes: &[u8]) -> Result<(), Reason> {
    let length = bytes.len().min(BEGIN.len());
    if bytes[..length] == BEGIN[..length] {
        return Ok(());
    }
    Err(Reason::NotHttp)
}

impl Head {
    /// Of all bytes of a head, as [`end_of`] found it.
    ///
    /// # Errors
    /// The grammar does not allow it.
    pub fn parse(bytes: Vec<u8>, is_request: bool) -> Result<Self, Reason> {
        for at in memchr::memchr_iter(b'\r', &bytes) {
            if bytes.get(at + 1) != Some(&b'\n') {
                return Err(Reason::BareLineEnd);
            }
        }
        // A fold of the first line is no fold: some take what follows for a field.
        let second = memchr::memchr(b'\n', &bytes).and_then(|at| bytes.get(at + 1));
        if matches!(second, Some(b' ' | b'\t')) {
            return Err(Reason::BadHead);
        }
        let plain = unfolded(&bytes);
        if plain.is_some() && is_request {
            // Servers differ: a field, a part of the one before, or refused.
            return Err(Reason::Folded);
        }
        let text = plain.as_deref().unwrap_or(&bytes);
        let head = Self::read(text, is_request)?;
        let head = Self { plain, bytes, ..head };
        if head.plain.is_some()
            && ["content-length", "transfer-encoding"].iter().any(|name| head.is_folded(name))
        {
            return Err(Reason::Folded);
        }
        Ok(head)
    }

    /// What httparse finds, without its bytes.
    fn read(text: &[u8], is_request: bool) -> Result<Self, Reason> {
        let place = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
            Place::new(start, start + part.len())
        };
        // Not initialised: that took longer than the parsing.
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let told = |error| match error {
            httparse::Error::TooManyHeaders => Reason::Oversize,
            httparse::Error::Version => Reason::NotHttp,
            _ => Reason::BadHead,
        };
        let (status, start, minor, method, target, found) = if is_request {
            let mut request = httparse::Request::new(&mut []);
            let status = request.parse_with_uninit_headers(text, &mut fields).map_err(told)?;
            let part = |part: Option<&str>| part.map_or_else(Place::default, |part| place(part.as_bytes()));
            let (method, target) = (part(request.method), part(request.path));
            (status, Start::Request, request.version, method, target, request.headers)
        } else {
            let mut response = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            let status =
                parser.parse_response_with_uninit_headers(&mut response, text, &mut fields).map_err(told)?;
            let start = Start::Response { status: response.code.unwrap_or(0) };
            (status, start, response.version, Place::default(), Place::default(), response.headers)
        };
        let httparse::Status::Complete(length) = status else { return Err(Reason::BadHead) };
        if matches!(start, Start::Response { status: ..100 }) {
            return Err(Reason::BadHead);
        }
        let mut lengths = Lengths::default();
        let mut lines = Vec::with_capacity(found.len());
        for field in found.iter() {
            let name = place(field.name.as_bytes());
            // An empty value may point anywhere.
            let value = if field.value.is_empty() {
                Place { start: name.end, end: name.end }
            } else {
                place(field.value)
            };
            lengths.add(field.name.len());
            if let Some(Line::Kept(kept)) = lines.last_mut() {
                kept.end = name.start;
            }
            // The last one ends where the empty line begins.
            lines.push(Line::Kept(Kept { name, value, end: Place::new(0, length - 2).end }));
        }
        let first_end = match lines.first() {
            Some(Line::Kept(kept)) => kept.name.start,
            _ => Place::new(0, length - 2).end,
        };
        Ok(Self {
            start,
            minor: minor.ok_or(Reason::BadHead)?,
            first: Place { start: 0, end: first_end },
            method,
            target,
            parsed: lines.len(),
            lines,
            lengths,
            edited: false,
            said: None,
            plain: None,
            bytes: Vec::new(),
        })
    }

    // --- reading ---------------------------------------------------------------------------------------

    /// What the first line says.
    #[must_use]
    pub fn start(&self) -> Start {
        self.start
    }

    /// 0 or 1: of HTTP/1.x.
    #[must_use]
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// A request's method; empty for a response.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.method.of(&self.bytes)
    }

    /// A request's target; empty for a response.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.target.of(&self.bytes)
    }

    /// The first line without its end.
    #[must_use]
    pub fn first_line(&self) -> &[u8] {
        &self.first.of(&self.bytes)[..self.first.end as usize - 2]
    }

    /// The bytes as they came.
    #[must_use]
    pub fn as_sent(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of memory it takes as it came; edits do not count.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.plain.as_ref().map_or(0, Vec::len) + self.parsed * size_of::<Line>()
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let text = self.text();
        self.lines.iter().map(move |line| (line.name(text), line.value(text)))
    }

    /// Every value of a field, however its name is written.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let text = self.text();
        let lines = if self.lengths.may_have(name) { &self.lines[..] } else { &[] };
        lines.iter().filter(move |line| line.is_named(name, text)).map(move |line| line.value(text))
    }

    /// The first value of a field.
    #[must_use]
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether one of a field's comma-separated members is `token`, in whatever case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    // --- editing ---------------------------------------------------------------------------------------

    /// Whether it differs from what came.
    #[must_use]
    pub fn is_edited(&self) -> bool {
        self.edited
    }

    /// Takes all fields of that name away.
    pub fn remove(&mut self, name: &str) {
        if self.has(name) {
            let text = self.plain.as_deref().unwrap_or(&self.bytes);
            self.lines.retain(|line| !line.is_named(name, text));
            self.edited = true;
        }
    }

    /// Adds a field at the end.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.lengths.add(name.len());
        self.lines.push(Line::New(Box::new((name.as_bytes().to_vec(), value.to_vec()))));
        self.edited = true;
    }

    /// Gives the first field of that name another value, in its place; others of the name go.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let text = self.plain.as_deref().unwrap_or(&self.bytes);
        let Some(at) = self.lines.iter().position(|line| line.is_named(name, text)) else {
            return self.add(name, value);
        };
        let written = self.lines[at].name(text).to_vec();
        let rest = self.lines.split_off(at + 1);
        self.lines[at] = Line::New(Box::new((written, value.to_vec())));
        self.lines.extend(rest.into_iter().filter(|line| !line.is_named(name, text)));
        self.edited = true;
    }

    /// The head as it goes on.
    #[must_use]
    pub fn written(&self) -> Cow<'_, [u8]> {
        if !self.edited {
            return Cow::Borrowed(&self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        out.extend_from_slice(self.first.of(&self.bytes));
        for line in &self.lines {
            match line {
                Line::Kept(kept) => out.extend_from_slice(kept.of(&self.bytes)),
                Line::New(field) => {
                    out.extend_from_slice(&field.0);
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(&field.1);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        Cow::Owned(out)
    }

    /// What is known of its body's length without a look at its fields.
    pub(super) fn said(&self) -> Option<Result<Said, Reason>> {
        self.said.filter(|_| !self.edited)
    }

    /// The bytes as they are read.
    fn text(&self) -> &[u8] {
        self.plain.as_deref().unwrap_or(&self.bytes)
    }

    fn is_folded(&self, name: &str) -> bool {
        self.lines.iter().any(|line| match line {
            Line::Kept(kept) => {
                let ends = memchr::memchr_iter(b'\n', kept.of(&self.bytes)).count();
                line.is_named(name, &self.bytes) && ends > 1
            }
            Line::New(_) => false,
        })
    }
}

/// The same bytes with every line end before a blank made blank; None: there is none.
fn unfolded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain: Option<Vec<u8>> = None;
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at > 0 && matches!(bytes.get(at + 1), Some(b' ' | b'\t')) {
            plain.get_or_insert_with(|| bytes.to_vec())[at - 1..=at].fill(b' ');
        }
    }
    plain
}
