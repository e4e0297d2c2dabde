//! zstd (RFC 8878): a level change ends the frame and begins the next; a body may have as many as it likes.
//!
//! The library takes a new level in mid-frame only where it has threads of its own, which a module must not have. The
//! new frame starts with an empty window, so a policy pays for a change here as it does not with gzip. Level 0 is the
//! library's -5: a third of the time of 1. The window is 512 KB at every level: about 3 MB a stream at 9, and well
//! below the 8 MB that a browser has to take.

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::{Encode, Failed, HIGHEST, ROOM};

/// Binary logarithm of the window.
const WINDOW: u32 = 19;

/// A zstd stream.
pub struct Zstd {
    frame: Encoder<'static>,
    level: u8,
    /// Whether the frame has any input.
    begun: bool,
    /// Whether anything was written since the last flush.
    open: bool,
}

impl Zstd {
    /// A new one.
    ///
    /// # Errors
    /// No memory.
    pub fn new(level: u8) -> Result<Self, Failed> {
        let level = level.min(HIGHEST);
        Ok(Self { frame: frame(level)?, level, begun: false, open: false })
    }

    fn drain(
        &mut self,
        out: &mut Vec<u8>,
        step: impl Fn(&mut Encoder<'static>, &mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<usize>,
    ) -> Result<(), Failed> {
        loop {
            out.reserve(ROOM);
            let at = out.len();
            let mut room = OutBuffer::around_pos(out, at);
            if step(&mut self.frame, &mut room).map_err(told)? == 0 {
                return Ok(());
            }
        }
    }
}

fn told(error: std::io::Error) -> Failed {
    Failed(error.to_string())
}

fn frame(level: u8) -> Result<Encoder<'static>, Failed> {
    let mut frame = Encoder::new(if level == 0 { -5 } else { i32::from(level) }).map_err(told)?;
    frame.set_parameter(CParameter::WindowLog(WINDOW)).map_err(told)?;
    Ok(frame)
}

impl Encode for Zstd {
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        let mut source = InBuffer::around(input);
        self.begun |= !input.is_empty();
        self.open |= !input.is_empty();
        while source.pos < input.len() {
            out.reserve(ROOM);
            let at = out.len();
            let mut room = OutBuffer::around_pos(out, at);
            self.frame.run(&mut source, &mut room).map_err(told)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        if std::mem::take(&mut self.open) {
            self.drain(out, |frame, room| frame.flush(room))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        self.drain(out, |frame, room| frame.finish(room, true))
    }

    fn set_level(&mut self, level: u8, out: &mut Vec<u8>) -> Result<u8, Failed> {
        let level = level.min(HIGHEST);
        if level != self.level {
            if std::mem::take(&mut self.begun) {
                self.finish(out)?;
            }
            self.frame = frame(level)?;
            (self.level, self.open) = (level, false);
        }
        Ok(self.level)
    }

    fn level(&self) -> u8 {
        self.level
    }
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").field("level", &self.level).finish_non_exhaustive()
    }
}
