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
//! | [`late_socket`] | the same for sockets of this very process |
//! | [`tcp`] | the TCP state of a flow |
//! | [`estimate`] | a client's bandwidth |
//! | [`inspection`] | enabling inspection, and what is enabled |
//! | [`kernel_yank`] | the kernel yank |

mod calls;
mod engine;
mod estimate;
mod flow;
mod hooks;
mod http;
mod inspection;
mod kernel_yank;
mod late_socket;
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
    late_socket::register(module)?;
    calls::register(module)?;
    tcp::register(module)?;
    estimate::register(module)?;
    inspection::register(module)?;
    kernel_yank::register(module)?;
    http::register(module)?;
    registry::register(module)
}
