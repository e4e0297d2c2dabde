//! Bytes that a direction has read and its destination has not taken yet.
//!
//! Rule: memory is given back as soon as the queue is empty, so that an idle flow holds none.

/// A send queue: in at the end, out at the front.
#[derive(Debug, Default)]
pub struct Queue {
    /// Bytes that the driver keeps elsewhere; they come first.
    outside: usize,
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outside + self.bytes.len() - self.start
    }

    /// Bytes that the driver keeps, ahead of all others.
    #[must_use]
    pub fn outside(&self) -> usize {
        self.outside
    }

    /// The driver keeps so many bytes.
    ///
    /// # Panics
    /// If any wait already: they would be overtaken.
    pub fn keep_outside(&mut self, count: usize) {
        assert!(self.is_empty(), "bytes wait that came before");
        self.outside = count;
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What waits here, the first byte first.
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
        let outside = count.min(self.outside);
        self.outside -= outside;
        self.start += count - outside;
        if self.is_empty() {
            self.clear();
        }
    }

    /// The driver keeps none of its bytes any more.
    pub fn outside_is_gone(&mut self) {
        self.outside = 0;
    }

    /// Takes the last bytes that wait here back, at most `most`, in their order.
    pub fn yank(&mut self, most: usize) -> Vec<u8> {
        let here = self.bytes.len() - self.start;
        let taken = self.bytes.split_off(self.bytes.len() - most.min(here));
        if self.is_empty() {
            self.clear();
        }
        taken
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

    #[test]
    fn the_last_come_back() {
        let mut queue = Queue::default();
        queue.push(b"abcdef");
        queue.advance(1);
        assert_eq!(queue.yank(2), b"ef");
        assert_eq!(queue.front(), b"bcd");
        assert_eq!(queue.yank(9), b"bcd");
        assert!(queue.is_empty() && queue.bytes.capacity() == 0);
        queue.keep_outside(4);
        queue.push(b"xy");
        assert_eq!((queue.yank(9), queue.len()), (b"xy".to_vec(), 4));
    }

    #[test]
    fn what_is_kept_outside_goes_first() {
        let mut queue = Queue::default();
        queue.keep_outside(5);
        queue.push(b"abc");
        queue.advance(4);
        assert_eq!((queue.outside(), queue.len()), (1, 4));
        queue.advance(1);
        assert_eq!((queue.outside(), queue.front()), (0, &b"abc"[..]));
    }
}
