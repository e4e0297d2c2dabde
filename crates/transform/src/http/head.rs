//! A message's head: its bytes as they came, where its fields are in them, and what was edited.
//!
//! httparse reads it; what it tolerates and others do not (bare LF, a CR inside a line) is refused before. Lines that
//! nobody edits are written as they came.

use std::borrow::Cow;
use std::ops::Range;

use super::reason::Reason;

/// Largest head, in bytes: nginx takes 4 × 8 KB, Apache 100 lines of 8 KB, node 16 KB, h11 64 KB.
pub const MOST: usize = 64 * 1024;
/// Most fields: Apache's limit is 100, nginx's 1000 of the upstream.
const FIELDS: usize = 128;

/// What the first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request,
    /// A response.
    Response {
        /// Its status.
        status: u16,
    },
}

#[derive(Clone, Debug)]
enum Line {
    Kept { line: Range<usize>, name: Range<usize>, value: Range<usize> },
    New { name: Vec<u8>, value: Vec<u8> },
}

/// A head.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Vec<u8>,
    /// `bytes` with folded lines made one, at the same places; None: nothing is folded.
    plain: Option<Vec<u8>>,
    start: Start,
    minor: u8,
    /// The first line, its end included.
    first: Range<usize>,
    method: Range<usize>,
    target: Range<usize>,
    lines: Vec<Line>,
    /// How many lines there were.
    parsed: usize,
    edited: bool,
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
    // Registered methods have at most 17 letters; all are capitals and '-'.
    if method.len() > 24 || !method.iter().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(byte)) {
        return Err(Reason::NotHttp);
    }
    if line.len() < bytes.len() && !line.ends_with(b" HTTP/1.1") && !line.ends_with(b" HTTP/1.0") {
        // `PRI * HTTP/2.0` whose line feed is not there yet.
        return if HTTP2.starts_with(bytes) { Ok(()) } else { Err(Reason::NotHttp) };
    }
    Ok(())
}

/// Whether these bytes can begin a response.
///
/// # Errors
/// They cannot.
pub fn may_be_response(bytes: &[u8]) -> Result<(), Reason> {
    const BEGIN: &[u8] = b"HTTP/1.";
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
        let place = |part: &[u8]| {
            let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
            start..start + part.len()
        };
        // Not initialised: that took longer than the parsing.
        let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS];
        let told = |error| match error {
            httparse::Error::TooManyHeaders => Reason::Oversize,
            httparse::Error::Version => Reason::NotHttp,
            _ => Reason::BadHead,
        };
        let (start, minor, method, target, found) = if is_request {
            let mut request = httparse::Request::new(&mut []);
            request.parse_with_uninit_headers(text, &mut fields).map_err(told)?;
            let method = place(request.method.ok_or(Reason::BadHead)?.as_bytes());
            let target = place(request.path.ok_or(Reason::BadHead)?.as_bytes());
            (Start::Request, request.version, method, target, request.headers)
        } else {
            let mut response = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            parser.parse_response_with_uninit_headers(&mut response, text, &mut fields).map_err(told)?;
            let status = response.code.filter(|code| *code >= 100).ok_or(Reason::BadHead)?;
            (Start::Response { status }, response.version, 0..0, 0..0, response.headers)
        };
        let end_of_line = |from: usize| {
            text[from..].windows(2).position(|pair| pair == b"\r\n").map_or(text.len(), |at| from + at + 2)
        };
        let lines: Vec<_> = found
            .iter()
            .map(|field| {
                let name = place(field.name.as_bytes());
                // An empty value may point anywhere.
                let value = if field.value.is_empty() { name.end..name.end } else { place(field.value) };
                Line::Kept { line: name.start..end_of_line(value.end), name, value }
            })
            .collect();
        let head = Self {
            start,
            minor: minor.ok_or(Reason::BadHead)?,
            first: 0..end_of_line(0),
            method,
            target,
            parsed: lines.len(),
            lines,
            edited: false,
            plain,
            bytes,
        };
        if head.plain.is_some()
            && ["content-length", "transfer-encoding"].iter().any(|name| head.is_folded(name))
        {
            return Err(Reason::Folded);
        }
        Ok(head)
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
        &self.bytes[self.method.clone()]
    }

    /// A request's target; empty for a response.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.bytes[self.target.clone()]
    }

    /// The first line without its end.
    #[must_use]
    pub fn first_line(&self) -> &[u8] {
        &self.bytes[self.first.start..self.first.end - 2]
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
        let text = self.plain.as_deref().unwrap_or(&self.bytes);
        self.lines.iter().map(move |line| match line {
            Line::Kept { name, value, .. } => (&text[name.clone()], &text[value.clone()]),
            Line::New { name, value } => (&name[..], &value[..]),
        })
    }

    /// Every value of a field, however its name is written.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
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
            let gone: Vec<bool> =
                self.fields().map(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).collect();
            let mut gone = gone.into_iter();
            self.lines.retain(|_| !gone.next().unwrap_or(false));
            self.edited = true;
        }
    }

    /// Adds a field at the end.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.lines.push(Line::New { name: name.as_bytes().to_vec(), value: value.to_vec() });
        self.edited = true;
    }

    /// Gives the first field of that name another value, in its place; others of the name go.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let at = self.fields().position(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        let Some(at) = at else { return self.add(name, value) };
        let written = self.fields().nth(at).map_or_else(Vec::new, |(found, _)| found.to_vec());
        let rest = self.lines.split_off(at + 1);
        self.lines[at] = Line::New { name: written, value: value.to_vec() };
        let text = self.plain.as_deref().unwrap_or(&self.bytes);
        self.lines.extend(rest.into_iter().filter(|line| {
            let found = match line {
                Line::Kept { name, .. } => &text[name.clone()],
                Line::New { name, .. } => &name[..],
            };
            !found.eq_ignore_ascii_case(name.as_bytes())
        }));
        self.edited = true;
    }

    /// The head as it goes on.
    #[must_use]
    pub fn written(&self) -> Cow<'_, [u8]> {
        if !self.edited {
            return Cow::Borrowed(&self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        out.extend_from_slice(&self.bytes[self.first.clone()]);
        for line in &self.lines {
            match line {
                Line::Kept { line, .. } => out.extend_from_slice(&self.bytes[line.clone()]),
                Line::New { name, value } => {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(value);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        Cow::Owned(out)
    }

    fn is_folded(&self, name: &str) -> bool {
        self.lines.iter().any(|line| match line {
            Line::Kept { line, name: found, .. } => {
                self.bytes[found.clone()].eq_ignore_ascii_case(name.as_bytes())
                    && memchr::memchr_iter(b'\n', &self.bytes[line.clone()]).count() > 1
            }
            Line::New { .. } => false,
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
