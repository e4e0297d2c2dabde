//! `modnet.http` for the engine: messages framed in Rust, decided about in Python.
//!
//! | file | holds |
//! | --- | --- |
//! | [`module`] | the hooks of a module of messages, and its counters |
//! | [`talk`] | one flow: its connection, and the asking |
//! | [`message`] | `Request` and `Response`, as hooks get them |
//! | [`headers`] | their fields |
//! | [`body`] | bodies that are changed: a coding with its level's policy, or Python |
//! | [`playback`] | the same without an engine, for `modnet.testing` |
//!
//! Python is entered once for a head that the module wants, once for each piece of a body that Python itself changes, and
//! for a level at most every `every` seconds, and less often where that would be dear ([`body`]). Nothing here decides what becomes of a message.

mod body;
mod headers;
mod message;
mod module;
mod playback;
mod talk;

use pyo3::prelude::*;

pub use module::Http;

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<headers::HttpHeaders>()?;
    module.add_class::<message::HttpRequest>()?;
    module.add_class::<message::HttpResponse>()?;
    module.add_class::<body::HttpEncoding>()?;
    module.add_class::<playback::HttpPlayback>()?;
    module.add("HTTP_CODINGS", modnet_transform::encode::NAMES.to_vec())
}
