//! A queue of bytes in segments.
//!
//! Rules: what comes in is read straight into the last segment; what is taken from either end costs the bytes taken;
//! an empty queue holds no memory. Small writes share a segment, and a segment is as large as what is expected, so that memory is
//! at most some two times the bytes: many flows have a few hundred bytes in it, for an instant.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Size of a segment: what one read of a flow's first bytes asks for, see `worker/pipe.rs`; below malloc's threshold for
/// memory that is mapped anew each time (128 KiB).
pub const SEGMENT: usize = 64 * 1024;
/// The smallest one.
pub const LEAST: usize = 4096;

#[derive(Debug)]
struct Segment {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Segment {
    fn with_room(room: usize) -> Self {
        Self { bytes: vec![0; room].into(), start: 0, end: 0 }
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The bytes.
#[derive(Debug, Default)]
pub struct Segments {
    segments: VecDeque<Segment>,
    len: usize,
}

impl Segments {
    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Room behind the last byte, at least one and at most `most` bytes (above 0); then [`Segments::filled`].
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        // A segment that is nearly full is left: a read of a few bytes costs as much as one of many.
        let is_full =
            self.segments.back().is_none_or(|last| last.bytes.len() - last.end < last.bytes.len() / 8);
        if is_full {
            self.segments.push_back(Segment::with_room(most.clamp(LEAST, SEGMENT)));
        }
        let last = self.segments.back_mut().expect("there is one now");
        let end = last.bytes.len().min(last.end.saturating_add(most));
        &mut last.bytes[last.end..end]
    }

    /// So many bytes were written to the front of the last [`Segments::room`]; 0 gives the memory back.
    pub fn filled(&mut self, count: usize) {
        if let Some(last) = self.segments.back_mut() {
            last.end += count;
            self.len += count;
            if last.len() == 0 {
                self.segments.pop_back();
            }
        }
    }

    /// Appends a copy.
    pub fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = self.room(data.len());
            let count = room.len();
            room.copy_from_slice(&data[..count]);
            self.filled(count);
            data = &data[count..];
        }
    }

    /// Appends everything of another queue.
    pub fn append(&mut self, other: &mut Self) {
        self.len += other.len;
        self.segments.append(&mut other.segments);
        other.len = 0;
    }

    /// The first bytes, at most `most`, in as many pieces as `slices` has room for; how many bytes, and pieces.
    pub fn front<'a>(&'a self, most: usize, slices: &mut [IoSlice<'a>]) -> (usize, usize) {
        let (mut bytes, mut pieces) = (0, 0);
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            let filled = segment.filled();
            let taken = filled.len().min(most - bytes);
            if taken == 0 {
                break;
            }
            *slice = IoSlice::new(&filled[..taken]);
            bytes += taken;
            pieces += 1;
        }
        (bytes, pieces)
    }

    /// The first `count` bytes have gone.
    ///
    /// # Panics
    /// If so many do not wait.
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "more bytes sent than waited");
        self.len -= count;
        while let Some(first) = self.segments.front_mut() {
            let taken = count.min(first.len());
            first.start += taken;
            count -= taken;
            if first.len() > 0 {
                return;
            }
            self.segments.pop_front();
        }
    }

    /// Copies the last bytes, at most `most`, in their order.
    #[must_use]
    pub fn peek(&self, most: usize) -> Vec<u8> {
        let count = most.min(self.len);
        let mut bytes = vec![0; count];
        let mut left = count;
        for segment in self.segments.iter().rev() {
            let filled = segment.filled();
            let taken = left.min(filled.len());
            bytes[left - taken..left].copy_from_slice(&filled[filled.len() - taken..]);
            left -= taken;
            if left == 0 {
                break;
            }
        }
        bytes
    }

    /// Takes the last bytes back, at most `most`, in their order.
    pub fn yank(&mut self, most: usize) -> Vec<u8> {
        let bytes = self.peek(most);
        let mut left = bytes.len();
        self.len -= left;
        while let Some(last) = self.segments.back_mut() {
            let taken = left.min(last.len());
            last.end -= taken;
            left -= taken;
            if last.len() > 0 {
                break;
            }
            self.segments.pop_back();
        }
        bytes
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
        range.map(|at| (at.wrapping_mul(167) >> 3) as u8).collect()
    }

    fn all(queue: &Segments) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let (count, pieces) = queue.front(usize::MAX, &mut slices);
        let joined: Vec<u8> = slices[..pieces].iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(joined.len(), count);
        joined
    }

    #[test]
    fn first_in_first_out_and_the_last_come_back_in_their_order() {
        let mut queue = Segments::default();
        queue.push(&bytes(0..3 * SEGMENT + 10));
        assert_eq!((queue.len(), all(&queue)), (3 * SEGMENT + 10, bytes(0..3 * SEGMENT + 10)));
        queue.advance(SEGMENT + 1);
        assert_eq!(queue.peek(20), bytes(3 * SEGMENT - 10..3 * SEGMENT + 10));
        assert_eq!(queue.yank(SEGMENT + 20), bytes(2 * SEGMENT - 10..3 * SEGMENT + 10));
        assert_eq!(all(&queue), bytes(SEGMENT + 1..2 * SEGMENT - 10));
        queue.push(b"new");
        assert_eq!(queue.yank(3), b"new");
        assert_eq!(queue.yank(usize::MAX), bytes(SEGMENT + 1..2 * SEGMENT - 10));
        assert_eq!((queue.len(), queue.memory()), (0, 0));
    }

    #[test]
    fn a_read_goes_straight_into_the_last_segment() {
        let mut queue = Segments::default();
        queue.push(b"ab");
        queue.room(3).copy_from_slice(b"cde");
        queue.filled(2);
        assert_eq!((all(&queue), queue.memory()), (b"abcd".to_vec(), LEAST));
    }

    #[test]
    fn a_read_that_finds_nothing_leaves_no_memory_behind() {
        let mut queue = Segments::default();
        assert_eq!(queue.room(usize::MAX).len(), SEGMENT);
        queue.filled(0);
        assert_eq!((queue.len(), queue.memory()), (0, 0));
    }

    #[test]
    fn a_piece_ends_where_it_is_told_to() {
        let mut queue = Segments::default();
        queue.push(&bytes(0..SEGMENT + 100));
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(queue.front(SEGMENT + 5, &mut slices), (SEGMENT + 5, 2));
        assert_eq!(queue.front(7, &mut slices), (7, 1));
        assert_eq!(queue.front(0, &mut slices), (0, 0));
        assert_eq!(queue.front(usize::MAX, &mut slices[..1]), (SEGMENT, 1));
    }

    #[test]
    fn one_queue_goes_behind_another() {
        let (mut first, mut second) = (Segments::default(), Segments::default());
        first.push(b"ab");
        second.push(b"cd");
        first.append(&mut second);
        assert_eq!((all(&first), second.len()), (b"abcd".to_vec(), 0));
        assert_eq!(first.yank(3), b"bcd");
    }

    #[test]
    fn small_writes_share_memory() {
        let mut queue = Segments::default();
        for at in 0..10_000 {
            queue.push(&bytes(at..at + 1));
        }
        assert_eq!(queue.memory(), 3 * LEAST);
        queue.push(&bytes(0..SEGMENT));
        assert!(queue.memory() < 2 * queue.len(), "{}", queue.memory());
    }
}
