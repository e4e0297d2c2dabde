//! br (RFC 7932): brotli's quality is fixed at the stream's beginning, so a level that changes counts from the next body.
//!
//! Level 0 is quality 0. The window is 256 KB at every level: at 9 about 4 MB a stream, of which most is hash tables.

use std::io::Write;

use brotli::CompressorWriter;

use super::{Encode, Failed, HIGHEST};

/// Binary logarithm of the window.
const WINDOW: u32 = 18;
/// The library's own buffer.
const BUFFER: usize = 32 * 1024;

/// A brotli stream.
pub struct Br {
    /// None: finished.
    stream: Option<CompressorWriter<Vec<u8>>>,
    level: u8,
    /// Whether anything was written since the last flush.
    open: bool,
}

impl Br {
    /// A new one.
    #[must_use]
    pub fn new(level: u8) -> Self {
        let level = level.min(HIGHEST);
        let stream = CompressorWriter::new(Vec::new(), BUFFER, u32::from(level), WINDOW);
        Self { stream: Some(stream), level, open: false }
    }

    fn with(
        &mut self,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut CompressorWriter<Vec<u8>>) -> std::io::Result<()>,
    ) -> Result<(), Failed> {
        let stream = self.stream.as_mut().ok_or_else(|| Failed("the stream is finished".into()))?;
        step(stream).map_err(|e| Failed(e.to_string()))?;
        out.append(stream.get_mut());
        Ok(())
    }
}

impl Encode for Br {
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        self.open |= !input.is_empty();
        self.with(out, |stream| stream.write_all(input))
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        if std::mem::take(&mut self.open) {
            self.with(out, Write::flush)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        let stream = self.stream.take().ok_or_else(|| Failed("the stream is finished".into()))?;
        // `into_inner` ends the stream.
        out.append(&mut stream.into_inner());
        Ok(())
    }

    fn set_level(&mut self, _level: u8, _out: &mut Vec<u8>) -> Result<u8, Failed> {
        Ok(self.level)
    }

    fn level(&self) -> u8 {
        self.level
    }
}

impl std::fmt::Debug for Br {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Br").field("level", &self.level).finish_non_exhaustive()
    }
}
