//! Which numbers the hidden duplicates get: descriptor `n` has its own at `hidden_base + n`.
//!
//! The numbers from `hidden_base` to twice that are ours, so twice `hidden_base` must not exceed the hard limit.
//! A privileged launcher raises the hard limit and the record says what the application is to see; others give the
//! hidden duplicates the upper half. The soft limit stays as it is: programs size tables by it.

use modnet_abi::record::LEAST_BASE;

use crate::error::{Error, Result};

/// More descriptors than that in one process are not stolen (65,536 stolen sockets at once).
const MOST: u64 = 65_536;

/// What to write into the record, and what to do before exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// `ChainPage::hidden_base`.
    pub hidden_base: u32,
    /// `ChainPage::shown_hard_limit`.
    pub shown_hard_limit: u64,
    /// The hard limit to set before exec; None: it stays.
    pub raise_to: Option<u64>,
}

/// Plans for a hard limit of `hard`, where the system allows at most `most` (fs.nr_open); `privileged` says that the
/// launcher may raise it (CAP_SYS_RESOURCE).
///
/// # Errors
/// EMFILE where the limit leaves no room worth having.
pub fn plan(hard: u64, most: u64, privileged: bool) -> Result<Room> {
    let hard = hard.min(most.max(1));
    let wanted = hard.min(MOST);
    let half = (hard / 2).min(MOST);
    let (base, raise_to) = match privileged {
        // The numbers between twice and four times the base are the shim's way to remember a lower limit.
        _ if (2 * MOST..=4 * MOST).contains(&hard) => (hard / 2, None),
        _ if hard >= 2 * wanted => (wanted, None),
        true if most >= 2 * wanted => (wanted, Some(2 * wanted)),
        _ => (half, None),
    };
    if base < u64::from(LEAST_BASE) {
        return Err(Error::new(
            libc::EMFILE,
            format!("the hard limit of open files is {hard}, too few for hidden duplicates; raise it (ulimit -Hn 4096)"),
        ));
    }
    Ok(Room {
        hidden_base: u32::try_from(base).unwrap_or(u32::MAX),
        shown_hard_limit: if raise_to.is_some() { hard } else { 0 },
        raise_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(hidden_base: u32, shown_hard_limit: u64, raise_to: Option<u64>) -> Result<Room> {
        Ok(Room { hidden_base, shown_hard_limit, raise_to })
    }

    #[test]
    fn the_numbers_fit_the_limit_that_will_hold() {
        let nr_open = 1 << 20;
        assert_eq!(plan(20_000, nr_open, true), room(20_000, 20_000, Some(40_000)));
        assert_eq!(plan(20_000, nr_open, false), room(10_000, 0, None));
        assert_eq!(plan(nr_open, nr_open, true), room(65_536, 0, None));
        assert_eq!(plan(nr_open, nr_open, false), room(65_536, 0, None));
        assert_eq!(plan(200_001, nr_open, false), room(100_000, 0, None));
        assert_eq!(plan(u64::MAX, 1 << 30, true), room(65_536, 0, None));
        // The system's own bound leaves no room to raise: half, as for everybody.
        assert_eq!(plan(20_000, 20_000, true), room(10_000, 0, None));
        assert_eq!(plan(100, nr_open, false).unwrap_err().errno, libc::EMFILE);
    }
}
