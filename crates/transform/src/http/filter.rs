//! Which responses are worth a look: declared once, looked at for every head, so that whoever decides is not asked
//! about the others.

use super::framing;
use super::head::{Head, Start};
use super::waiting::Request;

/// What a response has to be; the default wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Media types, `text/*` for all of one kind; empty: any, and none.
    pub types: Vec<String>,
    /// Bodies that say that they are shorter are not wanted.
    pub least: u64,
    /// Only whole, uncoded bodies that may be changed: no Content-Encoding, no range, no `no-transform`; and, so that
    /// validators stay right, answers to a conditional request with a weak one.
    pub plain: bool,
}

impl Filter {
    /// Whether somebody is to be asked about this response.
    #[must_use]
    pub fn wants(&self, request: &Request, response: &Head) -> bool {
        let Start::Response { status } = response.start() else { return false };
        if self.plain && status == 304 {
            let is_weak = |tags| memchr::memmem::find(tags, b"W/").is_some();
            return response.has("etag") && request.head().get("if-none-match").is_some_and(is_weak);
        }
        // The cheapest question first: a number that is known, then the type, which is compared with many.
        let length = framing::length(response);
        if length.is_some_and(|length| length < self.least) {
            return false;
        }
        if !self.types.is_empty() && !media_type(response).is_some_and(|found| self.has(found)) {
            return false;
        }
        !(self.plain
            && (status == 206
                || response.has("content-range")
                || response.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
                || response.lists("cache-control", "no-transform")))
    }

    fn has(&self, found: &[u8]) -> bool {
        self.types.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(kind) => {
                found.len() >= kind.len() && found[..kind.len()].eq_ignore_ascii_case(kind.as_bytes())
            }
            None => found.eq_ignore_ascii_case(wanted.as_bytes()),
        })
    }
}

/// The type without its parameters.
#[must_use]
pub fn media_type(head: &Head) -> Option<&[u8]> {
    Some(head.get("content-type")?.split(|byte| *byte == b';').next()?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(request: &str, response: &str) -> bool {
        let filter =
            Filter { types: vec!["text/*".into(), "application/json".into()], least: 100, plain: true };
        let head = |text: &str, is_request| {
            Head::parse(format!("{}\r\n\r\n", text.replace('\n', "\r\n")).into_bytes(), is_request).unwrap()
        };
        filter.wants(&Request::of(&head(request, true)), &head(response, false))
    }

    #[test]
    fn what_is_declared_is_wanted_and_nothing_else() {
        let get = "GET / HTTP/1.1";
        for (response, expected) in [
            ("HTTP/1.1 200 OK\nContent-Type: text/html", true),
            ("HTTP/1.1 200 OK\nContent-Type: Text/HTML; charset=utf-8\nContent-Length: 100", true),
            ("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Encoding: identity", true),
            ("HTTP/1.1 200 OK\nContent-Type: application/jsonp", false),
            ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Length: 99", false),
            ("HTTP/1.1 200 OK\nContent-Type: image/jpeg", false),
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: br", false),
            ("HTTP/1.1 206 Part\nContent-Type: text/html", false),
            ("HTTP/1.1 200 OK\nContent-Type: text/html\nCache-Control: private, No-Transform", false),
            ("HTTP/1.1 304 Not Modified\nETag: \"a\"", false),
        ] {
            assert_eq!(wants(get, response), expected, "{response}");
        }
        assert!(wants("GET / HTTP/1.1\nIf-None-Match: W/\"a\"", "HTTP/1.1 304 Not Modified\nETag: \"a\""));
    }
}
