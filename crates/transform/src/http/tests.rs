//! Exchanges played through: what goes on, what is seen, when the framer steps aside.

use super::{Body, Broken, Change, Connection, Fed, Head, Judge, Reason, Request, Room, Way};

/// Makes bodies of responses capitals and adds a field, where `wanted`; notes what it is asked.
#[derive(Default)]
struct Clerk {
    wanted: bool,
    seen: Vec<String>,
}

struct Capitals;

impl Body for Capitals {
    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        if input.contains(&b'!') {
            return Err(Broken("no exclamations".into()));
        }
        out.extend(input.iter().map(u8::to_ascii_uppercase));
        Ok(())
    }
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        out.extend_from_slice(b"~");
        Ok(())
    }
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        out.extend_from_slice(b".");
        Ok(())
    }
}

impl Judge for Clerk {
    fn request(&mut self, request: &mut Head, _room: Room) -> Change {
        self.seen.push(String::from_utf8_lossy(request.first_line()).into());
        Change::Keep
    }
    fn response(&mut self, request: &Request, response: &mut Head, room: Room) -> Change {
        let line = String::from_utf8_lossy(response.first_line()).into_owned();
        self.seen.push(format!("{} for {} {room:?}", line, String::from_utf8_lossy(request.head().target())));
        if !self.wanted {
            return Change::Keep;
        }
        response.add("X-Clerk", b"1");
        Change::Body(Box::new(Capitals))
    }
}

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Talk {
    connection: Connection,
    clerk: Clerk,
}

impl Talk {
    fn new(wanted: bool) -> Self {
        Self { connection: Connection::new([true, true]), clerk: Clerk { wanted, ..Clerk::default() } }
    }

    fn feed(&mut self, way: Way, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        match self.connection.feed(way, bytes, &mut out, &mut self.clerk) {
            Fed::Same => String::from_utf8_lossy(bytes).into_owned(),
            Fed::Out => String::from_utf8_lossy(&out).into_owned(),
            Fed::Broken(why) => format!("broken: {why}"),
        }
    }

    fn ask(&mut self, bytes: &[u8]) {
        assert_eq!(self.feed(Way::Request, bytes).as_bytes(), bytes);
    }

    fn answer(&mut self, bytes: &[u8]) -> String {
        self.feed(Way::Response, bytes)
    }

    fn end(&mut self) -> String {
        let mut out = Vec::new();
        self.connection.end(Way::Response, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// One exchange with a clerk who changes every response: what the client gets.
fn changed(request: &[u8], response: &[u8]) -> String {
    let mut talk = Talk::new(true);
    talk.ask(request);
    let out = talk.answer(response);
    out + &talk.end()
}

// --- what is changed ---------------------------------------------------------------------------------------

#[test]
fn a_length_becomes_chunks() {
    assert_eq!(
        changed(ASKED, b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nA:  b \r\n\r\nhello"),
        "HTTP/1.1 200 OK\r\nA:  b \r\nX-Clerk: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHELLO\r\n1\r\n.\r\n0\r\n\r\n"
    );
}

#[test]
fn chunks_become_chunks_and_trailers_stay_but_digests() {
    assert_eq!(
        changed(
            ASKED,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDigest: x\r\n\r\n\
              3;q=\"1\"\r\nabc\r\n2 \r\nde\r\n0\r\nX-T: 1\r\nContent-MD5: y\r\n\r\n"
        ),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Clerk: 1\r\n\r\n\
         3\r\nABC\r\n2\r\nDE\r\n1\r\n.\r\n0\r\nX-T: 1\r\n\r\n"
    );
}

#[test]
fn what_ends_with_the_connection_still_does() {
    assert_eq!(
        changed(ASKED, b"HTTP/1.1 200 OK\r\n\r\nhello"),
        "HTTP/1.1 200 OK\r\nX-Clerk: 1\r\n\r\nHELLO."
    );
}

#[test]
fn a_client_of_1_0_gets_no_chunks() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    assert_eq!(
        changed(b"GET / HTTP/1.0\r\n\r\n", response),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Clerk: 1\r\n\r\nHI."
    );
}

#[test]
fn a_server_of_1_0_sends_no_chunks() {
    assert_eq!(
        changed(ASKED, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        "HTTP/1.0 200 OK\r\nX-Clerk: 1\r\n\r\nHI."
    );
}

#[test]
fn a_connection_of_1_0_that_stays_keeps_its_bodies() {
    let mut talk = Talk::new(false);
    talk.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    talk.answer(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(talk.clerk.seen[1], "HTTP/1.1 200 OK for / Persistent");
}

#[test]
fn a_response_to_head_says_what_one_to_get_would() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\r\n";
    assert_eq!(
        changed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", response),
        "HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nX-Clerk: 1\r\n\r\n"
    );
}

#[test]
fn nothing_is_made_of_no_body() {
    for status in ["204 No Content", "304 Not Modified"] {
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n");
        let out = changed(ASKED, response.as_bytes());
        assert_eq!(out, format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\nX-Clerk: 1\r\n\r\n"));
    }
}

#[test]
fn a_body_that_is_cut_short_gets_no_terminator() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    let out = talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello") + &talk.end();
    assert!(out.ends_with("5\r\nHELLO\r\n1\r\n~\r\n"), "{out}");
    assert_eq!(talk.connection.truncated(), 1);
}

#[test]
fn a_flush_brings_what_there_is_and_nothing_twice() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    assert!(talk.connection.is_open(Way::Response));
    let mut out = Vec::new();
    talk.connection.flush(Way::Response, &mut out).unwrap();
    talk.connection.flush(Way::Response, &mut out).unwrap();
    assert_eq!(out, b"1\r\n~\r\n");
    assert!(!talk.connection.is_open(Way::Response));
}

#[test]
fn a_transform_that_fails_breaks_the_connection() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    let out = talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello!");
    assert_eq!(out, "broken: no exclamations");
}

#[test]
fn a_bad_chunk_breaks_a_body_that_is_being_changed() {
    for body in
        ["5\r\nhelloX", "0\r\nX\r\n\r\n", "0\r\nX : y\r\n\r\n", "\r\n", "0x5\r\n", "5\nhello", "0\r\n\n"]
    {
        let mut talk = Talk::new(true);
        talk.ask(ASKED);
        let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let out = talk.answer(response.as_bytes());
        assert_eq!(out, "broken: a body that was being changed: bad_chunk", "{body}");
    }
}

// --- what is seen ------------------------------------------------------------------------------------------

#[test]
fn responses_find_their_requests() {
    let mut talk = Talk::new(false);
    talk.ask(b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\n");
    talk.ask(b"POST /3 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n");
    talk.answer(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    );
    talk.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    talk.ask(b"GET / HTTP/1.1\r\n\r\n\r\nGET /4 HTTP/1.1\r\n\r\n");
    talk.answer(
        b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 404\r\n\r\nall else",
    );
    assert_eq!(
        talk.clerk.seen,
        [
            "GET /1 HTTP/1.1",
            "HEAD /2 HTTP/1.1",
            "POST /3 HTTP/1.1",
            "HTTP/1.1 200 OK for /1 Body",
            "HTTP/1.1 200 OK for /2 Head",
            "GET /4 HTTP/1.1",
            "HTTP/1.1 201 Made for /3 Body",
            "HTTP/1.1 404 for /4 Body",
        ]
    );
    assert_eq!(talk.connection.opaque(), None);
}

#[test]
fn what_passes_unseen_is_told() {
    let mut talk = Talk::new(false);
    talk.ask(ASKED);
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab");
    assert_eq!(talk.connection.skip(Way::Response, 1), 998);
    talk.ask(ASKED);
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\na");
    assert_eq!(talk.connection.skip(Way::Response, 1), 254);
    talk.answer(b"\r\n0\r\n\r\n");
    talk.ask(ASKED);
    talk.answer(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(talk.connection.skip(Way::Response, 1), u64::MAX);
    assert_eq!(talk.connection.messages(), [3, 3]);
}

#[test]
fn a_body_that_is_changed_is_not_skipped() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab");
    assert_eq!(talk.connection.skip(Way::Response, 1), 0);
}

#[test]
fn folded_lines_stay_as_they_are_and_read_as_one() {
    let sent = b"HTTP/1.1 200 OK\r\nX: one\r\n\ttwo\r\nY: 1\r\nx: 3\r\n\r\n".to_vec();
    let mut head = Head::parse(sent.clone(), false).unwrap();
    assert_eq!(head.get("x"), Some(&b"one  \ttwo"[..]));
    assert_eq!(head.written(), &sent[..]);
    head.set("y", b"2");
    assert_eq!(head.written(), &b"HTTP/1.1 200 OK\r\nX: one\r\n\ttwo\r\nY: 2\r\nx: 3\r\n\r\n"[..]);
    head.set("X", b"4");
    assert_eq!(head.written(), &b"HTTP/1.1 200 OK\r\nX: 4\r\nY: 2\r\n\r\n"[..]);
    head.remove("X");
    assert_eq!(head.written(), &b"HTTP/1.1 200 OK\r\nY: 2\r\n\r\n"[..]);
}

#[test]
fn a_plain_head_is_read_in_one_pass_and_no_other() {
    let read = |text: &[u8], is_request| {
        let mut head = Head::default();
        head.read_plain(text, is_request).then(|| head.as_sent().len())
    };
    assert_eq!(read(&[ASKED, b"GET"].concat(), true), Some(ASKED.len()));
    let plain = b"HTTP/1.1 200 OK\r\nX:\r\nY: 1 \r\n\r\n";
    assert_eq!(read(&[&plain[..], b"body"].concat(), false), Some(plain.len()));
    // Whatever it was before.
    let mut head = Head::parse(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_vec(), true).unwrap();
    head.add("Y", b"2");
    assert!(head.read_plain(plain, false) && !head.is_edited() && head.method().is_empty());
    assert!(head.fields().eq([(&b"X"[..], &b""[..]), (b"Y", b"1")]));
    for (text, is_request) in [
        (&ASKED[..ASKED.len() - 1], true),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", true),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", true),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", true),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", true),
        (b"get / HTTP/1.1\r\n\r\n", true),
        (b"GET / HTTP/2.0\r\n\r\n", true),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nX: one\r\n two\r\n\r\n", false),
        (b"HTTP/1.1 099 OK\r\n\r\n", false),
    ] {
        assert_eq!(read(text, is_request), None, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_head_that_takes_the_place_of_another_is_read_as_if_alone() {
    let lines =
        ["A: 1\r\n", "A: 2\r\n", "Abc:\r\n", "Content-Length: 5\r\n", " folded\r\n", ": 1\r\n", "A: 1\n"];
    let first = ["GET /one HTTP/1.1\r\n", "GET /two HTTP/1.0\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 404\r\n"];
    let mut texts = Vec::new();
    for first in first {
        texts.push(first.to_owned());
        for one in lines {
            texts.push([first, one].concat());
            texts.extend(lines.iter().map(|two| [first, one, two].concat()));
        }
    }
    let told = |head: &Head| format!("{head:?}");
    let read = |head: &mut Head, text: &str| {
        let text = [text, "\r\nrest"].concat();
        head.read_plain(text.as_bytes(), text.starts_with("GET")).then(|| told(head))
    };
    for before in &texts {
        for text in &texts {
            let alone = read(&mut Head::default(), text);
            let mut head = Head::default();
            read(&mut head, before);
            assert_eq!(read(&mut head, text), alone, "{text:?} after {before:?}");
            assert_eq!(read(&mut head, text), alone, "{text:?} again");
            if alone.is_some() {
                // What was done to one is not done to the next.
                head.set("A", b"edited");
                head.remove("Abc");
                assert_eq!(read(&mut head, text), alone, "{text:?} after it was edited");
            }
        }
    }
}

#[test]
fn what_is_no_request_after_a_response_is_none() {
    let response = b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n";
    let mut head = Head::default();
    assert!(head.read_plain(response, false));
    assert!(!head.read_plain(response, true));
    assert!(head.read_plain(response, false) && !head.read_plain(&response[..response.len() - 2], false));
    let mut parsed = Head::parse(b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n".to_vec(), false).unwrap();
    assert!(
        !parsed.read_plain(b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", false),
        "folded lines are for others"
    );
}

// --- when the framer steps aside ---------------------------------------------------------------------------

/// What comes after: nobody may touch it.
fn steps_aside(reason: Reason, request: &[u8], response: &[u8]) {
    let mut talk = Talk::new(true);
    talk.ask(request);
    assert_eq!(talk.answer(response).as_bytes(), response, "{}", reason.name());
    assert_eq!(talk.connection.opaque().map(Reason::name), Some(reason.name()));
    talk.ask(ASKED);
    let more = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(talk.answer(more).as_bytes(), more);
    assert!(talk.connection.is_over());
}

#[test]
fn doubtful_requests_end_the_framers_part() {
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let long = [b"GET / HTTP/1.1\r\nX: ", &[b'a'; 70_000][..]].concat();
    let many = [b"GET / HTTP/1.1\r\n", &b"A: b\r\n".repeat(200)[..], b"\r\n"].concat();
    for (reason, request) in [
        (
            Reason::BothLengths,
            &b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        ),
        (Reason::BadLength, b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"),
        (Reason::BadLength, b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n"),
        (Reason::BadLength, b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n"),
        (Reason::BadLength, b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        (Reason::TransferEncoding, b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (
            Reason::TransferEncoding,
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
        ),
        (Reason::TransferEncoding, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Reason::BareLineEnd, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        (Reason::BareLineEnd, b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
        (Reason::BareLineEnd, b"\rGET / HTTP/1.1\r\n\r\n"),
        (Reason::Folded, b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        (Reason::BadHead, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (Reason::BadHead, b"GET / HTTP/1.1\r\nno colon\r\n\r\n"),
        (Reason::Oversize, &long),
        (Reason::Oversize, &many),
        (Reason::NotHttp, b"GET /\r\n"),
        (Reason::NotHttp, b"*1\r\n$4\r\nPING\r\n"),
        (Reason::NotHttp, b"\x16\x03\x01"),
        (Reason::Http2, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (Reason::BadChunk, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
        (Reason::BadChunk, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n"),
    ] {
        steps_aside(reason, request, plain);
    }
}

#[test]
fn doubtful_responses_end_the_framers_part() {
    for (reason, response) in [
        (
            Reason::BothLengths,
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        ),
        (Reason::BadLength, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"),
        (Reason::Folded, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 3\r\n\r\n"),
        (Reason::TransferEncoding, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (Reason::BareLineEnd, b"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\n"),
        (Reason::BadHead, b"HTTP/1.1 abc OK\r\n\r\n"),
        (Reason::BadHead, b"HTTP/1.1 200\r\n OK\r\nContent-Length: 0\r\n\r\n"),
        (Reason::NotHttp, b"<html>0.9"),
        (Reason::NotHttp, b"HTTP/1.7 200 OK\r\n\r\n"),
        (Reason::Unasked, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        steps_aside(reason, ASKED, response);
    }
}

#[test]
fn a_response_that_nobody_asked_for_passes() {
    steps_aside(Reason::Unasked, b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn tunnels_and_other_protocols_pass() {
    steps_aside(
        Reason::Tunnel,
        b"CONNECT a:1 HTTP/1.1\r\n\r\nGET",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    );
    let upgrade = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    steps_aside(Reason::Upgraded, upgrade, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x01\x02hi");
    steps_aside(Reason::Early, &[&upgrade[..], b"x"].concat(), b"HTTP/1.1 101 Switching\r\n\r\n");
}

#[test]
fn an_upgrade_that_is_refused_changes_nothing() {
    let mut talk = Talk::new(true);
    for _ in 0..2 {
        talk.ask(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
        assert!(talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").contains("HI"));
    }
}

#[test]
fn a_doubtful_request_lets_a_body_under_way_end_in_order() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    let begin = talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    talk.ask(b"GET / HTTP/1.1\n\n");
    let end = talk.answer(b"cdHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    assert!(begin.ends_with("2\r\nAB\r\n"));
    assert_eq!(end, "2\r\nCD\r\n1\r\n.\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
}

#[test]
fn more_requests_than_are_kept_pass() {
    let mut talk = Talk::new(true);
    let many = ASKED.repeat(super::waiting::MOST.0 + 1);
    talk.ask(&many);
    assert_eq!(talk.connection.opaque(), Some(Reason::Pipelined));
}

#[test]
fn giving_up_lets_everything_pass() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    talk.connection.give_up();
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    assert_eq!(talk.answer(response).as_bytes(), response);
    assert_eq!(talk.connection.opaque(), Some(Reason::GivenUp));
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn heads_that_nobody_edits_are_not_held_back() {
    let mut connection = Connection::new([false, true]);
    let mut clerk = Clerk::default();
    for byte in ASKED {
        let mut out = Vec::new();
        assert_eq!(connection.feed(Way::Request, &[*byte], &mut out, &mut clerk), Fed::Same);
    }
    assert_eq!(clerk.seen, ["GET / HTTP/1.1"]);
}

#[test]
fn a_held_head_goes_out_when_its_source_ends() {
    let mut talk = Talk::new(true);
    talk.ask(ASKED);
    assert_eq!(talk.answer(b"HTTP/1.1 200 OK\r\nServer:"), "");
    assert_eq!(talk.end(), "HTTP/1.1 200 OK\r\nServer:");
    assert_eq!(talk.connection.truncated(), 1);
}
