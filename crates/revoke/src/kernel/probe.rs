//! Whether the kernel yank works here, found out by doing it: on a connection of our own over loopback. For `modnet doctor`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::failure::Failure;
use super::yank::{Operation, Settings, Yanker};

/// What was found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How long the trial took.
    pub total: Duration,
    /// Why congestion windows begin anew, if they do.
    pub without_windows: Option<String>,
    /// Whether half-closed connections can be yanked from (CAP_NET_RAW).
    pub half_closed: bool,
}

/// Yanks, and checks what arrives.
///
/// # Errors
/// Denied where a capability is missing; what else stands in the way.
pub fn probe() -> Result<Probe, Failure> {
    let no = |step| move |error| Failure::System(step, error);
    let mut yanker = Yanker::new(Settings::default()).map_err(no("get memory"))?;
    let (mut sender, mut receiver) = pair().map_err(no("make a connection over loopback"))?;
    // Asked first: without it there is no need to fill anything.
    let guard = yanker.guards.of(sender.as_fd())?;
    let written = fill(&mut sender).map_err(no("fill a connection over loopback"))?;
    let taken = yanker.yank(sender.as_fd(), written.len(), Operation::Yank)?;
    let (total, length) = (taken.total, taken.bytes.len());
    let right = length > 0 && written.ends_with(taken.bytes);
    drop(sender);
    let mut arrived = Vec::new();
    receiver.read_to_end(&mut arrived).map_err(no("read what was not yanked"))?;
    if !right || arrived != written[..written.len() - length] {
        let error = io::Error::other(format!("{length} and {} of {} bytes", arrived.len(), written.len()));
        return Err(Failure::System("yank on this kernel without changing the stream", error));
    }
    Ok(Probe { total, without_windows: guard.without_windows.clone(), half_closed: guard.can_send() })
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    // Longer than any of these takes; a probe that hangs would be no probe.
    receiver.set_read_timeout(Some(Duration::from_secs(10)))?;
    sender.set_nonblocking(true)?;
    Ok((sender, receiver))
}

/// Writes until the kernel takes no more: the last of it is unsent. Bytes that tell their place.
fn fill(sender: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut written = Vec::new();
    loop {
        let piece: Vec<u8> =
            (written.len()..written.len() + 65536).map(|at| (at / 7 + at / 911) as u8).collect();
        match sender.write(&piece) {
            Ok(sent) => written.extend(&piece[..sent]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(written),
            Err(error) => return Err(error),
        }
    }
}
