//! The exported functions that make a process or another way to hold descriptors: what they do to pairs in use stands in
//! `forks` and `pool`.

use libc::{c_char, c_int, c_long, c_uint, c_void, pid_t};

use crate::answer::fail;
use crate::hooks::{hooks, native};
use crate::sys::Errno;
use crate::{forks, pool, real};

/// The function behind a hook whose library may have been loaded late.
macro_rules! anywhere {
    ($constant:ident, $hook:ident) => {
        real::$constant.get_anywhere($hook as *const () as usize)
    };
}

hooks! {
    fn fork() -> pid_t {
        forks::around(|| native!(FORK()))
    }

    fn _Fork() -> pid_t {
        forks::around(|| native!(FORK_ALONE()))
    }

    fn daemon(nochdir: c_int, noclose: c_int) -> c_int {
        forks::around(|| native!(DAEMON(nochdir, noclose)))
    }

    fn forkpty(main: *mut c_int, name: *mut c_char, modes: *const c_void, size: *const c_void) -> pid_t {
        match anywhere!(FORKPTY, forkpty) {
            // SAFETY: the application's own arguments.
            Some(function) => forks::around(|| unsafe { function(main, name, modes, size) }),
            None => fail(Errno(libc::ENOSYS)) as pid_t,
        }
    }

    fn system(command: *const c_char) -> c_int {
        forks::around(|| native!(SYSTEM(command)))
    }

    fn popen(command: *const c_char, kind: *const c_char) -> *mut libc::FILE {
        match real::POPEN.get() {
            // SAFETY: the application's own arguments.
            Some(function) => forks::around(|| unsafe { function(command, kind) }),
            None => core::ptr::null_mut(),
        }
    }

    fn posix_spawn(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int {
        match real::POSIX_SPAWN.get() {
            // SAFETY: the application's own arguments.
            Some(function) => forks::around(|| unsafe {
                function(pid, path, actions, attributes, arguments, environment)
            }),
            None => libc::ENOSYS,
        }
    }

    fn posix_spawnp(
        pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int {
        match real::POSIX_SPAWNP.get() {
            // SAFETY: the application's own arguments.
            Some(function) => forks::around(|| unsafe {
                function(pid, file, actions, attributes, arguments, environment)
            }),
            None => libc::ENOSYS,
        }
    }

    fn clone(
        begin: *mut c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void,
        parent: *mut pid_t, tls: *mut c_void, child: *mut pid_t
    ) -> c_int {
        let native = || native!(CLONE(begin, stack, flags, argument, parent, tls, child));
        match flags & (libc::CLONE_FILES | libc::CLONE_VM | libc::CLONE_VFORK) {
            libc::CLONE_VM => forks::beside(native),
            some if some & libc::CLONE_FILES == 0 => forks::around(native),
            _ => native(),
        }
    }

    fn fdopen(fd: c_int, mode: *const c_char) -> *mut libc::FILE {
        // Streams read and write by libc's own calls.
        pool::unpool(fd, modnet_abi::counter::Counter::PairsBusy);
        match real::FDOPEN.get() {
            // SAFETY: the application's own arguments.
            Some(function) => unsafe { function(fd, mode) },
            None => core::ptr::null_mut(),
        }
    }

    fn io_uring_queue_init(entries: c_uint, ring: *mut c_void, flags: c_uint) -> c_int {
        pool::uses_io_uring();
        let function = anywhere!(URING_INIT, io_uring_queue_init);
        // SAFETY: the application's own arguments.
        function.map_or(-libc::ENOSYS, |function| unsafe { function(entries, ring, flags) })
    }

    fn io_uring_queue_init_params(entries: c_uint, ring: *mut c_void, params: *mut c_void) -> c_int {
        pool::uses_io_uring();
        let function = anywhere!(URING_PARAMS, io_uring_queue_init_params);
        // SAFETY: the application's own arguments.
        function.map_or(-libc::ENOSYS, |function| unsafe { function(entries, ring, params) })
    }

    fn io_uring_queue_init_mem(
        entries: c_uint, ring: *mut c_void, params: *mut c_void, at: *mut c_void, size: usize
    ) -> c_int {
        pool::uses_io_uring();
        let function = anywhere!(URING_MEMORY, io_uring_queue_init_mem);
        // SAFETY: the application's own arguments.
        function.map_or(-libc::ENOSYS, |function| unsafe { function(entries, ring, params, at, size) })
    }

    fn io_uring_setup(entries: c_uint, params: *mut c_void) -> c_int {
        pool::uses_io_uring();
        let function = anywhere!(URING_SETUP, io_uring_setup);
        // SAFETY: the application's own arguments.
        function.map_or(-libc::ENOSYS, |function| unsafe { function(entries, params) })
    }
}

/// vfork's own part, and where libc's is.
extern "C" fn before_vfork() -> usize {
    forks::vfork_begins();
    real::VFORK.get().or_else(|| real::FORK.get()).map_or(0, |function| function as usize)
}

/// `vfork`, as in libc: its child returns on this very stack frame, so there must be none.
///
/// # Safety
/// As libc's.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn vfork() -> pid_t {
    core::arch::naked_asm!("sub rsp, 8", "call {before}", "add rsp, 8", "jmp rax", before = sym before_vfork)
}

/// `vfork`, as in libc: its child returns on this very stack frame, so there must be none.
///
/// # Safety
/// As libc's.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn vfork() -> pid_t {
    core::arch::naked_asm!(
        "stp x29, x30, [sp, #-16]!", "bl {before}", "ldp x29, x30, [sp], #16", "br x0",
        before = sym before_vfork
    )
}

/// Whether a call by number makes a process with descriptors of its own.
pub fn makes_process(number: c_long, flags: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_fork {
        return true;
    }
    // clone3's flags stand in memory: rather once too often.
    number == libc::SYS_clone3 || (number == libc::SYS_clone && flags as c_int & libc::CLONE_FILES == 0)
}
