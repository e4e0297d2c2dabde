//! Urgent data of the network's: a read stops before it, and what stands behind it must not wait for another event.

use super::*;

#[test]
fn what_stands_around_urgent_data_arrives_without_a_further_event() {
    for (inline, expected) in [(false, &b"beforebehind"[..]), (true, b"before!behind")] {
        let running = Running::start(1 << 20);
        let (network, real) = running.accept();
        set(&real, libc::SO_OOBINLINE, inline);
        // All of it is there before the worker looks.
        (&network).write_all(b"before").unwrap();
        send_urgent(&network, b'!');
        (&network).write_all(b"behind").unwrap();
        wait_until_received(&network);
        let application = running.steal(real);
        let mut read = vec![0; expected.len()];
        (&application).read_exact(&mut read).unwrap();
        assert_eq!(read, expected);
        drop((application, network));
        running.end();
    }
}

fn set(socket: &TcpStream, option: i32, on: bool) {
    let value = i32::from(on);
    // SAFETY: the option is an integer, which lives here.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), 4)
    };
    assert_eq!(result, 0);
}

fn send_urgent(socket: &TcpStream, byte: u8) {
    // SAFETY: one byte is readable.
    let sent = unsafe { libc::send(socket.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

/// Until the other side has all of it: it has acknowledged.
fn wait_until_received(socket: &TcpStream) {
    let started = Instant::now();
    loop {
        let mut waiting: libc::c_int = 0;
        // SAFETY: the kernel writes one integer, which lives here.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
        assert_eq!(result, 0);
        if waiting == 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "not acknowledged: {waiting} bytes");
        std::thread::yield_now();
    }
}
