//! The exported functions of send, read and recv: a few instructions for whom they do not concern.

use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use crate::answer::{fail, give};
use crate::data;
use crate::fds::inside;
use crate::hooks::{hooks, native};
use crate::real;
use crate::sys::Errno;
use crate::{fault, inline, passed};

hooks! {
    fn write(fd: c_int, data: *const c_void, len: size_t) -> ssize_t {
        if let Some(sent) = inside(fd, || inline::write(fd, data.cast(), len, 0)) {
            return sent;
        }
        fault::wrote(fd, inside(fd, || native!(WRITE(fd, data, len))))
    }

    fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        if let Some(sent) = inside(fd, || inline::write_parts(fd, vectors, count as usize, 0)) {
            return sent;
        }
        fault::wrote(fd, inside(fd, || native!(WRITEV(fd, vectors, count))))
    }

    fn send(fd: c_int, data: *const c_void, len: size_t, flags: c_int) -> ssize_t {
        if let Some(sent) = inside(fd, || inline::write(fd, data.cast(), len, flags)) {
            return sent;
        }
        let native = || inside(fd, || native!(SEND(fd, data, len, flags)));
        fault::wrote(fd, give(data::sendto(fd, flags, core::ptr::null(), native), native))
    }

    fn sendto(fd: c_int, data: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, size: socklen_t) -> ssize_t {
        let inline = || if to.is_null() { inline::write(fd, data.cast(), len, flags) } else { None };
        if let Some(sent) = inside(fd, inline) {
            return sent;
        }
        let answer = data::sendto(fd, flags, to, || inside(fd, || native!(SEND(fd, data, len, flags))));
        fault::wrote(fd, give(answer, || inside(fd, || native!(SENDTO(fd, data, len, flags, to, size)))))
    }

    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
        if let Some(sent) = inside(fd, || inline::write_message(fd, message, flags)) {
            return sent;
        }
        let plain = |bare| inside(fd, || native!(SENDMSG(fd, bare, flags)));
        // SAFETY: the application's own arguments.
        let answer = unsafe {
            passed::name_all(message);
            data::sendmsg(fd, message, flags, plain)
        };
        fault::wrote(fd, give(answer, || inside(fd, || native!(SENDMSG(fd, message, flags)))))
    }

    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        let one_by_one = |one| inside(fd, || native!(SENDMSG(fd, one, flags)));
        // SAFETY: the application's own arguments.
        let answer = unsafe {
            passed::name_all_of(messages, count);
            data::sendmmsg(fd, messages, count, flags, one_by_one)
        };
        let sent = give(answer, || inside(fd, || native!(SENDMMSG(fd, messages, count, flags))));
        if sent > 0 {
            // SAFETY: the kernel has just filled in so many.
            let sent = unsafe { core::slice::from_raw_parts(messages, sent as usize) };
            inline::wrote(fd, sent.iter().map(|message| message.msg_len as isize).sum());
        }
        fault::wrote_some(fd, sent as isize) as c_int
    }

    fn read(fd: c_int, data: *mut c_void, len: size_t) -> ssize_t {
        fault::told(fd, inside(fd, || native!(READ(fd, data, len))), || len != 0)
    }

    fn __read_chk(fd: c_int, data: *mut c_void, len: size_t, room: size_t) -> ssize_t {
        fault::told(fd, inside(fd, || native!(READ_CHK(fd, data, len, room))), || len != 0)
    }

    fn readv(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the application's own arguments, which the kernel has just found good.
        let room = || unsafe { data::room(vectors, count as usize) } != 0;
        fault::told(fd, inside(fd, || native!(READV(fd, vectors, count))), room)
    }

    fn recv(fd: c_int, data: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| inside(fd, || native!(RECV(fd, at, len, flags))));
        let got = give(answer, || inside(fd, || native!(RECV(fd, data, len, flags))));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn __recv_chk(fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| inside(fd, || native!(RECV(fd, at, len, flags))));
        let got = give(answer, || inside(fd, || native!(RECV_CHK(fd, data, len, room, flags))));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn recvfrom(
        fd: c_int, data: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| inside(fd, || native!(RECV(fd, at, len, flags))));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        let got = give(answer, || inside(fd, || native!(RECVFROM(fd, data, len, flags, from, size))));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn __recvfrom_chk(
        fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| inside(fd, || native!(RECV(fd, at, len, flags))));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        let got = give(answer, || inside(fd, || native!(RECVFROM_CHK(fd, data, len, room, flags, from, size))));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        let read = |at, len, flags| inside(fd, || native!(RECV(fd, at, len, flags)));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::recvmsg(fd, message, flags, read) };
        let got = give(answer, || inside(fd, || native!(RECVMSG(fd, message, flags))));
        // SAFETY: the kernel has just found the message good.
        fault::told(fd, got, || data::reads(unsafe { data::room((*message).msg_iov, (*message).msg_iovlen) }, flags))
    }

    fn recvmmsg(
        fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut libc::timespec
    ) -> c_int {
        let got: c_int = inside(fd, || native!(RECVMMSG(fd, messages, count, flags, timeout)));
        if got <= 0 {
            return got;
        }
        // SAFETY: the kernel has just filled in at least one.
        let (message, len) = unsafe { (&(*messages).msg_hdr, (*messages).msg_len) };
        // SAFETY: the kernel has found the vectors good.
        let room = || data::reads(unsafe { data::room(message.msg_iov, message.msg_iovlen) }, flags);
        if fault::told(fd, len as isize, room) < 0 { -1 } else { got }
    }

    fn sendfile(to: c_int, from: c_int, offset: *mut libc::off64_t, count: size_t) -> ssize_t {
        // SAFETY: the application's own arguments.
        if let Some(sent) = inside(to, || unsafe { inline::send_file(to, from, offset, count) }) {
            return sent;
        }
        fault::wrote(to, inside(to, || inside(from, || native!(SENDFILE(to, from, offset, count)))))
    }

    fn sendfile64(to: c_int, from: c_int, offset: *mut libc::off64_t, count: size_t) -> ssize_t {
        // SAFETY: the application's own arguments.
        if let Some(sent) = inside(to, || unsafe { inline::send_file(to, from, offset, count) }) {
            return sent;
        }
        fault::wrote(to, inside(to, || inside(from, || native!(SENDFILE64(to, from, offset, count)))))
    }

    fn splice(
        from: c_int, at: *mut libc::off64_t, to: c_int, there: *mut libc::off64_t, count: size_t, flags: c_uint
    ) -> ssize_t {
        let moved = inside(from, || inside(to, || native!(SPLICE(from, at, to, there, count, flags))));
        fault::told(from, fault::wrote(to, moved), || count != 0)
    }

    fn preadv2(fd: c_int, vectors: *const iovec, count: c_int, at: libc::off64_t, flags: c_int) -> ssize_t {
        // SAFETY: the application's own arguments, which the kernel has just found good.
        let room = || unsafe { data::room(vectors, count as usize) } != 0;
        fault::told(fd, inside(fd, || native!(PREADV2(fd, vectors, count, at, flags))), room)
    }

    fn preadv64v2(fd: c_int, vectors: *const iovec, count: c_int, at: libc::off64_t, flags: c_int) -> ssize_t {
        // SAFETY: the application's own arguments, which the kernel has just found good.
        let room = || unsafe { data::room(vectors, count as usize) } != 0;
        fault::told(fd, inside(fd, || native!(PREADV64V2(fd, vectors, count, at, flags))), room)
    }

    fn pwritev2(fd: c_int, vectors: *const iovec, count: c_int, at: libc::off64_t, flags: c_int) -> ssize_t {
        fault::wrote(fd, inside(fd, || native!(PWRITEV2(fd, vectors, count, at, flags))))
    }

    fn pwritev64v2(fd: c_int, vectors: *const iovec, count: c_int, at: libc::off64_t, flags: c_int) -> ssize_t {
        fault::wrote(fd, inside(fd, || native!(PWRITEV64V2(fd, vectors, count, at, flags))))
    }
}
