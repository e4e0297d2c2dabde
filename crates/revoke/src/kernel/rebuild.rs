//! Taking a frozen connection apart and putting it together again, as a snapshot says.
//!
//! Rules: from [`disconnect`] on there is no way back but forward; what fails is [`Failure::Lost`]. Each setting here was a
//! failure before it was a line. It must not open the door (leave repair): [`super::yank`] does when all is checked.

use std::io;
use std::os::fd::BorrowedFd;

use super::failure::{lost, Failure};
use super::info::{negotiated, state, Info};
use super::options::{self, name, Negotiated, Queue, Repair};
use super::snapshot::{now, Snapshot, CARRIED};

/// What `TCP_MAXSEG` takes.
const MSS: std::ops::RangeInclusive<u32> = 88..=32767;
/// Without timestamps a segment carries so much more.
const TIMESTAMP_BYTES: u32 = 12;

/// Begins the gap: the socket is out of the hash, its queues are empty.
///
/// # Errors
/// Lost where a segment came in after the snapshot and was acknowledged: the peer will not send it again.
pub fn disconnect(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    options::disconnect(fd).map_err(lost("disconnect"))?;
    options::select(fd, Queue::Receive).map_err(lost("select the receive queue"))?;
    // It survives the disconnect. What came and was not acknowledged, the peer sends again.
    let seq = options::tcp(fd, name::QUEUE_SEQ).map_err(lost("read a sequence number"))?;
    if seq != snapshot.receive_seq {
        let acknowledged = options::window(fd).map_err(lost("read the window"))?.rcv_wup;
        if acknowledged.wrapping_sub(snapshot.receive_seq).cast_signed() > 0 {
            let error = io::Error::other("it was acknowledged after the snapshot");
            return Err(Failure::Lost("keep what came in meanwhile", error));
        }
    }
    Ok(())
}

/// Ends the gap: the socket is in the hash again, with its old numbers.
///
/// # Errors
/// Lost.
pub fn reconnect(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let first =
        snapshot.receive_seq.wrapping_sub(snapshot.is_half_closed).wrapping_sub(snapshot.input as u32);
    for (queue, seq) in [(Queue::Receive, first), (Queue::Send, snapshot.first_seq())] {
        options::select(fd, queue).map_err(lost("select a queue"))?;
        options::set_tcp(fd, name::QUEUE_SEQ, seq).map_err(lost("set a sequence number"))?;
    }
    options::set_tcp(fd, name::MAXSEG, segment(snapshot)).map_err(lost("set the segment size"))?;
    match options::bind(fd, &snapshot.local) {
        // Bound by the application, which a disconnect leaves.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        bound => bound.map_err(lost("bind"))?,
    }
    if snapshot.rto_max > FIRST_TIMER_MS {
        options::set_tcp(fd, name::RTO_MAX_MS, FIRST_TIMER_MS).map_err(lost("limit the first timer"))?;
    }
    options::connect(fd, &snapshot.peer).map_err(lost("connect"))
}

/// The first timer, as low as the kernel lets it be set. The round trip begins unknown, which is taken for 3 s; where the
/// peer sends no timestamps, what is put back measures none.
const FIRST_TIMER_MS: u32 = 1000;

/// When all that waits for a timer has been sent: timers are as the application set them.
///
/// # Errors
/// The system's.
pub fn unlimit(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> io::Result<()> {
    match snapshot.rto_max {
        0 => Ok(()),
        most => options::set_tcp(fd, name::RTO_MAX_MS, most),
    }
}

/// The segment size to connect with: `connect` computes it, from 536 where nothing else is said, before
/// `TCP_REPAIR_OPTIONS` can name the peer's, and never again. At most half of the largest window that the peer ever
/// had, as the kernel does, or a peer with a small one gets one segment for each probe.
fn segment(snapshot: &Snapshot) -> u32 {
    let stamped = snapshot.has(negotiated::TIMESTAMPS);
    let before = snapshot.snd_mss + if stamped { TIMESTAMP_BYTES } else { 0 };
    let window = snapshot.window.max_window;
    let half = if window > 536 { window / 2 } else { window };
    snapshot.peer_mss.min(before).min(half).clamp(*MSS.start(), *MSS.end())
}

/// What was negotiated, what was set, the queues up to what was sent, the windows. Then all is checked.
///
/// # Errors
/// Lost.
pub fn restore(fd: BorrowedFd<'_>, snapshot: &Snapshot, output: &[u8], input: &[u8]) -> Result<(), Failure> {
    negotiate(fd, snapshot).map_err(lost("set what was negotiated"))?;
    // Only until the next disconnect, and this was no wish of the application's.
    options::set_tcp(fd, name::MAXSEG, 0).map_err(lost("forget the segment size"))?;
    set_timestamp(fd, snapshot).map_err(lost("set the timestamp"))?;
    for (value, option) in snapshot.carried.into_iter().zip(CARRIED) {
        if value != 0 {
            // What it is by default may not be what may be set.
            let _ = options::set_tcp(fd, option, value);
        }
    }
    options::select(fd, Queue::Receive).map_err(lost("select the receive queue"))?;
    put(fd, input, Into::Input).map_err(lost("put back the input"))?;
    if snapshot.begins_early() {
        begin_early(fd).map_err(lost("write the byte that measures"))?;
    }
    options::select(fd, Queue::Send).map_err(lost("select the send queue"))?;
    let sent = &output[..snapshot.sent()];
    put(fd, sent, Into::Sent).map_err(lost("put back what was sent"))?;
    let mut window = snapshot.window;
    if snapshot.is_half_closed != 0 {
        // The FIN's number is still to come.
        window.rcv_wup = window.rcv_wup.wrapping_sub(1);
        window.snd_wl1 = window.snd_wl1.wrapping_sub(1);
        window.rcv_wnd += 1;
    }
    options::set_window(fd, window).map_err(lost("set the windows"))?;
    checked(fd, snapshot).map_err(lost("be rebuilt as it was"))
}

/// What is put back in repair measures no round trip, unless by the peer's timestamps; and while none is known the timer
/// runs 3 s, then 6. Where there are neither timestamps nor SACK, nothing but the timer finds what is lost. There the byte before the
/// queue's first goes in front of it: one that the peer has acknowledged, whatever it was. It is written outside of repair,
/// with the window still at nothing, so it is not sent; in repair it is marked as sent with the rest; and
/// [`super::replay::acknowledgement`] measures it.
///
/// That is next to nothing, so that the timer is its least, 200 ms, until the next segment measures better: good for paths
/// that are shorter. What models a path by its shortest round trip (BBR) would believe it for ten seconds, and goes without.
fn begin_early(fd: BorrowedFd<'_>) -> io::Result<()> {
    options::repair(fd, Repair::Silently)?;
    let sent = options::send(fd, &[0], libc::MSG_EOR);
    options::repair(fd, Repair::On)?;
    sent.map(|_| ())
}

fn negotiate(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> io::Result<()> {
    let scale = snapshot.snd_scale | snapshot.rcv_scale << 16;
    let mut said = vec![Negotiated { code: 2, value: snapshot.peer_mss }];
    for (bit, code, value) in
        [(negotiated::SCALE, 3, scale), (negotiated::SACK, 4, 0), (negotiated::TIMESTAMPS, 8, 0)]
    {
        if snapshot.has(bit) {
            said.push(Negotiated { code, value });
        }
    }
    options::set(fd, libc::IPPROTO_TCP, name::REPAIR_OPTIONS, &said)
}

/// Never behind what was sent, or the peer drops it as old (PAWS): the clock goes on, and was read rounded down.
fn set_timestamp(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> io::Result<()> {
    let passed_us = ((now() - snapshot.timestamp_at) / 1000) as u32;
    let before = snapshot.timestamp;
    let value = if before & 1 != 0 {
        before.wrapping_add(passed_us + 2) | 1
    } else {
        before.wrapping_add(passed_us / 1000 + 2) & !1
    };
    options::set_tcp(fd, name::TIMESTAMP, value)
}

fn checked(fd: BorrowedFd<'_>, snapshot: &Snapshot) -> io::Result<()> {
    let info = Info::read(fd)?;
    let end = options::tcp(fd, name::QUEUE_SEQ)?;
    let wanted = snapshot.send_seq().wrapping_add(snapshot.sent() as u32);
    if info.state() == state::ESTABLISHED && info.notsent() == 0 && end == wanted {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "state {}, {} bytes unsent, {} bytes short",
        info.state(),
        info.notsent(),
        wanted.wrapping_sub(end).cast_signed()
    )))
}

/// Where [`put`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// The receive queue, in repair.
    Input,
    /// The send queue, in repair: as sent.
    Sent,
    /// The send queue, as any program does.
    Unsent,
}

/// The largest piece of a write.
const PIECE: usize = 65536;

/// Limits that keep a writer out.
#[derive(Clone, Copy)]
struct Limits {
    size: u32,
    lock: u32,
    lowat: u32,
}

impl Into {
    /// (read, force)
    fn size(self) -> (i32, i32) {
        match self {
            Self::Input => (libc::SO_RCVBUF, libc::SO_RCVBUFFORCE),
            Self::Sent | Self::Unsent => (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE),
        }
    }
}

/// Writes all of `bytes`. Where a limit is in the way it is lifted meanwhile: what is put back was within it.
///
/// # Errors
/// ENOBUFS where that did not help, or the system's.
pub fn put(fd: BorrowedFd<'_>, bytes: &[u8], into: Into) -> io::Result<()> {
    let mut left = bytes;
    let mut limits = None;
    let mut done = Ok(());
    for tries in 0..5 {
        done = push(fd, &mut left, into);
        match &done {
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS)) => {}
            _ => break,
        }
        if limits.is_none() {
            limits = Some(Limits {
                size: options::socket(fd, into.size().0)?,
                lock: options::socket(fd, name::SO_BUF_LOCK).unwrap_or(0),
                lowat: options::tcp(fd, libc::TCP_NOTSENT_LOWAT)?,
            });
        }
        let size = limits.map_or(0, |limits| limits.size) as usize;
        let more = (size + 4 * left.len() + (1 << 18)) << tries;
        let lifted =
            options::set_socket(fd, into.size().1, u32::try_from(more).unwrap_or(1 << 30).min(1 << 30))
                .and_then(|()| options::set_tcp(fd, libc::TCP_NOTSENT_LOWAT, u32::MAX));
        if lifted.is_err() {
            done = lifted;
            break;
        }
    }
    if let Some(limits) = limits {
        // The kernel doubles what it is given.
        options::set_socket(fd, into.size().1, limits.size / 2)?;
        options::set_socket(fd, name::SO_BUF_LOCK, limits.lock)?;
        options::set_tcp(fd, libc::TCP_NOTSENT_LOWAT, limits.lowat)?;
    }
    done
}

/// Writes what goes, piece by piece; `left` is what did not.
fn push(fd: BorrowedFd<'_>, left: &mut &[u8], into: Into) -> io::Result<()> {
    // Without it autocorking leaves the last piece unsent while older packets wait in the device's queue: snd_nxt is too
    // low then, and acknowledgements beyond it are ignored for ever.
    let flags = if into == Into::Sent { libc::MSG_EOR } else { 0 };
    while !left.is_empty() {
        let sent = options::send(fd, &left[..left.len().min(PIECE)], flags)?;
        *left = &left[sent..];
    }
    Ok(())
}

#[cfg(test)]
#[path = "rebuild_tests.rs"]
mod tests;
