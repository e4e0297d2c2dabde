//! How long a message's body is: RFC 9112 §6.3, and what it leaves open refused.

use super::head::{Head, Start};
use super::reason::Reason;

/// How a body is delimited at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By its length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What the fields say, for either kind of message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    Nothing,
    Length(u64),
    Chunked,
    Coded,
}

/// The framing of a request.
///
/// # Errors
/// It is doubtful.
pub fn of_request(head: &Head) -> Result<Framing, Reason> {
    Ok(match said(head)? {
        Said::Nothing => Framing::None,
        Said::Length(0) => Framing::None,
        Said::Length(length) => Framing::Length(length),
        Said::Chunked => Framing::Chunked,
        // A server need not know the coding before the chunks, and what it then does differs.
        Said::Coded => return Err(Reason::TransferEncoding),
    })
}

/// The framing of a response to a request of this method.
///
/// # Errors
/// It is doubtful.
pub fn of_response(head: &Head, is_head: bool) -> Result<Framing, Reason> {
    let Start::Response { status } = head.start() else { return Err(Reason::BadHead) };
    let said = said(head)?;
    // Doubtful also where no body follows: what speaks so is not understood.
    if matches!(said, Said::Coded) {
        return Err(Reason::TransferEncoding);
    }
    if is_head || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::None);
    }
    Ok(match said {
        Said::Nothing => Framing::Close,
        Said::Length(0) => Framing::None,
        Said::Length(length) => Framing::Length(length),
        Said::Chunked => Framing::Chunked,
        Said::Coded => return Err(Reason::TransferEncoding),
    })
}

fn said(head: &Head) -> Result<Said, Reason> {
    head.said().unwrap_or_else(|| look(head))
}

/// The length that a head speaks of, whatever frames its body.
pub(super) fn length(head: &Head) -> Option<u64> {
    match said(head) {
        Ok(Said::Length(length)) => Some(length),
        Ok(_) => None,
        Err(_) => head.get("content-length").and_then(number),
    }
}

/// Looks at its fields.
pub(super) fn look(head: &Head) -> Result<Said, Reason> {
    if head.has("transfer-encoding") {
        return coded(head);
    }
    let mut length = None;
    for value in head.all("content-length") {
        let one = number(value).ok_or(Reason::BadLength)?;
        if length.is_some_and(|before| before != one) {
            return Err(Reason::BadLength);
        }
        length = Some(one);
    }
    Ok(length.map_or(Said::Nothing, Said::Length))
}

/// The same where there is a Transfer-Encoding.
fn coded(head: &Head) -> Result<Said, Reason> {
    if head.has("content-length") {
        return Err(Reason::BothLengths);
    }
    let mut codings = head.all("transfer-encoding");
    match (codings.next(), codings.next()) {
        (Some(coding), None) if head.minor() == 1 => {
            Ok(if coding.eq_ignore_ascii_case(b"chunked") { Said::Chunked } else { Said::Coded })
        }
        _ => Err(Reason::TransferEncoding),
    }
}

/// Digits only: no sign, no blank, no list.
fn number(value: &[u8]) -> Option<u64> {
    // 18 digits: what an i64 holds, as other parsers' do.
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value
        .iter()
        .try_fold(0, |sum: u64, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}
