//! The chunked coding, taken apart: which bytes are the body's and which are its framing.
//!
//! Strict (RFC 9112 §7.1): lines end with CRLF, a size is 1 to 15 hexadecimal digits; blanks after it, which Apache once
//! sent, are let pass, as h11 does. Extensions are skipped, trailers told.

use super::head::MOST;
use super::reason::Reason;

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The body's.
    Data,
    /// Framing.
    Framing,
    /// A trailer field's line, its end included; not necessarily all of it.
    Trailer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    LineStart,
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
    Over,
}

/// Where in a chunked body we are.
#[derive(Clone, Debug)]
pub struct Chunks {
    state: State,
    digits: u32,
    left: u64,
    /// Bytes of the extension, or of all trailers.
    length: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size, digits: 0, left: 0, length: 0 }
    }
}

impl Chunks {
    /// Whether the body is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The data that follows before the next framing.
    pub fn data_left(&self) -> u64 {
        self.left
    }

    /// Whether the next byte is data.
    #[must_use]
    pub fn in_data(&self) -> bool {
        self.state == State::Data
    }

    /// All data of the chunk has been taken elsewhere.
    pub fn skipped(&mut self) {
        self.left = 0;
        self.state = State::DataCr;
    }

    /// What the first bytes of `input` (not empty) are, and how many they are.
    ///
    /// # Errors
    /// They break the grammar.
    pub fn next(&mut self, input: &[u8]) -> Result<(Part, usize), Reason> {
        if self.state == State::Data {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            self.left -= count as u64;
            if self.left == 0 {
                self.state = State::DataCr;
            }
            return Ok((Part::Data, count));
        }
        let is_trailer = |state| matches!(state, State::TrailerName | State::Trailer | State::TrailerLf);
        let mut kind = None;
        for (at, byte) in input.iter().enumerate() {
            if self.state == State::Data || self.state == State::Over {
                return Ok((Part::Framing, at));
            }
            let before = self.state;
            self.step(*byte)?;
            let trailer = is_trailer(before) || (before == State::LineStart && is_trailer(self.state));
            match kind {
                None => kind = Some(trailer),
                Some(so_far) if so_far != trailer => {
                    // The byte belongs to the next run.
                    self.state = before;
                    return Ok((if so_far { Part::Trailer } else { Part::Framing }, at));
                }
                Some(_) => {}
            }
        }
        Ok((if kind == Some(true) { Part::Trailer } else { Part::Framing }, input.len()))
    }

    fn step(&mut self, byte: u8) -> Result<(), Reason> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < 15 => {
                self.digits += 1;
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            (State::Size | State::Blank, b' ' | b'\t') if self.digits > 0 => State::Blank,
            (State::Size | State::Blank, b';') if self.digits > 0 => State::Extension,
            (State::Size | State::Blank, b'\r') if self.digits > 0 => State::SizeEnd,
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, _) if is_text(byte) => {
                self.grow()?;
                State::Extension
            }
            (State::SizeEnd, b'\n') => {
                (self.digits, self.length) = (0, 0);
                if self.left == 0 {
                    State::LineStart
                } else {
                    State::Data
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::LineStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Over,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::LineStart,
            (State::TrailerName, b':') => State::Trailer,
            (State::LineStart | State::TrailerName, _) if is_token(byte) => {
                self.grow()?;
                State::TrailerName
            }
            (State::Trailer, _) if is_text(byte) => {
                self.grow()?;
                State::Trailer
            }
            _ => return Err(Reason::BadChunk),
        };
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Reason> {
        self.length += 1;
        if self.length > MOST {
            return Err(Reason::Oversize);
        }
        Ok(())
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 §5.6.2: what names are made of.
#[must_use]
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
