//! The exported functions that are not about data. Each is a few lines over a safe function.
//!
//! fcntl, ioctl and syscall are variadic in C; on the ABIs that we support a callee may declare its arguments as registers.
//! pthread_cancel unwinds through a hook that waits in accept: its frames have unwind tables and nothing to clean up. (`C-unwind`
//! would put a guard that aborts into each, since the library is built with panic=abort.)

use libc::{c_int, c_long, c_uint, c_ulong, c_void, rlimit64, sockaddr, socklen_t};
use modnet_abi::counter::Counter;

use crate::answer::{fail, give, Answer};
use crate::hooks_forks::makes_process;
use crate::passed::{self, Whose};
use crate::sys::Errno;
use crate::{
    burst, control, descriptors, fds, forks, limits, names, options, pool, ranges, real, record, steal,
    watched,
};

/// Calls libc's function, or fails with ENOSYS where libc has none.
macro_rules! native {
    ($name:ident($($argument:expr),*)) => {
        match real::$name.get() {
            // SAFETY: the application's own arguments, as it passed them.
            Some(function) => unsafe { function($($argument),*) },
            None => fail(Errno(libc::ENOSYS)) as _,
        }
    };
}
pub(crate) use native;

/// Defines exported functions.
macro_rules! hooks {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => {
        $(#[doc = concat!("`", stringify!($name), "`, as in libc.")]
        ///
        /// # Safety
        /// As libc's.
        #[no_mangle]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> $result $body)*
    };
}
pub(crate) use hooks;

hooks! {
    fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
        steal::accept(fd, 0, |_| native!(ACCEPT(fd, address, len)), false)
    }

    fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
        steal::accept(fd, flags, |flags| native!(ACCEPT4(fd, address, len, flags)), true)
    }

    fn listen(fd: c_int, backlog: c_int) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { names::on_real(libc::SYS_listen, fd, backlog as usize, 0) };
        let result = give(answer, || native!(LISTEN(fd, backlog)));
        if result == 0 {
            names::listening(fd);
        }
        result
    }

    fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { names::on_real(libc::SYS_bind, fd, address as usize, len as usize) };
        give(answer, || native!(BIND(fd, address, len)))
    }

    fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { names::on_real(libc::SYS_connect, fd, address as usize, len as usize) };
        give(answer, || native!(CONNECT(fd, address, len)))
    }

    fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { names::on_real(libc::SYS_getpeername, fd, address as usize, len as usize) };
        let native = || native!(GETPEERNAME(fd, address, len));
        // SAFETY: the same.
        give(answer, || unsafe { passed::address_of(fd, Whose::Peer, address, len, native) })
    }

    fn getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { names::on_real(libc::SYS_getsockname, fd, address as usize, len as usize) };
        let native = || native!(GETSOCKNAME(fd, address, len));
        // SAFETY: the same.
        give(answer, || unsafe { passed::address_of(fd, Whose::Own, address, len, native) })
    }

    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { options::get(fd, level, name, value, len) }, || native!(GETSOCKOPT(fd, level, name, value, len)))
    }

    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int {
        // SAFETY: the application's own arguments.
        let answer = unsafe { options::set(fd, level, name, value, len) };
        give(answer, || passed::set(fd, level, native!(SETSOCKOPT(fd, level, name, value, len))))
    }

    fn shutdown(fd: c_int, how: c_int) -> c_int {
        pool::unpool(fd, Counter::PairsShutdown);
        native!(SHUTDOWN(fd, how))
    }

    fn epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int {
        // SAFETY: null or the application's own.
        let known = || unsafe { event.as_ref() }.copied();
        watched::control(set, operation, fd, known, || native!(EPOLL_CTL(set, operation, fd, event)))
    }

    fn close(fd: c_int) -> c_int {
        descriptors::close(fd, || native!(CLOSE(fd)))
    }

    fn fclose(file: *mut libc::FILE) -> c_int {
        // SAFETY: an open stream, as fclose demands.
        unsafe { descriptors::before_fclose(file) };
        native!(FCLOSE(file))
    }

    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
        give(ranges::close_range(first, last, flags as u32), || native!(CLOSE_RANGE(first, last, flags)))
    }

    fn closefrom(first: c_int) -> () {
        if let Answer::Native = ranges::closefrom(first) {
            if let Some(function) = real::CLOSEFROM.get() {
                // SAFETY: an integer.
                unsafe { function(first) }
            }
        }
    }

    fn dup(fd: c_int) -> c_int {
        descriptors::dup(fd, false, || native!(DUP(fd)))
    }

    fn dup2(fd: c_int, onto: c_int) -> c_int {
        descriptors::dup_onto(fd, onto, false, || native!(DUP2(fd, onto)))
    }

    fn dup3(fd: c_int, onto: c_int, flags: c_int) -> c_int {
        descriptors::dup_onto(fd, onto, flags & libc::O_CLOEXEC != 0, || native!(DUP3(fd, onto, flags)))
    }

    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
        descriptors::fcntl(fd, command, argument, || native!(FCNTL(fd, command, argument)))
    }

    fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
        descriptors::fcntl(fd, command, argument, || native!(FCNTL64(fd, command, argument)))
    }

    fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { control::ioctl(fd, request, argument) }, || native!(IOCTL(fd, request, argument)))
    }

    fn getrlimit(resource: c_int, now: *mut rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, 0, core::ptr::null(), now) }, || native!(GETRLIMIT(resource, now)))
    }

    fn getrlimit64(resource: c_int, now: *mut rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, 0, core::ptr::null(), now) }, || native!(GETRLIMIT64(resource, now)))
    }

    fn setrlimit(resource: c_int, new: *const rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, 0, new, core::ptr::null_mut()) }, || native!(SETRLIMIT(resource, new)))
    }

    fn setrlimit64(resource: c_int, new: *const rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, 0, new, core::ptr::null_mut()) }, || native!(SETRLIMIT64(resource, new)))
    }

    fn prlimit(pid: c_int, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, pid, new, old) }, || native!(PRLIMIT(pid, resource, new, old)))
    }

    fn prlimit64(pid: c_int, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int {
        // SAFETY: the application's own arguments.
        give(unsafe { limits_of(resource, pid, new, old) }, || native!(PRLIMIT64(pid, resource, new, old)))
    }

    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
        let native = || native!(SYSCALL(number, a, b, c, d, e, f));
        if record::page().is_none() {
            return native();
        }
        // SAFETY: the application's own arguments.
        unsafe { by_number(number, [a, b, c, d, e], native) }
    }
}

/// Limits of this process' descriptors; everything else is libc's.
///
/// # Safety
/// The pointers are null or the application's own.
unsafe fn limits_of(resource: c_int, pid: c_int, new: *const rlimit64, old: *mut rlimit64) -> Answer {
    let me = pid == 0 || pid as u32 == crate::sys::getpid();
    if resource != libc::RLIMIT_NOFILE as c_int || !me {
        return Answer::Native;
    }
    // SAFETY: the caller's.
    let (new, old) = unsafe { (new.as_ref(), old.as_mut()) };
    if new.is_none() && old.is_none() {
        return Answer::Native;
    }
    limits::exchange(new, old)
}

/// `syscall`: the numbers that have a hook go to it.
///
/// # Safety
/// As the call of that number.
unsafe fn by_number(number: c_long, a: [usize; 5], native: impl Fn() -> c_long) -> c_long {
    let [fd, b, c, d, e] = a;
    let int = |value: usize| value as c_int;
    let long = |result: c_int| c_long::from(result);
    let accept = |flags| native!(ACCEPT4(int(fd), b as *mut sockaddr, c as *mut socklen_t, flags));
    // SAFETY: the caller's, in every arm: each passes on the arguments of the call of its number.
    unsafe {
        match number {
            libc::SYS_close => long(descriptors::close(int(fd), || native() as c_int)),
            libc::SYS_accept => long(steal::accept(int(fd), 0, |_| native() as c_int, false)),
            libc::SYS_accept4 => long(steal::accept(int(fd), int(d), accept, true)),
            libc::SYS_close_range => give(ranges::close_range(fd as u32, b as u32, c as u32), native),
            libc::SYS_dup => long(descriptors::dup(int(fd), false, || native() as c_int)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 => long(descriptors::dup_onto(int(fd), int(b), false, || native() as c_int)),
            libc::SYS_dup3 => {
                let cloexec = int(c) & libc::O_CLOEXEC != 0;
                long(descriptors::dup_onto(int(fd), int(b), cloexec, || native() as c_int))
            }
            libc::SYS_fcntl => long(descriptors::fcntl(int(fd), int(b), c, || native() as c_int)),
            libc::SYS_ioctl => give(control::ioctl(int(fd), b as c_ulong, c), native),
            libc::SYS_getsockopt => {
                give(options::get(int(fd), int(b), int(c), d as *mut c_void, e as *mut socklen_t), native)
            }
            libc::SYS_setsockopt => {
                give(options::set(int(fd), int(b), int(c), d as *const c_void, e as socklen_t), native)
            }
            libc::SYS_getpeername | libc::SYS_getsockname | libc::SYS_bind | libc::SYS_connect => {
                give(names::on_real(number, int(fd), b, c), native)
            }
            libc::SYS_listen => {
                let result = give(names::on_real(number, int(fd), b, 0), native);
                if result == 0 {
                    names::listening(int(fd));
                }
                result
            }
            libc::SYS_prlimit64 => {
                give(limits_of(int(b), int(fd), c as *const rlimit64, d as *mut rlimit64), native)
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_getrlimit => give(limits_of(int(fd), 0, core::ptr::null(), b as *mut rlimit64), native),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_setrlimit => {
                give(limits_of(int(fd), 0, b as *const rlimit64, core::ptr::null_mut()), native)
            }
            libc::SYS_shutdown => {
                pool::unpool(int(fd), Counter::PairsShutdown);
                native()
            }
            libc::SYS_epoll_ctl => {
                let event = || (d as *const libc::epoll_event).as_ref().copied();
                watched::control(int(fd), int(b), int(c), event, native)
            }
            libc::SYS_execve | libc::SYS_execveat => {
                burst::flush();
                native()
            }
            libc::SYS_io_uring_setup => {
                pool::uses_io_uring();
                native()
            }
            _ if makes_process(number, fd) => forks::around(native),
            _ => match watched::data(number, &a) {
                Some([one, other]) => fds::inside(one, || fds::inside(other, native)),
                None => native(),
            },
        }
    }
}
