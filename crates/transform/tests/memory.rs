//! How much memory a connection can be made to hold, counted by an allocator of our own: hostile heads, pipelines, lines.
//!
//! Only what the connection holds counts, not what goes in and out. One test, since the count is the process'.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use modnet_transform::http::{Change, Connection, Head, Judge, Request, Room, Way};

/// Of one connection: what `waiting::MOST` says (512 KB), the largest head (64 KB) in each direction, and a little.
const MOST: isize = 800 << 10;

struct Counting;
static LIVE: AtomicIsize = AtomicIsize::new(0);

#[allow(clippy::cast_possible_wrap)] // sizes
                                     // SAFETY: all is the system allocator's; only the sizes are added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Keep;

impl Judge for Keep {
    fn request(&mut self, _request: &mut Head, _room: Room) -> Change {
        Change::Keep
    }
    fn response(&mut self, _request: &Request, _response: &mut Head, _room: Room) -> Change {
        Change::Keep
    }
}

/// The most that a connection holds while these come again and again, to 20 MB.
fn held(begin: &str, again: &str, way: Way) -> isize {
    let mut connection = Connection::new([true, true]);
    let (mut out, mut judge) = (Vec::new(), Keep);
    let piece = again.repeat(1 + 4096 / again.len()).into_bytes();
    let before = LIVE.load(Ordering::Relaxed);
    let mut most = 0;
    if way == Way::Response {
        connection.feed(Way::Request, b"GET / HTTP/1.1\r\n\r\n", &mut out, &mut judge);
    }
    connection.feed(way, begin.as_bytes(), &mut out, &mut judge);
    for _ in 0..(20 << 20) / piece.len() {
        connection.feed(way, &piece, &mut out, &mut judge);
        drop(std::mem::take(&mut out));
        most = most.max(LIVE.load(Ordering::Relaxed) - before);
    }
    most
}

#[test]
fn a_connection_holds_a_bounded_amount_of_memory() {
    let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(120));
    for (name, begin, again, way) in [
        ("a head without end", "GET / HTTP/1.1\r\nX: ", "y", Way::Request),
        ("a response's head without end", "HTTP/1.1 200 OK\r\nX: ", "y", Way::Response),
        ("fields without end", "GET / HTTP/1.1\r\n", "a:\r\n", Way::Request),
        ("requests without end", "", "GET / HTTP/1.1\r\n\r\n", Way::Request),
        ("requests of many fields without end", "", &fields, Way::Request),
        (
            "chunks without end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
            Way::Response,
        ),
        (
            "an extension without end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            "y",
            Way::Response,
        ),
        (
            "trailers without end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "X: y\r\n",
            Way::Response,
        ),
        ("hints without end", "", "HTTP/1.1 103 Early\r\n\r\n", Way::Response),
    ] {
        let most = held(begin, again, way);
        println!("{name}: {most} bytes");
        assert!(most < MOST, "{name}: {most} bytes");
    }
}
