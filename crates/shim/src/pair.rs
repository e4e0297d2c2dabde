//! A pair of connected intermediate sockets: one end for the application, one (left) for the first module.
//!
//! Nothing else knows how a pair comes to be and goes: pairs that outlive a flow will be kept behind these functions.

use crate::sys;

/// Both ends, close-on-exec and non-blocking: between here and the end of accept another thread may fork and exec.
pub struct Pair {
    /// For the application; [`Pair::take_place`] gives it its number.
    app: i32,
    /// For the module.
    pub left: i32,
}

impl Pair {
    /// A fresh pair.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOBUFS as socketpair.
    pub fn make() -> sys::Result<Self> {
        let [app, left] = sys::socketpair(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
        Ok(Self { app, left })
    }

    /// The application's end, for setting it up before it is seen.
    pub fn app(&self) -> i32 {
        self.app
    }

    /// Puts the application's end at the number `at`, and drops what this process needs no longer.
    pub fn take_place(self, at: i32, cloexec: bool) -> sys::Result<()> {
        let placed = sys::dup3(self.app, at, cloexec);
        self.discard();
        placed.map(drop)
    }

    /// Closes both ends.
    pub fn discard(self) {
        sys::close(self.app);
        sys::close(self.left);
    }
}
