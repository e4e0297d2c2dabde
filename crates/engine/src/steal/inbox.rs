//! Messages of a steal queue, many in one call, with their descriptors.
//!
//! Rules: every descriptor that arrives has an owner at once, so none can leak, whatever the message says; a
//! message is checked before it is believed.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use modnet_abi::steal::{
    Entry, Hello, Yielded, BEGIN, ENTRY_BYTES, HELLO, HELLO_BYTES, MAX_ENTRIES, MAX_FDS, NEW, NO_SLOT,
    WITH_BYTES, WITH_REAL, YIELD, YIELD_BYTES,
};

/// Messages taken in one call: a burst of accepts.
const BATCH: usize = 32;
/// Batches of one sender in a turn: an accept burst. Where there is more the poller says so again, when the others have had their
/// turns: who sends without pause keeps nobody.
pub const BATCHES: usize = 4;
/// Longest message.
const BYTES: usize =
    if HELLO_BYTES > MAX_ENTRIES * ENTRY_BYTES { HELLO_BYTES } else { MAX_ENTRIES * ENTRY_BYTES };
/// Control data of a message with [`MAX_FDS`] descriptors, in words for its alignment.
const WORDS: usize = (MAX_FDS * 4 + 64) / 8;

/// What a message, or one entry of it, says.
pub enum Message<'a> {
    /// Who is there, and what came along.
    Hello(&'a Hello, &'a mut dyn Iterator<Item = OwnedFd>),
    /// A new pair's left, and right.
    New {
        /// Which pair.
        slot: u32,
        /// Towards the application.
        left: OwnedFd,
        /// Towards the network.
        right: OwnedFd,
    },
    /// A new flow's right, on a pair that is there.
    Begin {
        /// Which pair.
        slot: u32,
        /// Towards the network.
        right: OwnedFd,
    },
    /// A flow that has carried bytes already.
    Yield {
        /// What is said of it.
        said: Yielded,
        /// Towards the application.
        left: OwnedFd,
        /// Towards the network.
        right: OwnedFd,
        /// The real socket, where right is not.
        real: Option<OwnedFd>,
        /// A file with bytes that lie in no socket.
        bytes: Option<OwnedFd>,
    },
    /// Descriptors did not fit into this process; what came of them is closed. The slot of a BEGIN among them, of which
    /// nobody else hears, or [`NO_SLOT`].
    Lost(u32),
    /// Something else; what came with it is closed.
    NotUnderstood,
}

/// Whether more may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The call took as many as it could.
    More,
    /// Nothing is left.
    Drained,
    /// The peer has closed.
    Gone,
}

/// Buffers for one call.
pub struct Inbox {
    bytes: Box<[[u8; BYTES]; BATCH]>,
    control: Box<[[u64; WORDS]; BATCH]>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Box::new([[0; BYTES]; BATCH]), control: Box::new([[0; WORDS]; BATCH]) }
    }
}

impl Inbox {
    /// Takes what is there, up to a batch or `most` messages, and calls `each` for every entry.
    pub fn receive(&mut self, fd: &OwnedFd, most: usize, mut each: impl FnMut(Message<'_>)) -> State {
        // SAFETY: zeroes are a valid iovec and mmsghdr.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let batch = most.min(BATCH);
        for i in 0..batch {
            vectors[i] = libc::iovec { iov_base: self.bytes[i].as_mut_ptr().cast(), iov_len: BYTES };
            headers[i].msg_hdr.msg_iov = &raw mut vectors[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_control = self.control[i].as_mut_ptr().cast();
            headers[i].msg_hdr.msg_controllen = mem::size_of::<[u64; WORDS]>();
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: every header points to buffers of the lengths it names, which live through the call.
        let count = unsafe {
            libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), batch as u32, flags, std::ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else {
            return match io::Error::last_os_error().raw_os_error() {
                Some(libc::EAGAIN) => State::Drained,
                Some(libc::EINTR) => State::More,
                _ => State::Gone,
            };
        };
        let mut gone = false;
        for (i, header) in headers.iter().enumerate().take(count) {
            let mut fds = descriptors(&header.msg_hdr).into_iter();
            let length = header.msg_len as usize;
            // An empty message is the end. What stands behind it has descriptors too, which are closed here.
            gone |= length == 0;
            if gone {
                continue;
            }
            let cut = header.msg_hdr.msg_flags;
            // More descriptors than a message may have are cut off, too: only fewer than that were lost.
            if cut & libc::MSG_CTRUNC != 0 && fds.len() < MAX_FDS {
                lose(&self.bytes[i][..length], &mut each);
                continue;
            }
            if cut & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
                each(Message::NotUnderstood);
                continue;
            }
            parse(&self.bytes[i][..length], &mut fds, &mut each);
        }
        if gone {
            State::Gone
        } else if count < batch {
            State::Drained
        } else {
            State::More
        }
    }
}

fn parse(bytes: &[u8], fds: &mut dyn Iterator<Item = OwnedFd>, each: &mut impl FnMut(Message<'_>)) {
    if let Some(first) = entry(bytes) {
        if first.kind == HELLO && bytes.len() == HELLO_BYTES {
            // SAFETY: a Hello is integers only, any bytes are one; the length was checked; read_unaligned needs no alignment.
            let hello = unsafe { bytes[ENTRY_BYTES..].as_ptr().cast::<Hello>().read_unaligned() };
            return each(Message::Hello(&hello, fds));
        }
        if first.kind == YIELD && bytes.len() == YIELD_BYTES {
            // SAFETY: as above.
            let said = unsafe { bytes[ENTRY_BYTES..].as_ptr().cast::<Yielded>().read_unaligned() };
            return each(yielded(said, fds).unwrap_or(Message::NotUnderstood));
        }
    }
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return each(Message::NotUnderstood);
    }
    for at in (0..bytes.len()).step_by(ENTRY_BYTES) {
        match entry(&bytes[at..]) {
            Some(Entry { slot, kind: NEW }) => match (fds.next(), fds.next()) {
                (Some(left), Some(right)) => each(Message::New { slot, left, right }),
                _ => each(Message::NotUnderstood),
            },
            Some(Entry { slot, kind: BEGIN }) => match fds.next() {
                Some(right) => each(Message::Begin { slot, right }),
                None => each(Message::NotUnderstood),
            },
            _ => {
                // How many descriptors an unknown entry brings is unknown: the rest cannot be told apart.
                each(Message::NotUnderstood);
                return;
            }
        }
    }
}

fn yielded<'a>(said: Yielded, fds: &mut dyn Iterator<Item = OwnedFd>) -> Option<Message<'a>> {
    let (left, right) = (fds.next()?, fds.next()?);
    let mut along = |flag| if said.flags & flag == 0 { Some(None) } else { fds.next().map(Some) };
    let (real, bytes) = (along(WITH_REAL)?, along(WITH_BYTES)?);
    Some(Message::Yield { said, left, right, real, bytes })
}

fn lose(bytes: &[u8], each: &mut impl FnMut(Message<'_>)) {
    let mut begins =
        bytes.chunks(ENTRY_BYTES).filter_map(entry).filter(|entry| entry.kind == BEGIN).peekable();
    if begins.peek().is_none() {
        each(Message::Lost(NO_SLOT));
    }
    begins.for_each(|entry| each(Message::Lost(entry.slot)));
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some(Entry { slot: word(0)?, kind: word(4)? })
}

/// The descriptors of a message, all owned.
fn descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut all = Vec::new();
    // SAFETY: the kernel has filled the control buffer that the header describes; CMSG_* walk inside it; each
    // descriptor in it is new and nobody else's.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while !at.is_null() {
            if (*at).cmsg_level == libc::SOL_SOCKET && (*at).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(at);
                let length = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for i in 0..length / 4 {
                    all.push(OwnedFd::from_raw_fd(data.add(4 * i).cast::<i32>().read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_message_whose_descriptors_were_lost_every_pair_that_waits_for_one_is_told() {
        let lost = |entries: &[(u32, u32)]| {
            let bytes: Vec<u8> =
                entries.iter().flat_map(|(slot, kind)| [*slot, *kind]).flat_map(u32::to_ne_bytes).collect();
            let mut slots = Vec::new();
            lose(&bytes, &mut |message| match message {
                Message::Lost(slot) => slots.push(slot),
                _ => panic!("something else"),
            });
            slots
        };
        assert_eq!(lost(&[(7, BEGIN), (NO_SLOT, NEW), (9, BEGIN)]), [7, 9]);
        assert_eq!(lost(&[(3, NEW)]), [NO_SLOT]);
        assert_eq!(lost(&[]), [NO_SLOT]);
    }
}
