//! The exported functions of send, read and recv: a few instructions for whom they do not concern.

use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use crate::answer::{fail, give};
use crate::data;
use crate::hooks::{hooks, native};
use crate::real;
use crate::sys::Errno;
use crate::{fault, passed};

hooks! {
    fn write(fd: c_int, data: *const c_void, len: size_t) -> ssize_t {
        fault::wrote(fd, native!(WRITE(fd, data, len)))
    }

    fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        fault::wrote(fd, native!(WRITEV(fd, vectors, count)))
    }

    fn send(fd: c_int, data: *const c_void, len: size_t, flags: c_int) -> ssize_t {
        let native = || native!(SEND(fd, data, len, flags));
        fault::wrote(fd, give(data::sendto(fd, flags, core::ptr::null(), native), native))
    }

    fn sendto(fd: c_int, data: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, size: socklen_t) -> ssize_t {
        let answer = data::sendto(fd, flags, to, || native!(SEND(fd, data, len, flags)));
        fault::wrote(fd, give(answer, || native!(SENDTO(fd, data, len, flags, to, size))))
    }

    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
        let plain = |bare| native!(SENDMSG(fd, bare, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe {
            passed::name_all(message);
            data::sendmsg(fd, message, flags, plain)
        };
        fault::wrote(fd, give(answer, || native!(SENDMSG(fd, message, flags))))
    }

    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        let one_by_one = |one| native!(SENDMSG(fd, one, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::sendmmsg(fd, messages, count, flags, one_by_one) };
        give(answer, || native!(SENDMMSG(fd, messages, count, flags)))
    }

    fn read(fd: c_int, data: *mut c_void, len: size_t) -> ssize_t {
        fault::told(fd, native!(READ(fd, data, len)), || len != 0)
    }

    fn __read_chk(fd: c_int, data: *mut c_void, len: size_t, room: size_t) -> ssize_t {
        fault::told(fd, native!(READ_CHK(fd, data, len, room)), || len != 0)
    }

    fn readv(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the application's own arguments, which the kernel has just found good.
        fault::told(fd, native!(READV(fd, vectors, count)), || unsafe { data::room(vectors, count as usize) } != 0)
    }

    fn recv(fd: c_int, data: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        let got = give(answer, || native!(RECV(fd, data, len, flags)));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn __recv_chk(fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        let got = give(answer, || native!(RECV_CHK(fd, data, len, room, flags)));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn recvfrom(
        fd: c_int, data: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        let got = give(answer, || native!(RECVFROM(fd, data, len, flags, from, size)));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn __recvfrom_chk(
        fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        let got = give(answer, || native!(RECVFROM_CHK(fd, data, len, room, flags, from, size)));
        fault::told(fd, got, || data::reads(len, flags))
    }

    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        let read = |at, len, flags| native!(RECV(fd, at, len, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::recvmsg(fd, message, flags, read) };
        let got = give(answer, || native!(RECVMSG(fd, message, flags)));
        // SAFETY: the kernel has just found the message good.
        fault::told(fd, got, || data::reads(unsafe { data::room((*message).msg_iov, (*message).msg_iovlen) }, flags))
    }
}
