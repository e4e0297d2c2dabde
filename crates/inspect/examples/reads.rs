//! Reads the states of TCP sockets of its own over loopback, and prints what it found as one JSON object.
//!
//! ```text
//! reads cost                nanoseconds of a field, a snapshot, TCP_INFO: of the fastest batch, whatever else runs
//! reads trips plain         nanoseconds of a request and its response on a kept connection, and on one of its own, over loopback on one core
//! reads trips inspected     the same, the server's socket being inspected
//! reads torn COUNT ADDRESS  COUNT snapshots of a connection to ADDRESS (a sink) that sends all the while
//! reads hold COUNT          inspects COUNT sockets, says "ready", waits to be killed
//! reads churn COUNT         COUNT short connections, each inspected
//! ```
//! For tests/inspect and experiments/inspection: what they need of Rust. It must not judge: they do.

use std::env;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use modnet_abi::sockstate::{check_of, SockState, CHECK_WORD};
use modnet_inspect::mapped::{consistent, state_of, Mapped};
use modnet_inspect::mode::Mode;
use modnet_inspect::sample;
use modnet_inspect::watch::Watch;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cost"] => cost(),
        ["trips", "plain"] => trips(false),
        ["trips", "inspected"] => trips(true),
        ["torn", count, address] => torn(count.parse()?, address),
        ["hold", count] => hold(count.parse()?),
        ["churn", count] => churn(count.parse()?),
        _ => Err("usage: reads cost | trips plain|inspected | torn COUNT ADDRESS | hold COUNT | churn COUNT"
            .into()),
    }
}

fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((listener.accept()?.0, client))
}

/// Batches of which the fastest counts: what another process took of the core is in the others.
const BATCHES: u32 = 200;

/// Nanoseconds of one call; a batch of `count` calls takes about a millisecond.
fn per_call(count: u32, mut call: impl FnMut()) -> f64 {
    let batch = |_| {
        let begun = Instant::now();
        for _ in 0..count {
            call();
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    };
    (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
}

fn cost() -> Outcome {
    let (mut server, mut client) = pair()?;
    server.write_all(&[0; 5000])?;
    client.read_exact(&mut [0; 5000])?;
    let watch = Watch::with_mode(server.as_raw_fd(), Mode::Bpf);
    watch.read()?;
    let mapped = watch.mapped().ok_or("not mapped")?;
    let cwnd = std::mem::offset_of!(SockState, cwnd);
    let field = per_call(2_000_000, || {
        black_box(mapped.words()[cwnd / 8].load(Ordering::Relaxed));
    });
    let checked = per_call(200_000, || {
        black_box(watch.u32_at(cwnd).unwrap_or(0));
    });
    let snapshot = per_call(50_000, || {
        black_box(mapped.read());
    });
    let info = per_call(2000, || {
        black_box(sample::info(server.as_fd()).ok());
    });
    let sampled = per_call(2000, || {
        black_box(sample::take(server.as_fd()).ok());
    });
    // Once for each socket, so that a batch is one call.
    let mut choose = f64::INFINITY;
    for _ in 0..1000 {
        let (one, _two) = pair()?;
        let begun = Instant::now();
        black_box(Watch::with_mode(one.as_raw_fd(), Mode::Bpf).read()?);
        choose = choose.min(begun.elapsed().as_secs_f64() * 1e9);
    }
    println!(
        "{{\"field\": {field:.3}, \"checked_field\": {checked:.3}, \"snapshot\": {snapshot:.2}, \"tcp_info\": {info:.1}, \"sample\": {sampled:.1}, \"choose\": {choose:.0}}}"
    );
    Ok(())
}

/// What is the same for both, the calls and the packets of client and server, is of one thread: the fastest batch has no process switch
/// in it.
fn trips(inspected: bool) -> Outcome {
    let (mut server, mut client) = pair()?;
    let watch = Watch::with_mode(server.as_raw_fd(), Mode::Bpf);
    if inspected {
        watch.read()?;
    }
    let mut broken = None;
    let kept = per_call(100, || {
        broken = broken.take().or(request(&mut client, &mut server, 1000).err());
    });
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let fresh = |inspected: bool| -> Outcome {
        let mut client = TcpStream::connect(address)?;
        let mut server = listener.accept()?.0;
        let watch = Watch::with_mode(server.as_raw_fd(), Mode::Bpf);
        if inspected {
            watch.read()?;
        }
        request(&mut client, &mut server, 100)?;
        watch.freeze();
        drop(server);
        // The end is read, so that nothing is reset.
        match client.read(&mut [0; 1])? {
            0 => Ok(()),
            _ => Err("the server has sent more".into()),
        }
    };
    let mut failed = None;
    let fresh = per_call(20, || failed = failed.take().or(fresh(inspected).err()));
    if let Some(error) = broken.map(Into::into).or(failed) {
        return Err(error);
    }
    println!("{{\"kept\": {kept:.0}, \"fresh\": {fresh:.0}}}");
    Ok(())
}

fn request(client: &mut TcpStream, server: &mut TcpStream, size: usize) -> std::io::Result<()> {
    let mut bytes = [7; 1000];
    client.write_all(&bytes[..80])?;
    server.read_exact(&mut bytes[..80])?;
    server.write_all(&bytes[..size])?;
    client.read_exact(&mut bytes[..size])
}

fn torn(count: u64, address: &str) -> Outcome {
    let mut stream = TcpStream::connect(address)?;
    let fd = stream.as_raw_fd();
    let watch = Watch::with_mode(fd, Mode::Bpf);
    watch.read()?;
    let mapped: &Mapped = watch.mapped().ok_or("not mapped")?;
    static OVER: AtomicBool = AtomicBool::new(false);
    let sender = thread::spawn(move || {
        let chunk = vec![0u8; 65536];
        let mut sent = 0u64;
        while !OVER.load(Ordering::Relaxed) {
            match stream.write(&chunk) {
                Ok(some) => sent += some as u64,
                Err(_) => break,
            }
        }
        (sent, stream)
    });
    let (mut torn, mut checked, mut different, mut unread) = (0u64, 0u64, 0u64, 0u64);
    let mut before = SockState::default();
    for _ in 0..count {
        let Some(words) = consistent(mapped.words()) else {
            unread += 1;
            continue;
        };
        let state = state_of(&words);
        if state.sequence != before.sequence {
            different += 1;
        }
        if state.check != 0 {
            checked += 1;
            torn += u64::from(check_of(&words) != words[CHECK_WORD]);
        }
        torn += u64::from(!is_in_order(&state, &before));
        before = state;
    }
    OVER.store(true, Ordering::Relaxed);
    let sent = sender.join().map(|(sent, _)| sent).unwrap_or(0);
    println!(
        "{{\"snapshots\": {count}, \"torn\": {torn}, \"checked\": {checked}, \"different\": {different}, \"unread\": {unread}, \"bytes\": {sent}}}"
    );
    Ok(())
}

fn is_in_order(state: &SockState, before: &SockState) -> bool {
    let at_most = |a: u32, b: u32| b.wrapping_sub(a) < 1 << 31;
    let [newest, older] = &state.packets;
    at_most(state.snd_una, state.snd_nxt)
        && at_most(state.snd_nxt, state.write_seq)
        && state.updated_ns >= before.updated_ns
        && newest.arrival_ns >= older.arrival_ns
        && state.updated_ns >= newest.arrival_ns
        && newest.sent_ns <= newest.arrival_ns
}

fn hold(count: usize) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let server = listener.accept()?.0;
        let watch = Watch::with_mode(server.as_raw_fd(), Mode::Bpf);
        watch.read()?;
        held.push((client, server, watch));
    }
    println!("ready");
    std::io::stdout().flush()?;
    loop {
        thread::park();
    }
}

fn churn(count: usize) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut read = 0u64;
    for _ in 0..count {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let server = listener.accept()?.0;
        let watch = Watch::with_mode(server.as_raw_fd(), Mode::Bpf);
        read += u64::from(watch.read().is_ok());
        // The client closes first and takes TIME_WAIT; no port is used up where it resets instead.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: a struct of the size that is told.
        unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                std::ptr::from_ref(&linger).cast(),
                libc::socklen_t::try_from(size_of::<libc::linger>())?,
            )
        };
        drop(client);
    }
    println!("{{\"connections\": {count}, \"inspected\": {read}}}");
    Ok(())
}
