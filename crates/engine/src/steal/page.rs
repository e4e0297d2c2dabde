//! The memory of a pool (`abi::pool`), made and mapped: the one owner of memfd and mmap. (Yielded bytes have one as well.)
//!
//! Rules: a memfd that could shrink is refused, since touching what is gone would kill this process; whatever stands in
//! the memory is atomics, of which any value is valid.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use modnet_abi::pool::{PoolPage, AREA_BYTES, POOL_BYTES};

/// An empty file in memory, which can be sealed.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn memory(name: &CStr) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends with a NUL; the descriptor is ours when the call succeeds.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), flags);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(fd))
    }
}

/// A mapping of a pool's memory; unmapped with it.
#[derive(Debug)]
pub struct Page(*mut PoolPage);

// SAFETY: a PoolPage is atomics only, and the mapping belongs to no thread.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// New memory, and the descriptor that another process can map it by.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let file = memory(c"modnet-pool")?;
        file.set_len(POOL_BYTES as u64)?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: no memory is passed.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = OwnedFd::from(file);
        Ok((Self::map(&fd)?, fd))
    }

    /// The memory that a client offers.
    ///
    /// # Errors
    /// EPROTO where it is no memfd of the right length, sealed; else what mmap says.
    pub fn offered(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        // SAFETY: no memory is passed.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        let sealed = seals >= 0 && seals & libc::F_SEAL_SHRINK != 0;
        if !sealed || file.metadata()?.len() != POOL_BYTES as u64 {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        Self::map(&OwnedFd::from(file))
    }

    /// Copies bytes out of a slot's area, from its `at`th: as many as there is room for.
    pub fn copy_out(&self, slot: usize, at: usize, into: &mut [u8]) {
        let Some(area) = self.areas.get(slot).filter(|_| at + into.len() <= AREA_BYTES) else { return };
        // SAFETY: the range lies in the area; who writes there meanwhile breaks the protocol, and changes values only.
        unsafe { ptr::copy_nonoverlapping(area.bytes().add(at), into.as_mut_ptr(), into.len()) };
    }

    /// Copies bytes into it.
    pub fn copy_in(&self, slot: usize, at: usize, bytes: &[u8]) {
        let Some(area) = self.areas.get(slot).filter(|_| at + bytes.len() <= AREA_BYTES) else { return };
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), area.bytes().add(at), bytes.len()) };
    }

    fn map(fd: &OwnedFd) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place; nothing of ours is there.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), POOL_BYTES, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(at.cast()))
    }
}

impl Deref for Page {
    type Target = PoolPage;

    fn deref(&self) -> &PoolPage {
        // SAFETY: mapped, whole pages, until drop; its length cannot shrink; every bit pattern is a PoolPage.
        unsafe { &*self.0 }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can borrow it any more.
        unsafe { libc::munmap(self.0.cast(), POOL_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use modnet_abi::pool::AREAS;

    use super::*;

    #[test]
    fn both_sides_see_the_same_memory_and_it_begins_with_zeroes() {
        let (ours, fd) = Page::new().unwrap();
        let theirs = Page::offered(fd).unwrap();
        assert!(ours.slots.iter().all(|slot| slot.word.load(Ordering::Relaxed) == 0));
        ours.slots[7].word.store(5, Ordering::Relaxed);
        assert_eq!(theirs.slots[7].word.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn what_is_copied_into_an_area_stays_in_it() {
        let (page, _fd) = Page::new().unwrap();
        page.copy_in(1, AREA_BYTES - 3, b"end");
        page.copy_in(1, AREA_BYTES - 2, b"end");
        page.copy_in(AREAS, 0, b"end");
        let mut found = [0; 3];
        page.copy_out(1, AREA_BYTES - 3, &mut found);
        assert_eq!(&found, b"end");
        page.copy_out(2, 0, &mut found);
        assert_eq!(found, [0; 3]);
    }

    #[test]
    fn memory_that_could_shrink_or_is_too_short_or_none_is_refused() {
        let memory = |length: u64, seals: i32| {
            // SAFETY: as in `Page::new`.
            let file = unsafe {
                File::from_raw_fd(libc::memfd_create(
                    c"x".as_ptr(),
                    libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
                ))
            };
            file.set_len(length).unwrap();
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }, 0);
            Page::offered(file.into()).map(drop).map_err(|e| e.raw_os_error())
        };
        let right = POOL_BYTES as u64;
        assert_eq!(memory(right, libc::F_SEAL_SHRINK), Ok(()));
        assert_eq!(memory(right, libc::F_SEAL_GROW), Err(Some(libc::EPROTO)));
        assert_eq!(memory(right - 1, libc::F_SEAL_SHRINK), Err(Some(libc::EPROTO)));
        assert_eq!(memory(right + 1, libc::F_SEAL_SHRINK), Err(Some(libc::EPROTO)));
        // Nobody may write: then nobody can map it for writing.
        assert!(memory(right, libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE).is_err());
        let file = File::open("/proc/self/exe").unwrap();
        assert_eq!(Page::offered(file.into()).err().and_then(|e| e.raw_os_error()), Some(libc::EPROTO));
    }

    #[test]
    fn what_was_offered_cannot_shrink_any_more() {
        let (_page, fd) = Page::new().unwrap();
        assert!(File::from(fd).set_len(0).is_err());
    }
}
