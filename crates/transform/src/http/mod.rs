//! One connection's HTTP/1.x messages: found in its bytes, shown to whoever decides, changed on the way.
//!
//! Sans-I/O: [`Connection::feed`] takes what came from one end and appends what goes to the other; [`Judge`] is asked once
//! for each head. Message framing follows RFC 9112; plain heads are read here, others by httparse, with what it tolerates refused.
//!
//! | file | holds |
//! | --- | --- |
//! | [`connection`] | which response answers which request; when the rest is nobody's |
//! | [`lane`] | one direction: heads and bodies in turn |
//! | [`head`] | a head: its fields, as they were sent, and edited |
//! | [`filter`] | which responses anybody is asked about |
//! | [`framing`] | how long a body is |
//! | [`chunked`] | the chunked coding, taken apart |
//! | [`body`] | a changed body, and its new framing |
//! | [`reason`] | why bytes are passed without being looked at |
//! | [`output`] | what goes on, without a copy while nothing was changed |
//! | [`waiting`] | requests that wait for their response |
//!
//! Rules:
//! - What nobody changed goes on byte for byte, in its own order and case, however it was cut.
//! - What two parsers might read in two ways is passed as it is, and so is everything after it, in both directions: this
//!   end never has an opinion of its own on where a doubtful message ends. Messages that are under way are finished first.
//! - What cannot be HTTP is passed on at once, never held until more comes.
//! - A changed body whose source is cut short ends without its terminator, so that the receiver notices.
//! - Memory: a head of at most [`head::MOST`] each way, the heads of requests that wait for their response
//!   ([`waiting::MOST`]), trailers as long as a head, and what a changed body's transform keeps.

pub mod body;
pub mod chunked;
pub mod connection;
pub mod filter;
pub mod framing;
pub mod head;
pub mod lane;
pub mod output;
pub mod reason;
#[cfg(test)]
mod tests;
pub mod waiting;

pub use body::{Body, Broken};
pub use connection::{Change, Connection, Fed, Judge, Room};
pub use head::Head;
pub use lane::Way;
pub use reason::Reason;
pub use waiting::Request;
