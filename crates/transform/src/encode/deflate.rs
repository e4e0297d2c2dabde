//! zlib-rs's deflate with a gzip frame: the one owner of its C interface, and of `unsafe` in this crate.
//!
//! Of its interfaces only this one changes a level in mid-stream: flate2 1.1.11's `set_level` offers no room for the end
//! of the block that the change needs, and zlib-rs refuses that with "stream error" (found by `encode::tests`).
//! Must not: keep a pointer to a caller's bytes after a call.

use std::ptr::{null_mut, NonNull};

use libz_rs_sys::{
    deflate, deflateEnd, deflateInit2_, deflateParams, deflateTune, z_stream, zlibVersion, Z_BUF_ERROR,
    Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_NO_FLUSH, Z_OK, Z_STREAM_END, Z_SYNC_FLUSH,
};

use super::{Failed, ROOM};

/// 32 KB of window, in a gzip frame.
const WINDOW_BITS: i32 = 15 + 16;
/// zlib's default; Apache's and nginx's are 8 or 9.
const MEM_LEVEL: i32 = 8;

/// zlib-rs's own level 9 looks for matches of three bytes however far away, and made a report of Figure 4's kind 8 % longer
/// than 8 does (265,977 bytes to 247,362; HTML, sources and most JSON differ by 0.3 %). So our 9 is its 8 with lazy matches
/// of any length (245,786): never longer than 8.
const BASIS_OF_9: u8 = 8;
/// Of [`BASIS_OF_9`] as it is and as our 9: matches good enough to search less behind them, longest that a better one is
/// looked for, long enough to stop, most candidates.
const TUNED: [[i32; 4]; 2] = [[32, 128, 258, 1024], [258, 258, 258, 1024]];

/// When what was taken must be decodable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    No,
    Sync,
    Finish,
}

/// A stream.
pub(super) struct Deflate(Box<z_stream>);

// SAFETY: the stream owns what it points to (`state`, from zlib-rs's allocator); between calls it points to no caller's
// bytes.
unsafe impl Send for Deflate {}

fn failed(code: i32) -> Failed {
    Failed(format!("deflate answers {code}"))
}

/// The library's level for ours.
fn basis(level: u8) -> i32 {
    i32::from(level.min(BASIS_OF_9))
}

impl Deflate {
    pub(super) fn new(level: u8) -> Result<Self, Failed> {
        let mut stream = Box::new(z_stream::default());
        let size = i32::try_from(size_of::<z_stream>()).unwrap_or(0);
        // SAFETY: the stream is ours and zeroed but for the allocator's functions, as deflateInit2 demands; the version is
        // the library's own.
        let code = unsafe {
            deflateInit2_(
                &mut *stream,
                basis(level),
                Z_DEFLATED,
                WINDOW_BITS,
                MEM_LEVEL,
                Z_DEFAULT_STRATEGY,
                zlibVersion(),
                size,
            )
        };
        if code != Z_OK {
            return Err(failed(code));
        }
        let mut made = Self(stream);
        made.tune(level)?;
        Ok(made)
    }

    /// Tells our 9 from its basis, which to the library are one level.
    fn tune(&mut self, level: u8) -> Result<(), Failed> {
        if level < BASIS_OF_9 {
            return Ok(());
        }
        let [good, lazy, nice, chain] = TUNED[usize::from(level > BASIS_OF_9)];
        // SAFETY: initialized in `new`; four numbers are set.
        match unsafe { deflateTune(&mut *self.0, good, lazy, nice, chain) } {
            Z_OK => Ok(()),
            code => Err(failed(code)),
        }
    }

    /// Takes all of `input`, and does what `flush` says.
    pub(super) fn run(&mut self, input: &[u8], flush: Flush, out: &mut Vec<u8>) -> Result<(), Failed> {
        let (mut rest, flush) = (
            input,
            match flush {
                Flush::No => Z_NO_FLUSH,
                Flush::Sync => Z_SYNC_FLUSH,
                Flush::Finish => Z_FINISH,
            },
        );
        loop {
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let (code, is_full) = self.call(rest, length, out, |stream| {
                // SAFETY: initialized, and `call` has set its pointers to `length` readable and the offered writable bytes.
                unsafe { deflate(stream, flush) }
            });
            rest = &rest[(length - self.0.avail_in) as usize..];
            self.forget();
            match code {
                Z_STREAM_END => return Ok(()),
                Z_OK if is_full || !rest.is_empty() || flush == Z_FINISH => {}
                // Nothing was left to do: no error to us.
                Z_BUF_ERROR if flush == Z_FINISH || !rest.is_empty() => return Err(failed(code)),
                Z_OK | Z_BUF_ERROR => return Ok(()),
                _ => return Err(failed(code)),
            }
        }
    }

    /// Ends the block that is open, and goes on with another level.
    pub(super) fn set_level(&mut self, level: u8, out: &mut Vec<u8>) -> Result<(), Failed> {
        loop {
            let (code, is_full) = self.call(&[], 0, out, |stream| {
                // SAFETY: as in `run`, with no input.
                unsafe { deflateParams(stream, basis(level), Z_DEFAULT_STRATEGY) }
            });
            self.forget();
            match code {
                Z_OK => return self.tune(level),
                Z_BUF_ERROR if is_full => {}
                _ => return Err(failed(code)),
            }
        }
    }

    /// Offers room at the end of `out`; the code, and whether all of the room was used.
    fn call(
        &mut self,
        input: &[u8],
        length: u32,
        out: &mut Vec<u8>,
        work: impl FnOnce(&mut z_stream) -> i32,
    ) -> (i32, bool) {
        out.reserve(ROOM);
        let spare = out.spare_capacity_mut();
        let offered = u32::try_from(spare.len()).unwrap_or(u32::MAX);
        let stream = &mut *self.0;
        // C's way to say that nothing is there is not a null pointer.
        stream.next_in = if length == 0 { NonNull::dangling().as_ptr() } else { input.as_ptr().cast_mut() };
        stream.avail_in = length;
        stream.next_out = spare.as_mut_ptr().cast();
        stream.avail_out = offered;
        let code = work(stream);
        let written = (offered - stream.avail_out) as usize;
        // SAFETY: the library has written so many bytes of the room it was offered.
        unsafe { out.set_len(out.len() + written) };
        (code, self.0.avail_out == 0)
    }

    fn forget(&mut self) {
        (self.0.next_in, self.0.next_out) = (null_mut(), null_mut());
        (self.0.avail_in, self.0.avail_out) = (0, 0);
    }
}

impl Drop for Deflate {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, and ended here only.
        unsafe { deflateEnd(&mut *self.0) };
    }
}
