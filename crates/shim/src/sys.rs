//! Raw system calls for the shim's own use.
//!
//! Rules: no hook is re-entered (libc's functions could be hooked by us or by another preloaded library), errno
//! is never touched (a hook's caller sees libc's own), every error is a value. It must not decide anything.

use core::mem::{size_of, MaybeUninit};
use core::ptr::{null, null_mut};

/// An error of the system, as errno would have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// What a call gives.
pub type Result<T> = core::result::Result<T, Errno>;

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must be what the call wants: the kernel writes where they point.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: libc::c_long, a: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel's convention on x86-64; it clobbers rcx and r11 and nothing else. The caller answers for a.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    check(result)
}

/// One system call with up to six arguments.
///
/// # Safety
/// The arguments must be what the call wants: the kernel writes where they point.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: libc::c_long, a: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel's convention on aarch64; only x0 changes. The caller answers for a.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] as isize => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    check(result)
}

fn check(result: isize) -> Result<usize> {
    // The kernel's errors are the last page of numbers.
    if (-4095..0).contains(&result) {
        return Err(Errno(-result as i32));
    }
    Ok(result as usize)
}

/// Closes; an error is of no use to anybody.
pub fn close(fd: i32) {
    // SAFETY: no pointer.
    let _ = unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// `close_range(first, last, flags)`.
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<usize> {
    // SAFETY: no pointer.
    unsafe { call(libc::SYS_close_range, [first as usize, last as usize, flags as usize, 0, 0, 0]) }
}

/// Puts `old` at the number `new`, whatever was there.
pub fn dup3(old: i32, new: i32, cloexec: bool) -> Result<usize> {
    let flags = if cloexec { libc::O_CLOEXEC as usize } else { 0 };
    // SAFETY: no pointer.
    unsafe { call(libc::SYS_dup3, [old as usize, new as usize, flags, 0, 0, 0]) }
}

/// `fcntl` with an integer.
pub fn fcntl(fd: i32, command: i32, argument: usize) -> Result<usize> {
    // SAFETY: the shim uses it with commands that take an integer only.
    unsafe { call(libc::SYS_fcntl, [fd as usize, command as usize, argument, 0, 0, 0]) }
}

/// Sets or clears `O_NONBLOCK` of a socket (its only status flag that can be set besides O_ASYNC).
pub fn set_nonblocking(fd: i32, on: bool) {
    let flags = libc::O_RDWR | if on { libc::O_NONBLOCK } else { 0 };
    let _ = fcntl(fd, libc::F_SETFL, flags as usize);
}

/// An integer option.
pub fn option(fd: i32, level: i32, name: i32) -> Result<i32> {
    Ok(option_of::<i32>(fd, level, name)?.0)
}

/// An option of any plain type, with the length that the kernel gave.
pub fn option_of<T: Copy>(fd: i32, level: i32, name: i32) -> Result<(T, usize)> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as u32;
    // SAFETY: the kernel writes at most len bytes of value, and len itself; both live here. T is made of integers.
    unsafe {
        call(
            libc::SYS_getsockopt,
            [
                fd as usize,
                level as usize,
                name as usize,
                value.as_mut_ptr() as usize,
                &raw mut len as usize,
                0,
            ],
        )?;
        Ok((value.assume_init(), len as usize))
    }
}

/// Sets an integer option.
pub fn set_option(fd: i32, level: i32, name: i32, value: i32) -> Result<usize> {
    set_option_of(fd, level, name, &value)
}

/// Sets an option of any plain type.
pub fn set_option_of<T: Copy>(fd: i32, level: i32, name: i32, value: &T) -> Result<usize> {
    // SAFETY: the kernel reads size_of::<T>() bytes of value, which is borrowed.
    unsafe {
        call(
            libc::SYS_setsockopt,
            [fd as usize, level as usize, name as usize, value as *const T as usize, size_of::<T>(), 0],
        )
    }
}

/// This thread's number.
pub fn gettid() -> i32 {
    // SAFETY: no pointer; it cannot fail.
    unsafe { call(libc::SYS_gettid, [0; 6]) }.unwrap_or(0) as i32
}

/// This process' number. Not libc's: some old ones cached it across vfork.
pub fn getpid() -> u32 {
    // SAFETY: no pointer; it cannot fail.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as u32
}

/// RLIMIT_NOFILE of this process: sets `new` if given, answers what stood there before.
pub fn limit(new: Option<&libc::rlimit64>) -> Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(null(), |n| n as *const libc::rlimit64);
    // SAFETY: new is null or borrowed, old lives here.
    unsafe {
        let nofile = libc::RLIMIT_NOFILE as usize;
        call(libc::SYS_prlimit64, [0, nofile, new as usize, &raw mut old as usize, 0, 0])?;
    }
    Ok(old)
}

/// A connected pair of UNIX stream sockets.
pub fn socketpair(flags: i32) -> Result<[i32; 2]> {
    let mut pair = [-1; 2];
    let kind = (libc::SOCK_STREAM | flags) as usize;
    // SAFETY: the kernel writes two integers to pair.
    unsafe {
        call(libc::SYS_socketpair, [libc::AF_UNIX as usize, kind, 0, pair.as_mut_ptr() as usize, 0, 0])?
    };
    Ok(pair)
}

/// A SEQPACKET socket connected to `path` without waiting.
pub fn connect_unix(path: &[u8]) -> Result<i32> {
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointer in socket; connect reads the address, which lives here.
    unsafe {
        let fd = call(libc::SYS_socket, [libc::AF_UNIX as usize, kind as usize, 0, 0, 0, 0])?;
        let (at, len) = (&raw const address as usize, size_of::<libc::sockaddr_un>());
        match call(libc::SYS_connect, [fd, at, len, 0, 0, 0]) {
            Ok(_) => Ok(fd as i32),
            Err(error) => {
                close(fd as i32);
                Err(error)
            }
        }
    }
}

/// Most descriptors that a message of ours has.
pub const MOST_FDS: usize = 8;

/// Sends one message with up to [`MOST_FDS`] descriptors, without waiting and without SIGPIPE.
pub fn send_message(fd: i32, bytes: &[u8], fds: &[i32]) -> Result<usize> {
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        fds: [i32; MOST_FDS],
    }
    let mut io = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    let mut control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + 4 * fds.len(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fds: [0; MOST_FDS],
    };
    for (to, from) in control.fds.iter_mut().zip(fds) {
        *to = *from;
    }
    // SAFETY: all-zero is a msghdr without name and control.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut io;
    message.msg_iovlen = 1;
    message.msg_control = if fds.is_empty() { null_mut() } else { (&raw mut control).cast() };
    // Rounded up, as CMSG_SPACE does.
    let room = (size_of::<libc::cmsghdr>() + 4 * fds.len()).next_multiple_of(align_of::<libc::cmsghdr>());
    message.msg_controllen = if fds.is_empty() { 0 } else { room };
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    // SAFETY: everything that message points at lives until the end of this function, and the kernel only reads it.
    unsafe { call(libc::SYS_sendmsg, [fd as usize, &raw const message as usize, flags, 0, 0, 0]) }
}

/// Whether memory can be read, as the kernel would find: each page of it is asked for. Another thread may unmap it after that.
pub fn can_read(at: *const u8, len: usize) -> bool {
    const PAGE: usize = 4096;
    let Some(end) = (at as usize).checked_add(len) else { return false };
    let mut next = at as usize;
    // Where this lies anything can be read: lists of parts and offsets stand on the stack, mostly beside it.
    let here = (&raw const next) as usize & !(PAGE - 1);
    while next < end {
        if next & !(PAGE - 1) != here {
            // The kernel reads a mask of eight bytes there before it finds that there is no way -1 to set it.
            // SAFETY: nothing is changed, whatever stands there.
            let asked =
                unsafe { call(libc::SYS_rt_sigprocmask, [usize::MAX, next & !7, 0, size_of::<u64>(), 0, 0]) };
            if asked != Err(Errno(libc::EINVAL)) {
                return false;
            }
        }
        next = (next & !(PAGE - 1)).saturating_add(PAGE);
    }
    true
}

/// Reads at a place in a file.
///
/// # Safety
/// `len` bytes may be written at `at`.
pub unsafe fn pread(fd: i32, at: *mut u8, len: usize, place: i64) -> Result<usize> {
    // SAFETY: the caller's.
    unsafe { call(libc::SYS_pread64, [fd as usize, at as usize, len, place as usize, 0, 0]) }
}

/// Puts `fd` into an epoll set.
pub fn epoll_add(set: i32, fd: i32, event: libc::epoll_event) -> Result<usize> {
    let (add, at) = (libc::EPOLL_CTL_ADD as usize, &raw const event as usize);
    // SAFETY: the event lives here and is only read.
    unsafe { call(libc::SYS_epoll_ctl, [set as usize, add, fd as usize, at, 0, 0]) }
}

/// Takes `fd` out of an epoll set.
pub fn epoll_delete(set: i32, fd: i32) -> Result<usize> {
    let delete = libc::EPOLL_CTL_DEL as usize;
    // SAFETY: EPOLL_CTL_DEL ignores its event, since 2.6.9 even if it is null.
    unsafe { call(libc::SYS_epoll_ctl, [set as usize, delete, fd as usize, 0, 0, 0]) }
}

/// An integer that an ioctl tells.
pub fn asked(fd: i32, request: libc::c_ulong) -> Result<i32> {
    let mut value: i32 = 0;
    let at = &raw mut value as usize;
    // SAFETY: for requests that write one integer, which lives here.
    unsafe { call(libc::SYS_ioctl, [fd as usize, request as usize, at, 0, 0, 0])? };
    Ok(value)
}

/// Whether the other end of a socket is closed.
pub fn is_hung_up(fd: i32) -> bool {
    let mut one = libc::pollfd { fd, events: 0, revents: 0 };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (at, now) = (&raw mut one as usize, &raw const now as usize);
    // SAFETY: one pollfd and a timespec, which live here; no mask.
    let count = unsafe { call(libc::SYS_ppoll, [at, 1, now, 0, 0, 0]) };
    count == Ok(1) && one.revents & libc::POLLHUP != 0
}

/// An eventfd.
pub fn eventfd() -> Result<i32> {
    let flags = libc::EFD_NONBLOCK | libc::EFD_CLOEXEC;
    // SAFETY: no pointer.
    Ok(unsafe { call(libc::SYS_eventfd2, [0, flags as usize, 0, 0, 0, 0])? } as i32)
}

/// Adds one to an eventfd.
pub fn ring(fd: i32) {
    let one: u64 = 1;
    // SAFETY: the kernel reads eight bytes, which live here. Full is as good as rung.
    let _ = unsafe { call(libc::SYS_write, [fd as usize, &raw const one as usize, 8, 0, 0, 0]) };
}

/// A memfd of `len` bytes that can neither shrink nor grow.
pub fn memory(name: &core::ffi::CStr, len: usize) -> Result<i32> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends with NUL and is only read; the others take integers.
    unsafe {
        let name = name.as_ptr() as usize;
        let fd = call(libc::SYS_memfd_create, [name, flags as usize, 0, 0, 0, 0])?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        let sized = call(libc::SYS_ftruncate, [fd, len, 0, 0, 0, 0]);
        match sized
            .and_then(|_| call(libc::SYS_fcntl, [fd, libc::F_ADD_SEALS as usize, seals as usize, 0, 0, 0]))
        {
            Ok(_) => Ok(fd as i32),
            Err(error) => {
                close(fd as i32);
                Err(error)
            }
        }
    }
}

/// Unmaps.
///
/// # Safety
/// Nobody may use the memory any more.
pub unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: the caller's.
    let _ = unsafe { call(libc::SYS_munmap, [at as usize, len, 0, 0, 0, 0]) };
}

/// Seconds since some time, coarse: no system call.
pub fn seconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written here. libc asks the vDSO.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec
}

/// Whether the path (with its NUL) can be reached.
pub fn exists(path: &[u8]) -> Result<usize> {
    let at = libc::AT_FDCWD as usize;
    debug_assert!(path.last() == Some(&0));
    // SAFETY: the path ends with NUL and is only read.
    unsafe { call(libc::SYS_faccessat, [at, path.as_ptr() as usize, libc::F_OK as usize, 0, 0, 0]) }
}

/// Opens the path (with its NUL).
pub fn open(path: *const libc::c_char, flags: i32) -> Result<i32> {
    let at = libc::AT_FDCWD as usize;
    let flags = (flags | libc::O_CLOEXEC) as usize;
    // SAFETY: the callers pass a string of the environment or a literal, which ends with NUL and is only read.
    Ok(unsafe { call(libc::SYS_openat, [at, path as usize, flags, 0, 0, 0])? } as i32)
}

/// Maps `len` bytes; anonymous where `fd` is -1.
pub fn map(fd: i32, offset: usize, len: usize, protection: i32) -> Result<*mut u8> {
    let kind = if fd < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_SHARED };
    // SAFETY: no address is asked for, so no mapping of anybody's is replaced.
    let at =
        unsafe { call(libc::SYS_mmap, [0, len, protection as usize, kind as usize, fd as usize, offset])? };
    Ok(at as *mut u8)
}
