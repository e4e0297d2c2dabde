//! What goes on. While nothing was changed or held back it is the input itself, and nothing is copied.

use std::ops::Range;

/// One call's output.
pub struct Output<'a> {
    input: &'a [u8],
    /// So much of the input goes on in its place, while `out` is not used.
    passed: usize,
    out: &'a mut Vec<u8>,
    split: bool,
}

impl<'a> Output<'a> {
    /// Of `input`; what differs from it is appended to `out`, which is empty.
    pub fn new(input: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        Self { input, passed: 0, out, split: false }
    }

    /// This part of the input goes on.
    pub fn pass(&mut self, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        if !self.split && part.start == self.passed {
            self.passed = part.end;
        } else {
            let input = self.input;
            self.vec().extend_from_slice(&input[part]);
        }
    }

    /// These bytes go on.
    pub fn put(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.vec().extend_from_slice(bytes);
        }
    }

    /// Where to append.
    pub fn vec(&mut self) -> &mut Vec<u8> {
        if !self.split {
            self.split = true;
            self.out.extend_from_slice(&self.input[..self.passed]);
        }
        self.out
    }

    /// Whether the input goes on as it is; else `out` does.
    #[must_use]
    pub fn is_same(&mut self) -> bool {
        if !self.split && self.passed < self.input.len() {
            // The rest was held back.
            self.vec();
        }
        !self.split
    }
}
