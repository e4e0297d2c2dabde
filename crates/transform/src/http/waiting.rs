//! Requests that wait for their response.
//!
//! Most wait alone, and of most nothing is asked but their method and version: a request is kept as its bytes, and read again where
//! somebody wants to see it. *(Kept as it was read, with the places of its fields, each took three times the memory.)*

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;

use super::head::Head;

/// Most requests, and most bytes of memory that they take. wrk and h2load pipeline tens; nginx serves 1000 requests on a
/// connection.
pub const MOST: (usize, usize) = (1000, 512 * 1024);

/// Most buffers that wait for the next request, and most bytes of one.
const SPARE: (usize, usize) = (64, 1024);

thread_local! {
    /// Buffers of requests that have had their response. The allocator keeps a few of a size at hand; of a burst's requests most
    /// took its long way, and that was a twelfth of what a module of messages spends outside the kernel.
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A request that waits for its response.
pub struct Request {
    kept: Kept,
    minor: u8,
    method: Method,
    upgrades: bool,
}

enum Kept {
    AsSent(Vec<u8>),
    Edited(Box<Head>),
}

/// As far as it decides how the response ends.
#[derive(PartialEq, Eq)]
enum Method {
    Connect,
    Head,
    Other,
}

impl Request {
    /// Of this head, as it goes on.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        // No larger than it is: many may wait.
        Self::kept(head, Vec::with_capacity(head.as_sent().len()))
    }

    fn kept(head: &Head, mut bytes: Vec<u8>) -> Self {
        let method = match head.method() {
            b"CONNECT" => Method::Connect,
            b"HEAD" => Method::Head,
            _ => Method::Other,
        };
        let kept = if head.is_edited() {
            Kept::Edited(Box::new(head.clone()))
        } else {
            bytes.extend_from_slice(head.as_sent());
            Kept::AsSent(bytes)
        };
        Self { kept, minor: head.minor(), method, upgrades: head.has("upgrade") }
    }

    /// Its head.
    #[must_use]
    pub fn head(&self) -> Cow<'_, Head> {
        match &self.kept {
            // It has been read before.
            Kept::AsSent(bytes) => Cow::Owned(Head::parse(bytes.clone(), true).unwrap_or_default()),
            Kept::Edited(head) => Cow::Borrowed(head),
        }
    }

    /// 0 or 1: of HTTP/1.x.
    #[must_use]
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// Whether it asks for a tunnel.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.method == Method::Connect
    }

    /// Whether it asks for a head only.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    /// Whether it asks for another protocol.
    #[must_use]
    pub fn upgrades(&self) -> bool {
        self.upgrades
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + match &self.kept {
                Kept::AsSent(bytes) => bytes.len(),
                Kept::Edited(head) => head.memory(),
            }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Kept::AsSent(bytes) = &mut self.kept else { return };
        if (1..=SPARE.1).contains(&bytes.capacity()) {
            let mut bytes = std::mem::take(bytes);
            bytes.clear();
            // A thread that ends has none any more.
            let _ = SPARES.try_with(|spares| {
                let mut spares = spares.borrow_mut();
                if spares.len() < SPARE.0 {
                    spares.push(bytes);
                }
            });
        }
    }
}

/// All of a connection, in order.
#[derive(Default)]
pub(super) struct Waiting {
    /// In its place, without a queue's memory: where many connections take turns, what one touches has to come from far.
    first: Option<Request>,
    behind: VecDeque<Request>,
    /// Of memory, that all of them take.
    bytes: usize,
}

impl Waiting {
    pub fn first(&self) -> Option<&Request> {
        self.first.as_ref()
    }

    pub fn last(&self) -> Option<&Request> {
        self.behind.back().or(self.first.as_ref())
    }

    /// Whether there are as many as may be.
    pub fn is_full(&self) -> bool {
        self.behind.len() + 1 >= MOST.0 || self.bytes > MOST.1
    }

    pub fn push(&mut self, head: &Head) {
        if self.first.is_none() {
            let spare = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
            let request = Request::kept(head, spare);
            self.bytes += request.memory();
            self.first = Some(request);
        } else {
            let request = Request::of(head);
            self.bytes += request.memory();
            self.behind.push_back(request);
        }
    }

    pub fn pop(&mut self) -> Option<Request> {
        let request = std::mem::replace(&mut self.first, self.behind.pop_front())?;
        self.bytes -= request.memory();
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes().to_vec(), true).unwrap()
    }

    #[test]
    fn requests_come_back_in_order_and_as_they_came() {
        let texts: Vec<_> =
            (0..5).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        let mut waiting = Waiting::default();
        for _ in 0..2 {
            texts.iter().for_each(|text| waiting.push(&head(text)));
            assert_eq!(waiting.last().unwrap().head().target(), b"/4");
            for text in &texts {
                let request = waiting.pop().unwrap();
                assert_eq!(request.head().as_sent(), text.as_bytes());
            }
            assert!(waiting.first().is_none() && waiting.last().is_none() && waiting.bytes == 0);
        }
    }

    #[test]
    fn an_edited_one_comes_back_edited() {
        let mut edited = head("HEAD / HTTP/1.1\r\n\r\n");
        edited.add("Upgrade", b" a ");
        let mut waiting = Waiting::default();
        waiting.push(&edited);
        let request = waiting.pop().unwrap();
        assert_eq!(request.head().get("upgrade"), Some(&b" a "[..]));
        assert!(request.is_head() && request.upgrades() && waiting.bytes == 0);
    }
}
