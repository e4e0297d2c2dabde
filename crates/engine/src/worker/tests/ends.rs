//! How a connection ends: what each side is shown of the other's end, in order or not.

use super::*;

#[test]
fn an_answer_behind_a_half_close_comes_back() {
    let running = Running::start(1 << 16);
    let (mut application, mut network) = running.connect();
    network.write_all(b"question").unwrap();
    network.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut application), b"question");
    application.write_all(b"answer").unwrap();
    drop(application);
    assert_eq!(rest(&mut network), b"answer");
    running.end();
}

#[test]
fn a_close_with_everything_read_is_an_end_and_no_reset() {
    let running = Running::start(1 << 16);
    for size in [0, 1, 100_000] {
        let (mut application, mut network) = running.connect();
        network.write_all(b"GET").unwrap();
        application.read_exact(&mut [0; 3]).unwrap();
        std::thread::scope(|scope| {
            let got = scope.spawn(|| rest(&mut network));
            application.write_all(&pattern(size)).unwrap();
            drop(application);
            assert!(got.join().unwrap() == pattern(size), "{size}");
        });
    }
    running.end();
}

#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    let running = Running::start(1 << 16);
    for last_words in [&b""[..], b"bye"] {
        let (mut application, mut network) = running.connect();
        network.write_all(b"not read").unwrap();
        // It has arrived, and stays: only looked at.
        application.peek_one();
        application.write_all(last_words).unwrap();
        drop(application);
        let mut all = Vec::new();
        let error = network.read_to_end(&mut all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{last_words:?}");
    }
    running.end();
}

#[test]
fn an_application_that_resets_never_ends_in_order() {
    let running = Running::start(1 << 16);
    let (application, left) = UnixStream::pair().unwrap();
    drop(application);
    assert!(sock::has_hung_up(left.as_fd()));
    let (application, left) = UnixStream::pair().unwrap();
    application.shutdown(Shutdown::Write).unwrap();
    assert!(!sock::has_hung_up(left.as_fd()));
    // Often enough that the close meets the worker in every place of its turn.
    for round in 0..2000 {
        let (mut application, mut network, real) = running.connect_and_keep();
        network.write_all(b"x").unwrap();
        application.read_exact(&mut [0]).unwrap();
        set_linger_0(&real);
        drop(real);
        if round % 2 == 0 {
            application.write_all(b"y").unwrap();
        }
        drop(application);
        let error = network.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}");
    }
    running.end();
}

/// The kernel waits in the last close, which is the module's, for as long as the application has said.
#[test]
fn an_application_that_lingers_keeps_no_other_waiting() {
    let running = Running::start(1 << 16);
    let (network, real) = running.accept();
    set_linger(&real, 10_000);
    // All of it is the kernel's when the worker closes, and the network takes little.
    set_buffer(&real, libc::SO_SNDBUF, 1 << 20);
    set_buffer(&network, libc::SO_RCVBUF, 32 << 10);
    let mut application = running.steal(real);
    let data = pattern(400_000);
    application.write_all(&data).unwrap();
    drop(application);
    wait_until("its end", || count(&running.shared.receiver.stats.ended) == 1);
    let (mut other, mut others_network) = running.connect();
    other.write_all(b"served").unwrap();
    drop(other);
    assert_eq!(rest(&mut others_network), b"served");
    assert!(rest(&mut &network) == data);
    running.end();
}

#[test]
fn a_reset_by_the_network_ends_an_idle_application() {
    let running = Running::start(1 << 16);
    let (mut application, mut network) = running.connect();
    application.write_all(b"unread").unwrap();
    network.write_all(b"last").unwrap();
    let mut byte = [0];
    assert_eq!(network.peek(&mut byte).unwrap(), 1);
    // Closing with unread bytes resets.
    drop(network);
    assert_eq!(rest(&mut application), b"last");
    // The other half goes as well, though nothing was ever sent into the reset.
    application.await_hang_up();
    running.end();
}

#[test]
fn the_networks_error_is_left_for_the_application() {
    let running = Running::start(1 << 16);
    // Met by reading, and by writing.
    for writes in [false, true] {
        let (mut application, network, real) = running.connect_and_keep();
        set_linger_0(&network);
        drop(network);
        if writes {
            // Refused, if the worker was quicker.
            let _ = application.write_all(b"x");
        }
        // The end; or, where the byte was not taken any more, the pair's own error.
        let _ = application.read_to_end(&mut Vec::new());
        application.await_hang_up();
        assert_eq!(error_left_on(&real), Some(libc::ECONNRESET), "writes: {writes}");
    }
    running.end();
}
