//! `modnet._native`: the engine for Python.
//!
//! | file | holds |
//! | --- | --- |
//! | [`registry`] | names, records, control sockets |
//! | [`calls`] | the paper's calls |
//! | [`engine`] | a module's process |
//! | [`flow`] | what hooks are given |
//! | [`hooks`] | calling hooks written in Python |
//! | [`http`] | modules that get requests and responses |
//! | [`revoke`] | taking back what has not been sent |
//! | [`tcp`] | the TCP state of a flow |
//! | [`inspection`] | enabling inspection, and what is enabled |

mod calls;
mod engine;
mod flow;
mod hooks;
mod http;
mod inspection;
mod registry;
mod revoke;
mod tcp;

use pyo3::prelude::*;

/// Delegation in Rust; see `_native.pyi`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<flow::Flow>()?;
    module.add_class::<revoke::Lock>()?;
    calls::register(module)?;
    tcp::register(module)?;
    inspection::register(module)?;
    http::register(module)?;
    registry::register(module)
}
