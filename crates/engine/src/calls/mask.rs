//! Which cores a `cpu_mask` means.
//!
//! A mask is a positive `long`, so that its negative is no descriptor: bit `n` is core `n`, and every further core whose number
//! is `n` modulo the bits there are (63), so that no machine has a queue that cannot be named. `LONG_MAX` is every core.

use std::ffi::c_long;

use crate::error::{Error, Result};

/// A set of cores, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(c_long);

/// Every core.
pub const ALL: c_long = c_long::MAX;
const BITS: u32 = c_long::BITS - 1;

impl Mask {
    /// From the argument of `modnet_getsockets`.
    ///
    /// # Errors
    /// EINVAL for 0 and below.
    pub fn new(cpu_mask: c_long) -> Result<Self> {
        if cpu_mask > 0 {
            Ok(Self(cpu_mask))
        } else {
            Err(no_core())
        }
    }

    /// From the descriptor argument of `modnet_epoll_ctl`; None where it is one.
    #[must_use]
    pub fn from_descriptor(fd: c_long) -> Option<Self> {
        // The lowest number has no negative, and is no mask: then a descriptor, which the kernel refuses.
        fd.checked_neg().and_then(|mask| Self::new(mask).ok())
    }

    /// Whether a core is in it.
    #[must_use]
    pub fn has(self, cpu: u32) -> bool {
        self.0 >> (cpu % BITS) & 1 == 1
    }

    /// As a number.
    #[must_use]
    pub fn bits(self) -> c_long {
        self.0
    }
}

/// What is wrong with a mask that means none.
#[must_use]
pub fn no_core() -> Error {
    Error::new(libc::EINVAL, "the cpu_mask names no core of this machine; bit n is core n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_no_mask_and_a_negative_one_is() {
        assert_eq!(Mask::from_descriptor(0), None);
        assert_eq!(Mask::from_descriptor(7), None);
        assert_eq!(Mask::from_descriptor(c_long::MIN), None);
        assert_eq!(Mask::from_descriptor(-5), Mask::new(5).ok());
        assert_eq!(Mask::from_descriptor(-ALL), Mask::new(ALL).ok());
    }

    #[test]
    fn a_mask_is_positive() {
        for wrong in [0, -1, c_long::MIN] {
            assert_eq!(Mask::new(wrong).unwrap_err().errno, libc::EINVAL);
        }
    }

    #[test]
    fn every_core_has_a_bit() {
        let third = Mask::new(0b100).unwrap();
        assert!(third.has(2) && third.has(2 + BITS) && !third.has(3) && !third.has(1 + BITS));
        assert!((0..200).all(|cpu| Mask::new(ALL).unwrap().has(cpu)));
    }
}
