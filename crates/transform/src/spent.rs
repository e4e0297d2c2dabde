//! What a coding takes, from a part of its pieces: to look at the clocks at each costs a tenth of what level 1 does.
//!
//! | word | meaning |
//! | --- | --- |
//! | piece | what is given to a coding at once: 8 KB of a chunked body, 64 KB of another |
//! | timed | one whose time is taken; it stands for all since the one before |
//! | stretch | what lies between two questions: one level |
//!
//! Which piece is timed follows from how many bytes there were, never from when it comes. The first after a pause has to fetch the
//! coding's 300 KB back from memory: where a pause decided (the next after a millisecond), that one was timed always, and
//! with 40 bodies in turn level 1 seemed to take 6 to 10 ns a byte instead of 1.4. Must not: read a clock.

use std::time::Duration;

/// A piece is timed about every so much of the coding's work.
const EVERY: f64 = 0.001;
/// And after so many bytes on the average, at least and at most.
const AFTER: (f64, f64) = (64.0 * 1024.0, 512.0 * 1024.0);

/// One body's.
pub struct Spent {
    /// Bytes since a piece was timed, and after how many one is again: whatever is asked meanwhile.
    since: usize,
    after: usize,
    chance: u32,
    /// Of this stretch: bytes, those for which no timed piece stands yet, those for which one does, and what these took.
    bytes: usize,
    untimed: usize,
    covered: usize,
    seconds: f64,
    elapsed: f64,
    /// Of the stretches before.
    total: (f64, f64),
}

impl Spent {
    /// Nothing yet. Bodies with another `chance` have others of their pieces timed.
    #[must_use]
    pub fn new(chance: u32) -> Self {
        let mut made = Self {
            since: 0,
            after: 0,
            chance,
            bytes: 0,
            untimed: 0,
            covered: 0,
            seconds: 0.0,
            elapsed: 0.0,
            total: (0.0, 0.0),
        };
        made.after = made.draw(AFTER.0);
        made
    }

    /// A piece of so many bytes comes. Whether it is to be timed; then [`Spent::took`] follows.
    pub fn is_timed(&mut self, length: usize) -> bool {
        self.since += length;
        self.untimed += length;
        self.bytes += length;
        self.since >= self.after
    }

    /// The piece of `length` bytes took so much of the processor, while so much time passed.
    pub fn took(&mut self, length: usize, spent: Duration, elapsed: Duration) {
        #[allow(clippy::cast_precision_loss)] // a few hundred thousand
        let times = self.untimed as f64 / length.max(1) as f64;
        self.seconds += times * spent.as_secs_f64();
        self.elapsed += times * elapsed.as_secs_f64();
        self.covered += self.untimed;
        (self.since, self.untimed) = (0, 0);
        #[allow(clippy::cast_precision_loss)]
        let bytes = EVERY * length as f64 / spent.as_secs_f64().max(1e-9);
        self.after = self.draw(bytes.clamp(AFTER.0, AFTER.1));
    }

    /// Processor time of this stretch, in seconds.
    #[must_use]
    pub fn worked(&self) -> f64 {
        self.whole().0
    }

    /// A stretch ends. Seconds of the processor, and those that passed, of the whole body so far; a stretch in which no piece was
    /// timed is not in them.
    pub fn turn(&mut self) -> (f64, f64) {
        let (seconds, elapsed) = self.whole();
        self.total = (self.total.0 + seconds, self.total.1 + elapsed);
        (self.bytes, self.covered, self.untimed) = (0, 0, 0);
        (self.seconds, self.elapsed) = (0.0, 0.0);
        self.total
    }

    fn whole(&self) -> (f64, f64) {
        if self.covered == 0 {
            return (0.0, 0.0);
        }
        #[allow(clippy::cast_precision_loss)]
        let scale = self.bytes as f64 / self.covered as f64;
        (scale * self.seconds, scale * self.elapsed)
    }

    /// Between half of it and one and a half: pieces come in turns of 256 KB, and not always the same of them is to be timed.
    fn draw(&mut self, bytes: f64) -> usize {
        // Weyl's sequence: neighbours are far from each other, and all come equally often.
        self.chance = self.chance.wrapping_add(0x9E37_79B9);
        let between = 0.5 + f64::from(self.chance) / f64::from(u32::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most 768 KB
        let drawn = (bytes * between) as usize;
        drawn
    }
}

#[cfg(test)]
mod tests;
