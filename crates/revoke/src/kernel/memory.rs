//! Memory that both queues are read into: reserved once, touched in advance, used again.
//!
//! Into pages that were never touched, reading 1 MB takes 0.92 instead of 0.42 ms. It grows before the guard is up and
//! never shrinks. It is a file's, named or not, so that another process can finish what a killed one began
//! ([`super::journal`]).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::ptr::NonNull;

/// What is added to what a queue holds at the moment of a look.
pub const SLACK: usize = 256 * 1024;

/// One stretch of a file, mapped.
#[derive(Debug)]
pub struct Memory {
    at: NonNull<u8>,
    reserved: usize,
    ready: usize,
    file: File,
}

// SAFETY: the mapping is this object's alone and moves with it.
unsafe impl Send for Memory {}

impl Memory {
    /// Room for `most` bytes, in the file `path` (new, 0600) or in one without a name.
    ///
    /// # Errors
    /// The system's.
    pub fn new(most: usize, path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => {
                use std::os::unix::fs::OpenOptionsExt;
                File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?
            }
            // SAFETY: a constant name; a new descriptor, ours alone.
            None => unsafe {
                let fd = libc::memfd_create(c"modnet-yank".as_ptr(), libc::MFD_CLOEXEC);
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                File::from_raw_fd(fd)
            },
        };
        Self::map(file, most)
    }

    /// An existing file's bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut found = Self::map(file, length)?;
        found.ready = length;
        Ok(found)
    }

    fn map(file: File, most: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice. Beyond the file's end nobody touches it.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), most, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Nothing is ever mapped at address 0 without a wish.
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { at, reserved: most, ready: 0, file })
    }

    /// Makes at least `bytes` of it (as far as it was reserved) usable and touched.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC.
    pub fn ready(&mut self, bytes: usize) -> io::Result<()> {
        let wanted = bytes.next_multiple_of(SLACK).min(self.reserved);
        if wanted <= self.ready {
            return Ok(());
        }
        // Written by the file system, so that memory that is not there is an error here and no signal later.
        let (from, more) = (self.ready as libc::off_t, (wanted - self.ready) as libc::off_t);
        // SAFETY: takes no pointer.
        let failed = unsafe { libc::posix_fallocate(self.file.as_raw_fd(), from, more) };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: a part of our own mapping that the file now reaches. Where the kernel has no such advice (before
        // 5.14) the pages are touched at first use.
        unsafe {
            let at = self.at.as_ptr().add(self.ready);
            libc::madvise(at.cast(), wanted - self.ready, libc::MADV_POPULATE_WRITE);
        }
        self.ready = wanted;
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// All that is usable.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, and the file reaches so far. Other processes open it only once this one is dead.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.ready) }
    }

    /// All that is usable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.ready) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing borrows any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.reserved) };
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
