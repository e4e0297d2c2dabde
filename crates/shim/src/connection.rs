//! Connections to steal queues, each with the pairs that its module keeps for it (`pool`).
//!
//! They stand in an array that is never freed, and are counted: a holder is the core's cell that names it, a thread that is
//! looking at it, or a flow with one of its pairs. So a connection stays what it is while anybody uses it, even
//! after the cell names another; the last holder closes it. Nobody waits.
//!
//! | holders | state |
//! | --- | --- |
//! | 0 | unused |
//! | `CLOSING` | its last holder is closing it |
//! | else | in use |
//!
//! A fork's child forgets them all ([`forget_all`]); a vfork's, which sees its parent's memory, touches none.
//! A *cell* names the connection that one core uses now: its index plus 1, or 0.

use core::mem::forget;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use modnet_abi::pool::PoolPage;
use modnet_abi::record::{FRESH_PAIRS, MAX_CONNECTIONS};
use modnet_pool::{Book, AREAS, SLOTS};

use crate::process::Memory;
use crate::record::Chain;
use crate::{fds, hidden, numbers, pool, sys};

const CLOSING: u32 = u32::MAX;

/// One connection.
pub struct Connection {
    holders: AtomicU32,
    generation: AtomicU32,
    position: AtomicU32,
    /// Its queue is of the core whose connection it is.
    own_core: AtomicBool,
    /// The memory that its pairs' words stand in; null: its pairs are fresh.
    page: AtomicPtr<PoolPage>,
    /// Its pairs.
    pub book: Book,
    /// SO_COOKIE of each slot's near socket.
    pub cookies: [AtomicU64; SLOTS],
    /// Bytes that hooked calls have written to the near socket of each slot that has an area, since it was made; they wrap.
    pub written: [AtomicU32; AREAS],
}

impl Connection {
    const fn new() -> Self {
        Self {
            holders: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            position: AtomicU32::new(0),
            own_core: AtomicBool::new(false),
            page: AtomicPtr::new(core::ptr::null_mut()),
            book: Book::new(),
            cookies: [const { AtomicU64::new(0) }; SLOTS],
            written: [const { AtomicU32::new(0) }; AREAS],
        }
    }
}

static ALL: [Connection; MAX_CONNECTIONS as usize] = [const { Connection::new() }; MAX_CONNECTIONS as usize];

/// A connection in use; one holder.
pub struct Held(usize);

impl Held {
    /// A new one over a duplicate of `socket`, and the pool that its HELLO offers, if pairs may be used again. None: no room.
    /// `own`: its queue is of this core.
    pub fn new(socket: i32, chain: &Chain, position: u32, own: bool) -> Option<(Self, Option<pool::Offer>)> {
        let free = |one: &Connection| {
            one.holders.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let index = ALL.iter().take(numbers::connections() as usize).position(free)?;
        if hidden::place(socket, numbers::connection(index), true, Memory::Own).is_err() {
            ALL[index].holders.store(0, Ordering::Release);
            return None;
        }
        // From here on it closes what stands at its numbers when it is dropped.
        let held = Self(index);
        held.generation.store(chain.generation, Ordering::Relaxed);
        held.position.store(position, Ordering::Relaxed);
        held.own_core.store(own, Ordering::Relaxed);
        // Without memory or descriptors for a pool fresh pairs do.
        let pooled = chain.flags & FRESH_PAIRS == 0;
        let offer = pooled.then(|| pool::Offer::make(numbers::bell(index))).flatten();
        if let Some(offer) = &offer {
            held.page.store(offer.page, Ordering::Release);
        }
        Some((held, offer))
    }

    /// The one that `cell` names.
    pub fn current(cell: &AtomicU32) -> Option<Self> {
        let name = cell.load(Ordering::Acquire);
        let held = Self::hold((name as usize).checked_sub(1)?)?;
        // While the cell names it, it is not another one of that number.
        (cell.load(Ordering::Acquire) == name).then_some(held)
    }

    /// That of an index, if it is in use.
    pub fn hold(index: usize) -> Option<Self> {
        let holders = &ALL.get(index)?.holders;
        let more = |now| if now == 0 || now == CLOSING { None } else { Some(now + 1) };
        holders.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok().map(|_| Self(index))
    }

    /// The cell names this one from now on, and holds it.
    pub fn publish(&self, cell: &AtomicU32) {
        if let Some(held) = Self::hold(self.0) {
            Self::retire(cell.swap(held.into_index() as u32 + 1, Ordering::AcqRel));
        }
    }

    /// It is gone: the cell names none, if it named this one.
    pub fn leave(self, cell: &AtomicU32) {
        let name = self.0 as u32 + 1;
        if cell.compare_exchange(name, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            Self::retire(name);
        }
    }

    /// The same of whatever cell names it.
    pub fn leave_all(self, cells: &[AtomicU32]) {
        for cell in cells {
            self.again().leave(cell);
        }
    }

    /// What a cell has named and names no longer: its flows end with their descriptors, its idle pairs now.
    fn retire(name: u32) {
        let Some(index) = (name as usize).checked_sub(1) else { return };
        let held = Self(index);
        pool::end(&held);
    }

    /// Whether it leads to that place of that chain.
    pub fn is(&self, generation: u32, position: u32) -> bool {
        self.generation.load(Ordering::Relaxed) == generation
            && self.position.load(Ordering::Relaxed) == position
    }

    /// Whether its module works on the core whose connection it is.
    pub fn is_own_core(&self) -> bool {
        self.own_core.load(Ordering::Relaxed)
    }

    /// The socket.
    pub fn socket(&self) -> i32 {
        numbers::connection(self.0)
    }

    /// The eventfd.
    pub fn bell(&self) -> i32 {
        numbers::bell(self.0)
    }

    /// Which one it is.
    pub fn index(&self) -> usize {
        self.0
    }

    /// The memory of its pairs' words.
    pub fn page(&self) -> Option<&PoolPage> {
        // SAFETY: null, or mapped until the last holder has gone, of which this is one; a PoolPage is atomics only.
        unsafe { self.page.load(Ordering::Acquire).as_ref() }
    }

    /// One holder more.
    pub fn again(&self) -> Self {
        ALL[self.0].holders.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }

    /// To be kept as a number; the holder lives on in it.
    pub fn into_index(self) -> usize {
        let index = self.0;
        forget(self);
        index
    }

    /// Back from the number that [`Held::into_index`] gave, once for each time.
    pub fn from_index(index: usize) -> Option<Self> {
        (index < ALL.len()).then_some(Self(index))
    }
}

impl core::ops::Deref for Held {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &ALL[self.0]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let one = &ALL[self.0];
        let less = |now| Some(if now == 1 { CLOSING } else { now - 1 });
        if one.holders.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less) == Ok(1) {
            discard(self.0);
            one.holders.store(0, Ordering::Release);
        }
    }
}

/// Closes what belongs to a connection that nobody else holds.
fn discard(index: usize) {
    let one = &ALL[index];
    one.book.end(&pool::Calls(index));
    close(index);
}

fn close(index: usize) {
    let one = &ALL[index];
    one.book.renew();
    let page = one.page.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if !page.is_null() {
        pool::unmap(page);
        sys::close(numbers::bell(index));
    }
    sys::close(numbers::connection(index));
}

/// The one of that index, in use or not.
pub fn at(index: usize) -> Option<&'static Connection> {
    ALL.get(index)
}

/// Those in use, each held while it is looked at.
pub fn all() -> impl Iterator<Item = Held> {
    (0..ALL.len()).filter_map(Held::hold)
}

/// Whether a connection or its bell stands at a number.
pub fn is_own(number: u32) -> bool {
    let place = number.wrapping_sub(numbers::own().start) as usize;
    let connections = numbers::connections() as usize;
    place < 2 * connections && ALL[place % connections].holders.load(Ordering::Relaxed) != 0
}

/// Whether the socket at a number is one end of a pair that some connection has, or has had. O(pairs), for a fork's child.
pub fn is_near(number: i32) -> bool {
    let cookie = fds::cookie(number);
    cookie.is_some_and(|cookie| {
        ALL.iter().any(|one| one.cookies.iter().any(|known| known.load(Ordering::Relaxed) == cookie))
    })
}

/// In a fork's child, which has only this thread: closes its copies of its parent's connections.
pub fn forget_all() {
    for (index, one) in ALL.iter().enumerate() {
        if one.holders.load(Ordering::Relaxed) != 0 {
            close(index);
            one.holders.store(0, Ordering::Relaxed);
        }
    }
}

/// No connection is used any more: no chain applies, or the application closes every number, ours too.
pub fn end_all(cells: &[AtomicU32]) {
    for cell in cells {
        if cell.load(Ordering::Relaxed) != 0 {
            Held::retire(cell.swap(0, Ordering::AcqRel));
        }
    }
}
