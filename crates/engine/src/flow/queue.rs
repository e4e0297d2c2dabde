//! Bytes that a direction has read and its destination has not taken yet.
//!
//! Rule: memory is given back as soon as the queue is empty, so that an idle flow holds none.

/// A send queue: in at the end, out at the front.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits, the first byte first.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Appends.
    pub fn push(&mut self, data: &[u8]) {
        if self.start > 0 && self.bytes.len() + data.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// The first `count` bytes have gone.
    ///
    /// # Panics
    /// If so many do not wait.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "more bytes sent than waited");
        self.start += count;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Throws away what waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_no_memory_when_empty() {
        let mut queue = Queue::default();
        queue.push(b"abc");
        queue.advance(2);
        queue.push(b"def");
        assert_eq!((queue.front(), queue.len()), (&b"cdef"[..], 4));
        queue.advance(4);
        assert!(queue.is_empty() && queue.bytes.capacity() == 0);
    }
}
