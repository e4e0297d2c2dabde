//! The few flags and addresses of send and recv that mean something else on a UNIX socket. Everything else is never hooked or
//! passes in three instructions.

use core::ptr::null_mut;

use libc::{c_int, c_void, msghdr, sockaddr};
use modnet_abi::counter::Counter;

use crate::answer::Answer;
use crate::sys::{self, Errno};
use crate::{fds, record};

/// Bytes that one call throws away at a time; small, since threads may have a stack of 64 KB.
const DISCARD: usize = 4096;
/// The kernel's UIO_MAXIOV: it takes no more of them at a time.
const MOST_MESSAGES: u32 = 1024;

/// Whether a send needs a look: urgent data, an opening of the connection, an address.
#[inline]
pub fn plain_send(flags: c_int, address: *const sockaddr) -> bool {
    flags & (libc::MSG_OOB | libc::MSG_FASTOPEN) == 0 && address.is_null()
}

/// Whether a recv needs a look.
#[inline]
pub fn plain_recv(flags: c_int) -> bool {
    flags & (libc::MSG_TRUNC | libc::MSG_ERRQUEUE) == 0
}

/// Flags that fail: MSG_OOB, since urgent data would lose its mark on the way, and MSG_FASTOPEN on what is connected.
/// None: `fd` is stolen and the flags are good. Native: it is not stolen.
fn refused(fd: c_int, flags: c_int) -> Option<Answer> {
    if fds::stolen(fd).is_none() {
        return Some(Answer::Native);
    }
    if flags & libc::MSG_OOB != 0 {
        record::count(Counter::OutOfBand, 1);
        return Some(Answer::Failed(Errno(libc::EOPNOTSUPP)));
    }
    (flags & libc::MSG_FASTOPEN != 0).then_some(Answer::Failed(Errno(libc::EISCONN)))
}

/// send and sendto with such flags, or an address: TCP ignores the address of a connected socket.
pub fn sendto(fd: c_int, flags: c_int, address: *const sockaddr, plain: impl FnOnce() -> isize) -> Answer {
    if plain_send(flags, address) {
        return Answer::Native;
    }
    refused(fd, flags).unwrap_or_else(|| Answer::Done(plain()))
}

/// sendmsg likewise; `send` sends a message that bears no address.
///
/// # Safety
/// `message` is null or what sendmsg takes.
pub unsafe fn sendmsg(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
    send: impl FnOnce(*const msghdr) -> isize,
) -> Answer {
    // SAFETY: the caller's.
    let Some(message) = (unsafe { message.as_ref() }) else { return Answer::Native };
    if plain_send(flags, message.msg_name.cast_const().cast()) {
        return Answer::Native;
    }
    refused(fd, flags).unwrap_or_else(|| {
        // SAFETY: a copy of integers and pointers, which outlives the call.
        let mut bare = unsafe { core::ptr::read(message) };
        bare.msg_name = null_mut();
        bare.msg_namelen = 0;
        Answer::Done(send(&raw const bare))
    })
}

/// sendmmsg: message by message where one needs a look.
///
/// # Safety
/// `messages` points at `count` headers, as sendmmsg demands.
pub unsafe fn sendmmsg(
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: u32,
    flags: c_int,
    mut send: impl FnMut(*const msghdr) -> isize,
) -> Answer {
    if fds::flags(fd) & fds::STOLEN == 0 || messages.is_null() {
        return Answer::Native;
    }
    // SAFETY: the caller's.
    let messages = unsafe { core::slice::from_raw_parts_mut(messages, count.min(MOST_MESSAGES) as usize) };
    let plain = |m: &libc::mmsghdr| plain_send(flags, m.msg_hdr.msg_name.cast_const().cast());
    if messages.iter().all(plain) {
        return Answer::Native;
    }
    let mut sent = 0;
    for message in messages {
        // SAFETY: one of the headers.
        let result = match unsafe { sendmsg(fd, &raw const message.msg_hdr, flags, &mut send) } {
            Answer::Native => send(&raw const message.msg_hdr),
            Answer::Done(result) => result,
            failed @ Answer::Failed(_) if sent == 0 => return failed,
            Answer::Failed(_) => break,
        };
        if result < 0 {
            if sent == 0 {
                // errno is libc's own, set just now.
                return Answer::Done(-1);
            }
            break;
        }
        message.msg_len = result as u32;
        sent += 1;
    }
    Answer::Done(sent)
}

/// Whether a recv that gives 0 has found the end.
pub fn reads(room: usize, flags: c_int) -> bool {
    room != 0 && flags & libc::MSG_ERRQUEUE == 0
}

/// Bytes that a vector has room for.
///
/// # Safety
/// `count` vectors stand at `vectors`.
pub unsafe fn room(vectors: *const libc::iovec, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's.
    let vectors = unsafe { core::slice::from_raw_parts(vectors, count) };
    vectors.iter().fold(0usize, |sum, v| sum.saturating_add(v.iov_len))
}

/// recv with MSG_TRUNC or MSG_ERRQUEUE. `recv` reads with other flags into another place.
pub fn recv(
    fd: c_int,
    len: usize,
    flags: c_int,
    recv: impl Fn(*mut c_void, usize, c_int) -> isize,
) -> Answer {
    if plain_recv(flags) {
        return Answer::Native;
    }
    let Some(hidden) = fds::stolen(fd) else { return Answer::Native };
    if flags & libc::MSG_ERRQUEUE != 0 {
        // The real socket's errors; without a buffer, since TCP's queue holds no payload that anybody asked for.
        // SAFETY: no buffer.
        return unsafe { sys::call(libc::SYS_recvfrom, [hidden as usize, 0, 0, flags as usize, 0, 0]) }
            .into();
    }
    Answer::Done(discard(fd, len, flags & !libc::MSG_TRUNC, recv))
}

/// recvfrom on TCP names nobody.
///
/// # Safety
/// `size` is null or the application's own, as recvfrom demands.
pub unsafe fn no_address(answer: &Answer, size: *mut libc::socklen_t) {
    if let (Answer::Done(0..), false) = (answer, size.is_null()) {
        // SAFETY: the caller's.
        unsafe { *size = 0 };
    }
}

/// TCP's MSG_TRUNC: takes `len` bytes off the queue (or counts them, with MSG_PEEK) and copies none.
#[inline(never)]
fn discard(fd: c_int, len: usize, flags: c_int, recv: impl Fn(*mut c_void, usize, c_int) -> isize) -> isize {
    let mut scrap = [0u8; DISCARD];
    let at = scrap.as_mut_ptr().cast::<c_void>();
    if flags & libc::MSG_PEEK != 0 {
        let first = recv(at, len.min(1), flags);
        return match sys::asked(fd, libc::FIONREAD) {
            Ok(waiting) if first > 0 => len.min(waiting as usize) as isize,
            _ => first,
        };
    }
    let mut total = 0;
    while total < len {
        // Only the first part waits, as one recv would; MSG_WAITALL waits for all.
        let more =
            if total == 0 || flags & libc::MSG_WAITALL != 0 { flags } else { flags | libc::MSG_DONTWAIT };
        let got = recv(at, (len - total).min(DISCARD), more);
        if got <= 0 {
            return if total == 0 { got } else { total as isize };
        }
        total += got as usize;
    }
    total as isize
}

/// recvmsg: the same over its vector. MSG_ERRQUEUE fills in the real socket's message.
///
/// # Safety
/// `message` is null or what recvmsg takes.
pub unsafe fn recvmsg(
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
    read: impl Fn(*mut c_void, usize, c_int) -> isize,
) -> Answer {
    if plain_recv(flags) {
        return Answer::Native;
    }
    // SAFETY: the caller's.
    let Some(message) = (unsafe { message.as_mut() }) else { return Answer::Native };
    if flags & libc::MSG_ERRQUEUE != 0 {
        let Some(hidden) = fds::stolen(fd) else { return Answer::Native };
        let at = &raw mut *message as usize;
        // SAFETY: the application's own message.
        return unsafe { sys::call(libc::SYS_recvmsg, [hidden as usize, at, flags as usize, 0, 0, 0]) }
            .into();
    }
    // SAFETY: msg_iovlen vectors stand at msg_iov, as recvmsg demands.
    let len = unsafe { room(message.msg_iov, message.msg_iovlen) };
    let answer = recv(fd, len, flags, read);
    if matches!(answer, Answer::Done(0..)) {
        message.msg_namelen = 0;
        message.msg_controllen = 0;
        message.msg_flags = 0;
    }
    answer
}
