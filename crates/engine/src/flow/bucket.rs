//! A token bucket in whole nanoseconds: how many bytes may pass now, and when the next may.

/// Nanoseconds in a second.
const SECOND: f64 = 1e9;
/// Bytes worth waking up for: fewer would make a timer and a segment of a few bytes each.
const WORTH: f64 = 1448.0;

/// Limits one direction to a rate after a burst.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: u64,
}

impl Bucket {
    /// `rate` in bytes a second, above 0; `burst` in bytes, at least 1; full at `now` (nanoseconds).
    #[must_use]
    pub fn new(rate: f64, burst: u32, now: u64) -> Self {
        Self { rate, burst: f64::from(burst), tokens: f64::from(burst), at: now }
    }

    /// Bytes that may pass at `now`; 0 until it is worth it.
    pub fn allowance(&mut self, now: u64) -> usize {
        #[allow(clippy::cast_precision_loss)] // years of nanoseconds
        let passed = now.saturating_sub(self.at) as f64 / SECOND;
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = now.max(self.at);
        if self.tokens + 1e-6 < self.worth() {
            return 0;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at least 1, at most u32::MAX
        let whole = (self.tokens + 1e-6) as usize;
        whole
    }

    /// `bytes` have passed.
    pub fn take(&mut self, bytes: usize) {
        #[allow(clippy::cast_precision_loss)] // a read's length
        let taken = bytes as f64;
        self.tokens -= taken;
    }

    /// When [`Bucket::allowance`] is above 0 again, in nanoseconds.
    #[must_use]
    pub fn ready_at(&self) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates: then it is never
        let wait = ((self.worth() - self.tokens).max(0.0) / self.rate * SECOND).ceil() as u64;
        self.at.saturating_add(wait)
    }

    fn worth(&self) -> f64 {
        self.burst.min(WORTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let mut bucket = Bucket::new(1000.0, 500, 0);
        assert_eq!(bucket.allowance(0), 500);
        bucket.take(500);
        assert_eq!(bucket.allowance(0), 0);
        assert_eq!(bucket.ready_at(), 500_000_000);
        assert_eq!(bucket.allowance(499_000_000), 0);
        assert_eq!(bucket.allowance(500_000_000), 500);
    }

    #[test]
    fn over_a_long_time_the_rate_is_exact() {
        let mut bucket = Bucket::new(1e6, 10_000, 0);
        let (mut now, mut passed) = (0, 0);
        while now < 10_000_000_000 {
            let may = bucket.allowance(now).min(3000);
            bucket.take(may);
            passed += may;
            now = bucket.ready_at().max(now + 1000);
        }
        assert!((9_990_000..=10_020_000).contains(&passed), "{passed}");
    }

    #[test]
    fn time_that_goes_backwards_gives_nothing() {
        let mut bucket = Bucket::new(1e9, 2000, 1000);
        bucket.take(2000);
        assert_eq!(bucket.allowance(0), 0);
    }
}
