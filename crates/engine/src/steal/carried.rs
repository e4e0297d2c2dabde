//! Bytes of a yielded flow that lie in no socket: the module that yields has read them, or has not been able to send them.
//!
//! They belong to a socket, not to a module, so that they stay in order wherever it goes: [`Stream::unread`] is read before
//! what the socket itself has, [`Stream::unsent`] is written to it before anything else. They travel in a memfd: a message of
//! a steal queue is short, and what a module holds is not. (Writing them into a new pair first was rejected: what lies in the
//! socket itself could not follow them without somebody who goes on passing it.)
//!
//! Rules: what a message says about lengths is compared with the file before anything is allocated. The file is one in memory, so
//! that reading it does not wait; it is whole, since holes cost who sends them nothing; and it is no larger than [`MOST`].

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use modnet_abi::steal::{Yielded, LEFT_UNREAD, WITH_BYTES};

use super::page;

/// Bytes that no module holds of one flow.
const MOST: u64 = 1 << 30;
/// What [`MetadataExt::blocks`] counts.
const BLOCK: u64 = 512;

/// The bytes of one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// They were read from it.
    pub unread: Vec<u8>,
    /// They are to be written to it.
    pub unsent: Vec<u8>,
}

impl Stream {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.unsent.is_empty()
    }
}

/// The bytes of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Of the socket towards the application.
    pub left: Stream,
    /// Of the socket towards the network.
    pub right: Stream,
    /// They came from the network and have passed already: each of the new modules is shown them first, and what it makes of them
    /// is dropped. So one that joins in the middle of an exchange knows the question.
    pub passed: Vec<u8>,
    /// The application has closed, and left bytes unread.
    pub left_unread: bool,
}

impl Carried {
    fn parts(&self) -> [&Vec<u8>; 5] {
        [&self.left.unread, &self.left.unsent, &self.right.unread, &self.right.unsent, &self.passed]
    }

    /// What the message says, and the memfd that it takes along, if there are any bytes.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn pack(&self) -> io::Result<(Yielded, Option<OwnedFd>)> {
        let lengths = self.parts().map(|part| part.len() as u64);
        let mut said = Yielded { lengths, ..Yielded::default() };
        said.flags |= if self.left_unread { LEFT_UNREAD } else { 0 };
        if lengths == [0; 5] {
            return Ok((said, None));
        }
        let mut file = page::memory(c"modnet-yield")?;
        for part in self.parts() {
            file.write_all(part)?;
        }
        said.flags |= WITH_BYTES;
        Ok((said, Some(file.into())))
    }

    /// What a message has brought.
    ///
    /// # Errors
    /// EPROTO where file and message differ; what reading says.
    pub fn unpack(said: &Yielded, file: Option<OwnedFd>) -> io::Result<Self> {
        let wrong = || io::Error::from_raw_os_error(libc::EPROTO);
        let mut carried = Self { left_unread: said.flags & LEFT_UNREAD != 0, ..Self::default() };
        let all = said.lengths.iter().try_fold(0u64, |sum, length| sum.checked_add(*length));
        let Some(file) = file else {
            return if all == Some(0) { Ok(carried) } else { Err(wrong()) };
        };
        let mut file = File::from(file);
        let metadata = file.metadata()?;
        let (length, held) = (metadata.len(), metadata.blocks().saturating_mul(BLOCK));
        // SAFETY: no memory is passed.
        let is_memory = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) } >= 0;
        if !is_memory || all != Some(length) || length > held.min(MOST) {
            return Err(wrong());
        }
        file.rewind()?;
        let Self { left, right, passed, .. } = &mut carried;
        let parts = [&mut left.unread, &mut left.unsent, &mut right.unread, &mut right.unsent, passed];
        for (part, length) in parts.into_iter().zip(said.lengths) {
            part.resize(usize::try_from(length).map_err(|_| wrong())?, 0);
            file.read_exact(part)?;
        }
        Ok(carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Carried {
        let stream =
            |unread: &[u8], unsent: &[u8]| Stream { unread: unread.to_vec(), unsent: unsent.to_vec() };
        let (left, right) = (stream(b"GET", b""), stream(&[7; 100_000], b"xy"));
        Carried { left, right, passed: b"passed".to_vec(), left_unread: true }
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let (said, file) = some().pack().unwrap();
        assert_eq!(said.lengths, [3, 0, 100_000, 2, 6]);
        assert_eq!(Carried::unpack(&said, file).unwrap(), some());
    }

    #[test]
    fn a_flow_without_bytes_needs_no_file() {
        let (said, file) = Carried::default().pack().unwrap();
        assert!(file.is_none() && said == Yielded::default());
        assert_eq!(Carried::unpack(&said, None).unwrap(), Carried::default());
    }

    #[test]
    fn lengths_that_are_not_those_of_the_file_are_refused() {
        let sparse = page::memory(c"sparse").unwrap();
        sparse.set_len(1 << 46).unwrap();
        let said = Yielded { flags: WITH_BYTES, lengths: [1 << 46, 0, 0, 0, 0], ..Yielded::default() };
        let error = Carried::unpack(&said, Some(sparse.into())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPROTO), "nothing was written");
        for lengths in [[3, 0, 100_000, 2, 5], [3, 0, 100_000, 3, 6], [u64::MAX, 0, 1, 0, 0], [0; 5]] {
            let (said, file) = some().pack().unwrap();
            let error = Carried::unpack(&Yielded { lengths, ..said }, file).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPROTO), "{lengths:?}");
        }
        let (said, _) = some().pack().unwrap();
        assert!(Carried::unpack(&said, None).is_err());
        let (ours, _) = io::pipe().unwrap();
        assert!(Carried::unpack(&said, Some(ours.into())).is_err());
    }
}
