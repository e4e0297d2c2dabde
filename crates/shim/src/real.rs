//! The functions behind the hooks: whatever stands next after this library, found by `RTLD_NEXT`, so that
//! other preloaded libraries and sanitizers keep theirs.
//!
//! All are resolved by the constructor, since dlsym may not be called from a signal handler; a hook that is called
//! before it (by another library's constructor) resolves its own.

use core::marker::PhantomData;
use core::mem::{size_of, transmute_copy};
use core::sync::atomic::{AtomicUsize, Ordering};

use libc::{
    c_char, c_int, c_long, c_uint, c_ulong, c_void, msghdr, pid_t, rlimit64, size_t, sockaddr, socklen_t,
    ssize_t,
};

const UNKNOWN: usize = 0;
/// libc has no such function: it is older than the function.
const MISSING: usize = usize::MAX;

/// One function, `F` being its type.
pub struct Real<F> {
    address: AtomicUsize,
    name: &'static [u8],
    kind: PhantomData<F>,
}

impl<F: Copy> Real<F> {
    const fn new(name: &'static [u8]) -> Self {
        assert!(size_of::<F>() == size_of::<usize>());
        Self { address: AtomicUsize::new(UNKNOWN), name, kind: PhantomData }
    }

    /// The function, or None where libc lacks it.
    pub fn get(&self) -> Option<F> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address == UNKNOWN {
            // SAFETY: the name ends with NUL.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr().cast::<c_char>()) } as usize;
            address = if found == 0 { MISSING } else { found };
            self.address.store(address, Ordering::Relaxed);
        }
        if address == MISSING {
            return None;
        }
        // SAFETY: F is a function pointer (as wide as usize, checked above) of the type that the list below gives.
        Some(unsafe { transmute_copy::<usize, F>(&address) })
    }
}

/// What stands in `<link.h>`, as far as it is public.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const c_char,
    dynamic: *const c_void,
    next: *const LinkMap,
}

impl<F: Copy> Real<F> {
    /// The function, also of a library that was loaded later and for its loader alone, where `RTLD_NEXT` finds nothing: those
    /// libraries' calls come here all the same. `own` is the hook's address. Not for signal handlers.
    pub fn get_anywhere(&self, own: usize) -> Option<F> {
        if let Some(function) = self.get() {
            return Some(function);
        }
        let (lazy, mut map) = (libc::RTLD_LAZY | libc::RTLD_NOLOAD, core::ptr::null::<LinkMap>());
        // SAFETY: the main program is always loaded; dlinfo writes one pointer, and the list it points into holds as long as
        // nobody unloads, which a library whose function is being called does not.
        unsafe {
            let main = libc::dlopen(core::ptr::null(), lazy);
            libc::dlinfo(main, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
            while let Some(one) = map.as_ref() {
                map = one.next;
                let handle = libc::dlopen(one.name, lazy);
                if handle.is_null() {
                    continue;
                }
                let found = libc::dlsym(handle, self.name.as_ptr().cast::<c_char>()) as usize;
                libc::dlclose(handle);
                if found != 0 && found != own {
                    self.address.store(found, Ordering::Relaxed);
                    return self.get();
                }
            }
        }
        None
    }
}

/// libc's own word on whether the process has one thread. Not one thread where libc has none (before 2.32).
pub fn is_single_threaded() -> bool {
    let address = SINGLE_THREADED.load(Ordering::Relaxed) as *const c_char;
    // SAFETY: null, or libc's variable, one byte that lives as long as libc.
    unsafe { address.as_ref() }.is_some_and(|single| {
        // SAFETY: a valid reference; libc writes it when the first thread is made.
        unsafe { core::ptr::read_volatile(single) != 0 }
    })
}

static SINGLE_THREADED: AtomicUsize = AtomicUsize::new(0);

fn resolve_single_threaded() {
    // SAFETY: the name ends with NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    SINGLE_THREADED.store(found as usize, Ordering::Relaxed);
}

macro_rules! real {
    ($($constant:ident = $name:literal: fn($($argument:ty),*) $(, $dots:tt)? -> $result:ty;)*) => {
        $(#[doc = concat!("libc's `", $name, "`.")]
        pub static $constant: Real<unsafe extern "C" fn($($argument),* $(, $dots)?) -> $result> =
            Real::new(concat!($name, "\0").as_bytes());)*

        /// Finds all of them.
        pub fn resolve() {
            $(let _ = $constant.get();)*
            resolve_single_threaded();
        }
    };
}

real! {
    ACCEPT = "accept": fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
    ACCEPT4 = "accept4": fn(c_int, *mut sockaddr, *mut socklen_t, c_int) -> c_int;
    LISTEN = "listen": fn(c_int, c_int) -> c_int;
    BIND = "bind": fn(c_int, *const sockaddr, socklen_t) -> c_int;
    CONNECT = "connect": fn(c_int, *const sockaddr, socklen_t) -> c_int;
    GETPEERNAME = "getpeername": fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
    GETSOCKNAME = "getsockname": fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int;
    GETSOCKOPT = "getsockopt": fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int;
    SETSOCKOPT = "setsockopt": fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int;
    CLOSE = "close": fn(c_int) -> c_int;
    FCLOSE = "fclose": fn(*mut libc::FILE) -> c_int;
    CLOSE_RANGE = "close_range": fn(c_uint, c_uint, c_int) -> c_int;
    CLOSEFROM = "closefrom": fn(c_int) -> ();
    DUP = "dup": fn(c_int) -> c_int;
    DUP2 = "dup2": fn(c_int, c_int) -> c_int;
    DUP3 = "dup3": fn(c_int, c_int, c_int) -> c_int;
    FCNTL = "fcntl": fn(c_int, c_int), ... -> c_int;
    FCNTL64 = "fcntl64": fn(c_int, c_int), ... -> c_int;
    IOCTL = "ioctl": fn(c_int, c_ulong), ... -> c_int;
    SYSCALL = "syscall": fn(c_long), ... -> c_long;
    GETRLIMIT = "getrlimit": fn(c_int, *mut rlimit64) -> c_int;
    GETRLIMIT64 = "getrlimit64": fn(c_int, *mut rlimit64) -> c_int;
    SETRLIMIT = "setrlimit": fn(c_int, *const rlimit64) -> c_int;
    SETRLIMIT64 = "setrlimit64": fn(c_int, *const rlimit64) -> c_int;
    PRLIMIT = "prlimit": fn(c_int, c_int, *const rlimit64, *mut rlimit64) -> c_int;
    PRLIMIT64 = "prlimit64": fn(c_int, c_int, *const rlimit64, *mut rlimit64) -> c_int;
    READ = "read": fn(c_int, *mut c_void, size_t) -> ssize_t;
    READ_CHK = "__read_chk": fn(c_int, *mut c_void, size_t, size_t) -> ssize_t;
    READV = "readv": fn(c_int, *const libc::iovec, c_int) -> ssize_t;
    WRITE = "write": fn(c_int, *const c_void, size_t) -> ssize_t;
    WRITEV = "writev": fn(c_int, *const libc::iovec, c_int) -> ssize_t;
    SEND = "send": fn(c_int, *const c_void, size_t, c_int) -> ssize_t;
    SENDTO = "sendto": fn(c_int, *const c_void, size_t, c_int, *const sockaddr, socklen_t) -> ssize_t;
    SENDMSG = "sendmsg": fn(c_int, *const msghdr, c_int) -> ssize_t;
    SENDMMSG = "sendmmsg": fn(c_int, *mut libc::mmsghdr, c_uint, c_int) -> c_int;
    RECV = "recv": fn(c_int, *mut c_void, size_t, c_int) -> ssize_t;
    RECV_CHK = "__recv_chk": fn(c_int, *mut c_void, size_t, size_t, c_int) -> ssize_t;
    RECVFROM = "recvfrom": fn(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t;
    RECVFROM_CHK = "__recvfrom_chk":
        fn(c_int, *mut c_void, size_t, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t;
    RECVMSG = "recvmsg": fn(c_int, *mut msghdr, c_int) -> ssize_t;
    RECVMMSG = "recvmmsg": fn(c_int, *mut libc::mmsghdr, c_uint, c_int, *mut libc::timespec) -> c_int;
    SENDFILE = "sendfile": fn(c_int, c_int, *mut libc::off64_t, size_t) -> ssize_t;
    SENDFILE64 = "sendfile64": fn(c_int, c_int, *mut libc::off64_t, size_t) -> ssize_t;
    SPLICE = "splice": fn(c_int, *mut libc::off64_t, c_int, *mut libc::off64_t, size_t, c_uint) -> ssize_t;
    PREADV2 = "preadv2": fn(c_int, *const libc::iovec, c_int, libc::off64_t, c_int) -> ssize_t;
    PREADV64V2 = "preadv64v2": fn(c_int, *const libc::iovec, c_int, libc::off64_t, c_int) -> ssize_t;
    PWRITEV2 = "pwritev2": fn(c_int, *const libc::iovec, c_int, libc::off64_t, c_int) -> ssize_t;
    PWRITEV64V2 = "pwritev64v2": fn(c_int, *const libc::iovec, c_int, libc::off64_t, c_int) -> ssize_t;
    SHUTDOWN = "shutdown": fn(c_int, c_int) -> c_int;
    EPOLL_PWAIT2 = "epoll_pwait2":
        fn(c_int, *mut libc::epoll_event, c_int, *const libc::timespec, *const libc::sigset_t) -> c_int;
    POLL_CHK = "__poll_chk": fn(*mut libc::pollfd, libc::nfds_t, c_int, size_t) -> c_int;
    PPOLL = "ppoll":
        fn(*mut libc::pollfd, libc::nfds_t, *const libc::timespec, *const libc::sigset_t) -> c_int;
    PPOLL_CHK = "__ppoll_chk":
        fn(*mut libc::pollfd, libc::nfds_t, *const libc::timespec, *const libc::sigset_t, size_t) -> c_int;
    SELECT = "select":
        fn(c_int, *mut libc::fd_set, *mut libc::fd_set, *mut libc::fd_set, *mut libc::timeval) -> c_int;
    PSELECT = "pselect":
        fn(c_int, *mut libc::fd_set, *mut libc::fd_set, *mut libc::fd_set, *const libc::timespec, *const libc::sigset_t)
            -> c_int;
    NANOSLEEP = "nanosleep": fn(*const libc::timespec, *mut libc::timespec) -> c_int;
    CLOCK_NANOSLEEP = "clock_nanosleep": fn(c_int, c_int, *const libc::timespec, *mut libc::timespec) -> c_int;
    USLEEP = "usleep": fn(libc::useconds_t) -> c_int;
    SLEEP = "sleep": fn(c_uint) -> c_uint;
    EXECVE = "execve": fn() -> c_int;
    EXECV = "execv": fn() -> c_int;
    EXECVP = "execvp": fn() -> c_int;
    EXECVPE = "execvpe": fn() -> c_int;
    EXECL = "execl": fn() -> c_int;
    EXECLE = "execle": fn() -> c_int;
    EXECLP = "execlp": fn() -> c_int;
    FEXECVE = "fexecve": fn() -> c_int;
    EXECVEAT = "execveat": fn() -> c_int;
    EPOLL_WAIT = "epoll_wait": fn(c_int, *mut libc::epoll_event, c_int, c_int) -> c_int;
    EPOLL_PWAIT = "epoll_pwait":
        fn(c_int, *mut libc::epoll_event, c_int, c_int, *const libc::sigset_t) -> c_int;
    POLL = "poll": fn(*mut libc::pollfd, libc::nfds_t, c_int) -> c_int;
    EPOLL_CTL = "epoll_ctl": fn(c_int, c_int, c_int, *mut libc::epoll_event) -> c_int;
    FORK = "fork": fn() -> pid_t;
    FORK_ALONE = "_Fork": fn() -> pid_t;
    VFORK = "vfork": fn() -> pid_t;
    DAEMON = "daemon": fn(c_int, c_int) -> c_int;
    FORKPTY = "forkpty": fn(*mut c_int, *mut c_char, *const c_void, *const c_void) -> pid_t;
    SYSTEM = "system": fn(*const c_char) -> c_int;
    POPEN = "popen": fn(*const c_char, *const c_char) -> *mut libc::FILE;
    POSIX_SPAWN = "posix_spawn":
        fn(*mut pid_t, *const c_char, *const c_void, *const c_void, *const *mut c_char, *const *mut c_char) -> c_int;
    POSIX_SPAWNP = "posix_spawnp":
        fn(*mut pid_t, *const c_char, *const c_void, *const c_void, *const *mut c_char, *const *mut c_char) -> c_int;
    CLONE = "clone":
        fn(*mut c_void, *mut c_void, c_int, *mut c_void, *mut pid_t, *mut c_void, *mut pid_t) -> c_int;
    FDOPEN = "fdopen": fn(c_int, *const c_char) -> *mut libc::FILE;
    URING_INIT = "io_uring_queue_init": fn(c_uint, *mut c_void, c_uint) -> c_int;
    URING_PARAMS = "io_uring_queue_init_params": fn(c_uint, *mut c_void, *mut c_void) -> c_int;
    URING_MEMORY = "io_uring_queue_init_mem": fn(c_uint, *mut c_void, *mut c_void, *mut c_void, size_t) -> c_int;
    URING_SETUP = "io_uring_setup": fn(c_uint, *mut c_void) -> c_int;
}
