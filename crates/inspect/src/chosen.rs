//! Which socket has which slot: the table that the programs keep (`bpf/chosen.h`), as a reader looks into it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a row; `ABREAST` in `bpf/chosen.h`.
const ABREAST: usize = 8;
/// Bits of an entry that are the slot's; `SLOT_BITS` likewise.
const SLOT_BITS: u32 = 23;
/// `SPREAD` likewise.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot of a socket that has none.
pub const NO_SLOT: u32 = u32::MAX;

/// A socket's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its number.
    pub slot: u32,
    /// The socket's cookie.
    pub cookie: u64,
}

/// `struct row` in `bpf/chosen.h`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Row([AtomicU64; ABREAST]);

/// How many rows so many slots want: with all of them taken a row has two entries on average, of eight.
#[must_use]
pub fn rows(slots: u32) -> u32 {
    slots.div_ceil(2).next_power_of_two()
}

/// The slot of the socket with this cookie.
#[must_use]
pub fn slot(rows: &[Row], cookie: u64) -> Option<u32> {
    let last = rows.len().checked_sub(1)?;
    let index = usize::try_from(cookie.wrapping_mul(SPREAD) >> 32).ok()? & last;
    let of = |entry: &AtomicU64| slot_in(entry.load(Ordering::Acquire), cookie);
    rows.get(index)?.0.iter().find_map(of)
}

fn slot_in(entry: u64, cookie: u64) -> Option<u32> {
    let rest = (entry ^ cookie << SLOT_BITS).wrapping_sub(1);
    u32::try_from(rest).ok().filter(|slot| *slot < (1 << SLOT_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_leads_to_its_slot_and_no_other_does() {
        let table: Vec<Row> = (0..rows(100)).map(|_| Row::default()).collect();
        assert_eq!((table.len(), slot(&table, 7)), (64, None));
        for row in &table {
            row.0[5].store((7 << SLOT_BITS) + 1, Ordering::Relaxed);
            row.0[7].store((8 << SLOT_BITS) + 42, Ordering::Relaxed);
        }
        assert_eq!([6, 7, 8, 9].map(|cookie| slot(&table, cookie)), [None, Some(0), Some(41), None]);
        assert_eq!(slot(&[], 7), None);
    }

    #[test]
    fn cookies_in_a_row_spread() {
        for step in [1, 2, 8, 4096] {
            let mut rows = vec![0; 64];
            for number in 0..128_u64 {
                rows[usize::try_from((number * step).wrapping_mul(SPREAD) >> 32).unwrap() & 63] += 1;
            }
            assert!(rows.iter().max() <= Some(&ABREAST), "{step}: {rows:?}");
        }
    }
}
