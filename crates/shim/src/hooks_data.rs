//! The exported functions of send and recv: three instructions for whom they do not concern.

use libc::{c_int, c_uint, c_void, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use crate::answer::{fail, give};
use crate::data;
use crate::hooks::{hooks, native};
use crate::real;
use crate::sys::Errno;

hooks! {
    fn send(fd: c_int, data: *const c_void, len: size_t, flags: c_int) -> ssize_t {
        let native = || native!(SEND(fd, data, len, flags));
        give(data::sendto(fd, flags, core::ptr::null(), native), native)
    }

    fn sendto(fd: c_int, data: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, size: socklen_t) -> ssize_t {
        give(data::sendto(fd, flags, to, || native!(SEND(fd, data, len, flags))), || {
            native!(SENDTO(fd, data, len, flags, to, size))
        })
    }

    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
        let plain = |bare| native!(SENDMSG(fd, bare, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::sendmsg(fd, message, flags, plain) };
        give(answer, || native!(SENDMSG(fd, message, flags)))
    }

    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        let one_by_one = |one| native!(SENDMSG(fd, one, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::sendmmsg(fd, messages, count, flags, one_by_one) };
        give(answer, || native!(SENDMMSG(fd, messages, count, flags)))
    }

    fn recv(fd: c_int, data: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
        give(data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags))), || {
            native!(RECV(fd, data, len, flags))
        })
    }

    fn __recv_chk(fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t {
        give(data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags))), || {
            native!(RECV_CHK(fd, data, len, room, flags))
        })
    }

    fn recvfrom(
        fd: c_int, data: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        give(answer, || native!(RECVFROM(fd, data, len, flags, from, size)))
    }

    fn __recvfrom_chk(
        fd: c_int, data: *mut c_void, len: size_t, room: size_t, flags: c_int, from: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t {
        let answer = data::recv(fd, len, flags, |at, len, flags| native!(RECV(fd, at, len, flags)));
        // SAFETY: the application's own arguments.
        unsafe { data::no_address(&answer, size) };
        give(answer, || native!(RECVFROM_CHK(fd, data, len, room, flags, from, size)))
    }

    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        let read = |at, len, flags| native!(RECV(fd, at, len, flags));
        // SAFETY: the application's own arguments.
        let answer = unsafe { data::recvmsg(fd, message, flags, read) };
        give(answer, || native!(RECVMSG(fd, message, flags)))
    }
}
