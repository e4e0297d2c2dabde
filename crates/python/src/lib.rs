//! `modnet._native`: the engine for Python.
//!
//! | file | holds |
//! | --- | --- |
//! | [`registry`] | names, records, control sockets |
//! | [`calls`] | the paper's calls |
//! | [`engine`] | a module's process |
//! | [`flow`] | what hooks are given |
//! | [`hooks`] | calling hooks written in Python |

mod calls;
mod engine;
mod flow;
mod hooks;
mod registry;

use pyo3::prelude::*;

/// Delegation in Rust; see `_native.pyi`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<flow::Flow>()?;
    calls::register(module)?;
    registry::register(module)
}
