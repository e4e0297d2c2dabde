//! Which epoll set a stolen socket is in. A registration belongs to the socket, not to the number: it would outlive a flow whose
//! socket carries the next one, and tell of that under the old one's name.

use libc::{c_int, c_long};

use crate::{burst, fds};

/// `epoll_ctl` with that event, `native` being libc's.
pub fn control<T: PartialEq + From<c_int>>(
    set: c_int,
    operation: c_int,
    fd: c_int,
    event: impl FnOnce() -> Option<libc::epoll_event>,
    native: impl FnOnce() -> T,
) -> T {
    if fds::seat(fd) == 0 || set < 0 {
        return native();
    }
    if operation == libc::EPOLL_CTL_ADD {
        // Before it is in: whoever closes it meanwhile finds that it is not, and does not use the pair again.
        fds::watch(fd, set);
    }
    let result = native();
    if burst::any() && result == T::from(0) {
        burst::watched(set, operation, fd, event());
    }
    if operation == libc::EPOLL_CTL_DEL && result == T::from(0) {
        fds::unwatch(fd, set);
    }
    result
}

/// The descriptors that a call by number reads from or writes to, for [`fds::inside`]: the second is -1 where there is one.
pub fn data(number: c_long, a: &[usize; 5]) -> Option<[c_int; 2]> {
    let first = a[0] as c_int;
    Some(match number {
        libc::SYS_read | libc::SYS_readv | libc::SYS_preadv2 => [first, -1],
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwritev2 => [first, -1],
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => [first, -1],
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => [first, -1],
        libc::SYS_sendfile => [first, a[1] as c_int],
        libc::SYS_splice => [first, a[2] as c_int],
        _ => return None,
    })
}
