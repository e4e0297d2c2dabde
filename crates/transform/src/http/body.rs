//! A changed body, and the framing that it gets.

use super::head::Head;

/// A transform failed: the message cannot go on, nor go back to what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// What happens to the bytes of one body.
pub trait Body: Send {
    /// The next bytes.
    ///
    /// # Errors
    /// The message is broken.
    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken>;

    /// No more comes for now: what can be told so far.
    ///
    /// # Errors
    /// The message is broken.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken>;

    /// The end, in order.
    ///
    /// # Errors
    /// The message is broken.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken>;
}

/// How a changed body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimited {
    /// By chunks.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// A body that is being changed.
pub struct Changed {
    body: Box<dyn Body>,
    by: Delimited,
    /// What the transform made of one piece.
    made: Vec<u8>,
    /// Taken from the source, for the end.
    pub trailers: Vec<u8>,
    /// Whether anything came since the last flush.
    open: bool,
}

/// What a transform made is kept up to this size between calls: 256 KB of input, compressed badly, fit.
const KEEP: usize = 64 * 1024;

impl Changed {
    /// A new one.
    pub fn new(body: Box<dyn Body>, by: Delimited) -> Self {
        Self { body, by, made: Vec::new(), trailers: Vec::new(), open: false }
    }

    /// Some bytes of the source.
    ///
    /// # Errors
    /// The transform failed.
    pub fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        self.open = true;
        self.step(out, |body, made| body.data(input, made))
    }

    /// See [`Body::flush`].
    ///
    /// # Errors
    /// The transform failed.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if std::mem::take(&mut self.open) {
            self.step(out, |body, made| body.flush(made))?;
        }
        Ok(())
    }

    /// Whether a flush might bring something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The end of the source, in order.
    ///
    /// # Errors
    /// The transform failed.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.open = false;
        self.step(out, |body, made| body.end(made))?;
        if self.by == Delimited::Chunks {
            out.extend_from_slice(b"0\r\n");
            for line in self.trailers.split_inclusive(|byte| *byte == b'\n') {
                let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
                if !STALE.iter().any(|stale| name.eq_ignore_ascii_case(stale.as_bytes())) {
                    out.extend_from_slice(line);
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn step(
        &mut self,
        out: &mut Vec<u8>,
        work: impl FnOnce(&mut dyn Body, &mut Vec<u8>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        if self.by == Delimited::Close {
            return work(&mut *self.body, out);
        }
        self.made.clear();
        work(&mut *self.body, &mut self.made)?;
        if !self.made.is_empty() {
            // An empty chunk would be the end.
            out.extend_from_slice(format!("{:x}\r\n", self.made.len()).as_bytes());
            out.extend_from_slice(&self.made);
            out.extend_from_slice(b"\r\n");
        }
        if self.made.capacity() > KEEP {
            self.made = Vec::new();
        }
        Ok(())
    }
}

/// Fields that speak of bytes which are not the body's any more.
pub const STALE: [&str; 5] = ["content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"];

/// Makes a head fit for a changed body.
pub fn announce(head: &mut Head, by: Delimited) {
    head.remove("content-length");
    for stale in STALE {
        head.remove(stale);
    }
    match by {
        Delimited::Chunks if !head.has("transfer-encoding") => {
            head.add("Transfer-Encoding", b"chunked");
        }
        Delimited::Chunks => {}
        Delimited::Close => head.remove("transfer-encoding"),
    }
    let weak = head.get("etag").filter(|tag| tag.starts_with(b"\"")).map(|tag| [b"W/", tag].concat());
    if let Some(weak) = weak {
        head.set("ETag", &weak);
    }
}
