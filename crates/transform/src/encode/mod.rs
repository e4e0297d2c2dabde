//! Content codings as streams: bytes in, at any time a flush, a level that may change on the way.
//!
//! Levels are 0 to 9 for all of them, 0 being the one that takes least time, so that one policy serves all; what a level
//! means is the coding's affair ([`gzip`], [`zstd`], [`br`] say what it costs). Memory is bounded by the coding's window
//! whatever the level. Must not: read a clock, or decide about levels.

mod br;
mod deflate;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

pub use br::Br;
pub use gzip::Gzip;
pub use zstd::Zstd;

/// The highest level.
pub const HIGHEST: u8 = 9;

/// One body on its way.
pub trait Encode: Send {
    /// Takes all of `input`; what is ready is appended to `out`.
    ///
    /// # Errors
    /// The library refused: the stream cannot go on.
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failed>;

    /// Appends what makes everything taken so far decodable.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed>;

    /// The last bytes; nothing is called after it.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed>;

    /// The level from the next byte on, where the coding can: its answer is the level that it then has.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn set_level(&mut self, level: u8, out: &mut Vec<u8>) -> Result<u8, Failed>;

    /// The level now.
    fn level(&self) -> u8;
}

/// A coding's library failed; the text is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(pub String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// What can be made, by the name that HTTP has for it.
pub const NAMES: [&str; 3] = ["gzip", "zstd", "br"];

/// A stream of the coding `name` at a level of at most [`HIGHEST`]; None: there is no such coding.
///
/// # Errors
/// The library refused, for lack of memory.
pub fn make(name: &str, level: u8) -> Option<Result<Box<dyn Encode>, Failed>> {
    let level = level.min(HIGHEST);
    match name {
        "gzip" => Some(Gzip::new(level).map(|made| Box::new(made) as Box<dyn Encode>)),
        "zstd" => Some(Zstd::new(level).map(|made| Box::new(made) as Box<dyn Encode>)),
        "br" => Some(Ok(Box::new(Br::new(level)))),
        _ => None,
    }
}

/// Room that is offered to a library at once: what 256 KB of text become.
const ROOM: usize = 32 * 1024;
