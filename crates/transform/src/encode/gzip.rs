//! gzip: zlib-rs's deflate, whose level changes between two blocks of one stream.
//!
//! Level 0 stores. A change costs the end of a block: a few bytes, and nothing of the window is forgotten. 268 KB a
//! stream (zlib's own account of windowBits 15, memLevel 8).

use super::deflate::{Deflate, Flush};
use super::{Encode, Failed, HIGHEST};

/// A gzip stream.
pub struct Gzip {
    stream: Deflate,
    level: u8,
    /// Whether anything was written since the last flush.
    open: bool,
}

impl Gzip {
    /// A new one.
    ///
    /// # Errors
    /// No memory.
    pub fn new(level: u8) -> Result<Self, Failed> {
        let level = level.min(HIGHEST);
        Ok(Self { stream: Deflate::new(level)?, level, open: false })
    }
}

impl Encode for Gzip {
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        if input.is_empty() {
            return Ok(());
        }
        self.open = true;
        self.stream.run(input, Flush::No, out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        if std::mem::take(&mut self.open) {
            self.stream.run(&[], Flush::Sync, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        self.stream.run(&[], Flush::Finish, out)
    }

    fn set_level(&mut self, level: u8, out: &mut Vec<u8>) -> Result<u8, Failed> {
        let level = level.min(HIGHEST);
        if level != self.level {
            self.stream.set_level(level, out)?;
            self.level = level;
        }
        Ok(self.level)
    }

    fn level(&self) -> u8 {
        self.level
    }
}

impl std::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gzip").field("level", &self.level).finish_non_exhaustive()
    }
}
