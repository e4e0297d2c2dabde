//! Nanoseconds that the framer takes for an exchange that nobody changes: `cargo run --release -p modnet-transform --example framing`.

use std::time::Instant;

use modnet_transform::http::filter::Filter;
use modnet_transform::http::{Change, Connection, Head, Judge, Request, Room, Way};

/// Looks as a module with a filter does, and leaves everything as it is.
struct Look(Filter);

impl Judge for Look {
    fn request(&mut self, _request: &mut Head, _room: Room) -> Change {
        Change::Keep
    }
    fn response(&mut self, request: &Request, response: &mut Head, _room: Room) -> Change {
        assert!(!self.0.wants(request, response), "nobody wants images");
        Change::Keep
    }
}

fn main() {
    let request = b"GET /100B.jpg HTTP/1.1\r\nHost: 10.99.0.1:8001\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
    let response = [
        &b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 26 Nov 2026 09:00:00 GMT\r\nContent-Type: image/jpeg\r\n\
           Content-Length: 100\r\nLast-Modified: Thu, 26 Nov 2026 09:00:00 GMT\r\nConnection: keep-alive\r\n\
           ETag: \"6748a1b0-64\"\r\nAccept-Ranges: bytes\r\n\r\n"[..],
        &[0; 100],
    ]
    .concat();
    let mut judge = Look(Filter { types: vec!["text/*".into()], least: 1000, plain: true });
    let mut connection = Connection::new([false, true]);
    let mut out = Vec::new();
    let rounds = 1_000_000_u32;
    let begun = Instant::now();
    for _ in 0..rounds {
        connection.feed(Way::Request, request, &mut out, &mut judge);
        connection.feed(Way::Response, &response, &mut out, &mut judge);
    }
    assert_eq!(connection.messages(), [u64::from(rounds); 2]);
    println!("{} ns an exchange", begun.elapsed().as_nanos() / u128::from(rounds));
}
