//! Nanoseconds that the framer takes for an exchange that nobody changes: `cargo run --release -p modnet-transform --example framing`.
//!
//! Of one file again and again; of files that differ as those of one server do; of heads that have no line in common.

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
    let fields = |lines: &[&str]| [&lines.join("\r\n"), "\r\n\r\n"].concat().into_bytes();
    let exchange = |file: u8| {
        let request = fields(&[
            &format!("GET /{file}.jpg HTTP/1.1"),
            "Host: 10.99.0.1:8001",
            "User-Agent: wrk",
            "Accept: */*",
        ]);
        let response = fields(&[
            "HTTP/1.1 200 OK",
            "Server: nginx/1.22.1",
            "Date: Thu, 26 Nov 2026 09:00:00 GMT",
            "Content-Type: image/jpeg",
            &format!("Content-Length: {}", 100 + file),
            &format!("Last-Modified: Thu, 26 Nov 2026 09:00:{file:02} GMT"),
            "Connection: keep-alive",
            &format!("ETag: \"6748a1b0-{file}\""),
            "Accept-Ranges: bytes",
        ]);
        (request, [response, vec![0; 100 + usize::from(file)]].concat())
    };
    // Each line has a blank more: as long to read, and never the same.
    let spaced = |(request, response): (Vec<u8>, Vec<u8>)| {
        let spaced = |text: Vec<u8>| String::from_utf8(text).unwrap().replace(": ", ":  ").into_bytes();
        (spaced(request), spaced(response))
    };
    measure("one", &[exchange(0)]);
    measure("others of one server", &[exchange(0), exchange(1), exchange(2)]);
    measure("nothing in common", &[exchange(0), spaced(exchange(1))]);
}

/// An exchange after the other.
fn measure(what: &str, exchanges: &[(Vec<u8>, Vec<u8>)]) {
    let mut judge = Look(Filter { types: vec!["text/*".into()], least: 1000, plain: true });
    let mut connection = Connection::new([false, true]);
    let mut out = Vec::new();
    let rounds = 1_000_000_u32;
    let begun = Instant::now();
    for (request, response) in exchanges.iter().cycle().take(rounds as usize) {
        connection.feed(Way::Request, request, &mut out, &mut judge);
        connection.feed(Way::Response, response, &mut out, &mut judge);
    }
    assert_eq!(connection.messages(), [u64::from(rounds); 2]);
    println!("{what}: {} ns an exchange", begun.elapsed().as_nanos() / u128::from(rounds));
}
