//! Late binding's system calls: what of an outlet the kernel is given, and when it is asked again.
//!
//! The rule is [`crate::queue::pace`]; here are its calls: one TCP_INFO for each time, one send, TCP_NOTSENT_LOWAT where it
//! changes much. A pair to the next module is given all that it takes: what lies there is taken back through that module.
//! Must not wait, nor know who polls.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use modnet_inspect::sample::{self, TcpInfo};

use crate::queue::outlet::Outlet;
use crate::queue::pace::{Grant, Pace, Seen};

/// How a socket's memory is used (linux/sock_diag.h).
const SO_MEMINFO: i32 = 55;
/// TCP_CLOSE.
const CLOSE: u8 = 7;
/// TCP_FIN_WAIT1, TCP_LAST_ACK and TCP_CLOSING: the end is sent or waits to be, and was not acknowledged.
const ENDED: [u8; 3] = [4, 9, 11];

/// What belongs to a connection whose unsent bytes may be taken back.
#[derive(Debug, Default)]
pub struct Release {
    pace: Pace,
    /// Bytes were left waiting.
    waits: bool,
    /// As the socket has it, as far as is known here.
    low: u32,
    /// When to ask again, on the clock of who calls, in nanoseconds.
    pub again: Option<u64>,
    /// The poller is to look anew: only then does the kernel note that somebody waits for room.
    pub rearm: bool,
    /// Bytes that the kernel has taken, in all.
    pub given: usize,
    /// See [`Seen::share`]; whoever has many connections sets it before each look.
    pub share: u64,
}

impl Release {
    /// Bytes a second that go, as believed now; 0: nothing is known.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.pace.rate()
    }

    /// The same as [`Self::grant`] for one of many connections on a fast link, shortly after it, for a sixth of what that costs; None: a
    /// whole look is to be taken.
    pub fn brief(&mut self, right: &impl AsFd) -> Option<Grant> {
        if self.share == 0 {
            return None;
        }
        let grant = self.pace.brief(|| held(right.as_fd()))?;
        self.waits = false;
        self.again = None;
        Some(grant)
    }

    /// How much `right` may be given now.
    pub fn grant(&mut self, right: &impl AsFd, is_tcp: bool) -> Grant {
        let right = right.as_fd();
        let all = Grant { bytes: usize::MAX, low: 0, again: None };
        if !is_tcp {
            return all;
        }
        if let Some(grant) = self.brief(&right) {
            return grant;
        }
        let waited = std::mem::take(&mut self.waits);
        self.again = None;
        // Without an answer, or without a connection, sending tells what has happened.
        match sample::info(right) {
            Ok(info) if info.state != CLOSE => {
                self.pace.grant(Seen { waited, share: self.share, ..seen(&info) })
            }
            _ => all,
        }
    }

    /// The kernel takes all of a grant only where the mark is not that of a much smaller one: it ends a write at twice the mark, too.
    pub fn make_way(&mut self, right: &impl AsFd, grant: &Grant) {
        let more = if self.share > 0 { 0 } else { self.low / 8 };
        if self.low > 0 && grant.low > self.low + more {
            self.mark(right, grant.low);
        }
    }

    fn mark(&mut self, right: &impl AsFd, low: u32) {
        self.low = low;
        set_low_water(right.as_fd(), low);
    }

    /// Sends what the kernel should have; whether everything has gone. `more`: the end follows the last byte.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn release(
        &mut self,
        outlet: &Outlet,
        right: &impl AsFd,
        is_tcp: bool,
        more: bool,
        now: u64,
    ) -> io::Result<bool> {
        let grant = self.grant(right, is_tcp);
        if self.share > 0 {
            self.make_way(right, &grant);
        }
        let sent = (grant.bytes > 0).then(|| {
            outlet.send(grant.bytes, |pieces, bytes, all| match send(right.as_fd(), pieces, more && all) {
                Ok(count) => {
                    self.given = self.given.wrapping_add(count);
                    (count, Ok(all && count == bytes))
                }
                Err(error) => (0, Err(error)),
            })
        });
        match sent.flatten() {
            Some(Ok(true)) => return Ok(true),
            Some(Err(error)) => return Err(error),
            Some(Ok(false)) | None => {}
        }
        self.await_room(right, is_tcp, &grant, now);
        // Under a lock they are meant to.
        self.waits = !outlet.is_locked();
        Ok(false)
    }

    /// More than was granted waits: who polls is to be told when there is room.
    pub fn await_room(&mut self, right: &impl AsFd, is_tcp: bool, grant: &Grant, now: u64) {
        self.rearm = true;
        self.waits = true;
        if is_tcp {
            self.again = grant.again.map(|after| now.saturating_add(after));
            // An application may have set its own meanwhile; then room is told too early, and this sets it again.
            if grant.bytes == 0 || grant.low.abs_diff(self.low) > self.low / 4 {
                self.mark(right, grant.low);
            }
        }
    }
}

/// Bytes that the kernel holds and has never sent; None: it does not tell.
fn held(socket: BorrowedFd<'_>) -> Option<u64> {
    const SIOCOUTQNSD: libc::Ioctl = 0x894b;
    let mut held: libc::c_int = 0;
    // SAFETY: an int is writable.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCOUTQNSD, &raw mut held) };
    (answer == 0).then(|| u64::try_from(held).ok()).flatten()
}

/// Bytes that the kernel holds and has never sent; 0 where it does not tell, and where the connection is over.
#[must_use]
pub fn unsent(socket: BorrowedFd<'_>) -> usize {
    match sample::info(socket) {
        Ok(info) if info.state != CLOSE => {
            // The end, which stands in sequence behind the last byte, is counted as one.
            info.notsent_bytes.saturating_sub(u32::from(ENDED.contains(&info.state))) as usize
        }
        _ => 0,
    }
}

/// Bytes for which the kernel has room in its send buffer, at least; None where it does not tell. What it has no room for would have
/// to be copied back. (An eighth of it goes for what belongs to each segment beside its bytes.) 0: less than a quarter of the buffer; it
/// is worth to wait for the poller, which tells when a third is free.
#[must_use]
pub fn room(socket: BorrowedFd<'_>) -> Option<usize> {
    const SNDBUF: usize = 3;
    const WMEM_QUEUED: usize = 5;
    let mut found = [0_u32; 9];
    let mut length = size_of_val(&found) as libc::socklen_t;
    // SAFETY: room for so many bytes.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            found.as_mut_ptr().cast(),
            &mut length,
        )
    };
    (answer == 0 && length as usize == size_of_val(&found)).then(|| {
        let room = found[SNDBUF].saturating_sub(found[WMEM_QUEUED]) / 8 * 7;
        if room < found[SNDBUF] / 4 {
            0
        } else {
            room as usize
        }
    })
}

fn seen(info: &TcpInfo) -> Seen {
    let on_their_way = (info.unacked + info.retrans).saturating_sub(info.sacked + info.lost);
    let unacknowledged = info.bytes_sent.saturating_sub(info.bytes_retrans + info.bytes_acked);
    Seen {
        cwnd: info.snd_cwnd.into(),
        in_flight: on_their_way.into(),
        peer: u64::from(info.snd_wnd).saturating_sub(unacknowledged),
        mss: info.snd_mss.into(),
        notsent: info.notsent_bytes.into(),
        delivery_rate: info.delivery_rate,
        app_limited: info.flags & 1 != 0,
        pacing_rate: info.pacing_rate,
        acked: info.bytes_acked,
        min_rtt: info.min_rtt.into(),
        waited: false,
        share: 0,
    }
}

/// Sends pieces, without waiting and without a signal; 0: not now. `more`: the end of the stream follows, so that data and FIN
/// share a segment.
fn send(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // The kernel does not write to what is sent; IoSlice has the layout of iovec.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len();
    loop {
        // SAFETY: the pieces are readable for their lengths, and live through the call.
        let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        match usize::try_from(result) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                error => return Err(error),
            },
        }
    }
}

/// The poller tells of room only where less than `low` bytes are unsent. The kernel compares with twice what is unsent.
pub fn set_low_water(socket: BorrowedFd<'_>, low: u32) {
    let value = low.saturating_mul(2);
    let length = libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(0);
    // SAFETY: an int, of the length that is passed, is readable. Where it is refused, timers tell.
    unsafe {
        let at = (&raw const value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, at, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, far)
    }

    fn outlet(size: usize) -> Outlet {
        let outlet = Outlet::new(Box::new(|_| ()));
        outlet.push(&vec![7; size]);
        outlet
    }

    #[test]
    fn what_is_little_goes_at_once() {
        let (near, mut far) = connected();
        let outlet = outlet(5000);
        let mut release = Release::default();
        assert!(release.release(&outlet, &near, true, false, 0).unwrap());
        assert!(!release.rearm && outlet.is_empty());
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got, [7; 5000]);
    }

    #[test]
    fn of_much_the_kernel_gets_what_it_can_send_and_the_poller_is_to_tell() {
        let (near, far) = connected();
        let outlet = outlet(32 << 20);
        let mut release = Release::default();
        for now in 0..100 {
            assert!(!release.release(&outlet, &near, true, false, now).unwrap());
            assert!(std::mem::take(&mut release.rearm));
        }
        // The peer reads nothing: what lies here beyond its window is a millisecond of loopback, at most.
        assert!(unsent(near.as_fd()) <= 1 << 20, "{}", unsent(near.as_fd()));
        assert!(outlet.len() > 16 << 20);
        drop(far);
    }

    #[test]
    fn an_end_that_waits_is_no_unsent_byte() {
        let (mut near, mut far) = connected();
        near.set_nonblocking(true).unwrap();
        while near.write(&[7; 4096]).is_ok() {}
        // Until the peer, which reads nothing, has taken what it has room for.
        let mut before = unsent(near.as_fd());
        loop {
            std::thread::sleep(std::time::Duration::from_millis(50));
            match unsent(near.as_fd()) {
                now if now == before => break,
                now => before = now,
            }
        }
        assert!(before > 0);
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(unsent(near.as_fd()), before);
        far.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(unsent(near.as_fd()), 0);
    }

    #[test]
    fn a_pair_is_given_all_that_it_takes() {
        let (near, far) = UnixStream::pair().unwrap();
        let outlet = outlet(32 << 20);
        let mut release = Release::default();
        while release.release(&outlet, &near, false, false, 0).is_ok_and(|all| !all) {
            let before = outlet.len();
            release.release(&outlet, &near, false, false, 0).unwrap();
            if outlet.len() == before {
                break;
            }
        }
        assert!((1..32 << 20).contains(&outlet.len()) && release.again.is_none());
        drop(far);
        assert!(release.release(&outlet, &near, false, false, 0).is_err());
    }

    #[test]
    fn under_a_lock_nothing_goes() {
        let (near, _far) = connected();
        let outlet = outlet(10);
        outlet.lock(1).unwrap();
        assert!(!Release::default().release(&outlet, &near, true, false, 0).unwrap());
        assert_eq!(outlet.len(), 10);
    }
}
