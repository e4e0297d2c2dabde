//! Listening sockets: which are TCP's, and what they hand down.
//!
//! A listener may be inherited (systemd, nginx's binary upgrade), so it is asked once, at `listen` or at its first
//! accept, never remembered from `listen` alone. TCP_NODELAY is set on it, so that stolen sockets inherit it at no cost: the
//! engine writes whole batches. What the application itself wants is remembered and answered.

use modnet_abi::counter::Counter;

use crate::{fds, record, sys};

const TCP: i32 = libc::IPPROTO_TCP;

/// What is known of `fd` as a listener ([`fds::LISTENER`] or [`fds::FOREIGN`], and what it hands down); asks once.
/// No bit: not a socket that listens.
pub fn known(fd: i32) -> u32 {
    let flags = fds::flags(fd);
    if flags & (fds::LISTENER | fds::FOREIGN) != 0 {
        return flags;
    }
    if flags & fds::STOLEN != 0 && fds::stolen(fd).is_some() {
        return 0;
    }
    look(fd, fds::LATE)
}

/// Asks the socket, and prepares it where it is TCP's. `late` is [`fds::LATE`] or 0.
pub fn look(fd: i32, late: u32) -> u32 {
    let Ok(protocol) = sys::option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) else { return 0 };
    if sys::option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) != Ok(1) {
        return 0;
    }
    let domain = sys::option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN);
    if protocol != TCP || !matches!(domain, Ok(libc::AF_INET | libc::AF_INET6)) {
        fds::set(fd, fds::FOREIGN, 0);
        return fds::FOREIGN;
    }
    if sys::option(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY) == Ok(1) {
        // Accepted sockets inherit it, and their owner would wait for completions that a UNIX socket never sends.
        record::count(Counter::Declined, 1);
        fds::set(fd, fds::FOREIGN, 0);
        return fds::FOREIGN;
    }
    let mut flags = fds::LISTENER | late;
    for (name, bit) in [(libc::TCP_NODELAY, fds::NODELAY), (libc::TCP_CORK, fds::CORK)] {
        if sys::option(fd, TCP, name).is_ok_and(|value| value != 0) {
            flags |= bit;
        }
    }
    let _ = sys::set_option(fd, TCP, libc::TCP_NODELAY, 1);
    if flags & fds::CORK != 0 {
        let _ = sys::set_option(fd, TCP, libc::TCP_CORK, 0);
    }
    if hands_down(fd) {
        flags |= fds::INHERIT;
    }
    fds::set(fd, flags, fds::cookie(fd).unwrap_or(0));
    flags
}

/// No chain applies any more: what it accepts from now on is the application's own.
pub fn release(fd: i32) {
    let flags = fds::take(fd);
    if flags & fds::LISTENER != 0 {
        restore(fd, flags);
    }
}

/// Gives a real socket (or a listener) the TCP_NODELAY and TCP_CORK that the application asked for.
pub fn restore(fd: i32, flags: u32) {
    let _ = sys::set_option(fd, TCP, libc::TCP_NODELAY, i32::from(flags & fds::NODELAY != 0));
    if flags & fds::CORK != 0 {
        let _ = sys::set_option(fd, TCP, libc::TCP_CORK, 1);
    }
}

/// The options of the application on a listener have changed.
pub fn changed(fd: i32) {
    let inherit = hands_down(fd);
    fds::change(fd, if inherit { fds::INHERIT } else { 0 }, if inherit { 0 } else { fds::INHERIT });
}

/// Whether anything that acts on the intermediate socket, or on how a flow ends, differs from a new socket's.
fn hands_down(fd: i32) -> bool {
    let timeout = |name| {
        sys::option_of::<libc::timeval>(fd, libc::SOL_SOCKET, name)
            .is_ok_and(|(t, _)| t.tv_sec != 0 || t.tv_usec != 0)
    };
    let lingers = sys::option_of::<libc::linger>(fd, libc::SOL_SOCKET, libc::SO_LINGER)
        .is_ok_and(|(linger, _)| linger.l_onoff != 0);
    lingers
        || timeout(libc::SO_RCVTIMEO)
        || timeout(libc::SO_SNDTIMEO)
        || sys::option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT).is_ok_and(|value| value > 1)
        || send_buffer(fd).is_some()
}

/// SO_SNDBUF, if somebody has set it.
fn send_buffer(fd: i32) -> Option<i32> {
    const SOCK_SNDBUF_LOCK: i32 = 1;
    let locked = sys::option(fd, libc::SOL_SOCKET, libc::SO_BUF_LOCK).ok()? & SOCK_SNDBUF_LOCK != 0;
    // The kernel answers the double of what was set.
    locked.then(|| sys::option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF).ok().map(|size| size / 2))?
}

/// Hands down to an intermediate socket what the real one inherited from its listener.
pub fn hand_down(real: i32, intermediate: i32) {
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        if let Ok((value, _)) = sys::option_of::<libc::timeval>(real, libc::SOL_SOCKET, name) {
            let _ = sys::set_option_of(intermediate, libc::SOL_SOCKET, name, &value);
        }
    }
    if let Ok(value) = sys::option(real, libc::SOL_SOCKET, libc::SO_RCVLOWAT) {
        let _ = sys::set_option(intermediate, libc::SOL_SOCKET, libc::SO_RCVLOWAT, value);
    }
    if let Some(size) = send_buffer(real) {
        let _ = sys::set_option(intermediate, libc::SOL_SOCKET, libc::SO_SNDBUF, size);
    }
}
