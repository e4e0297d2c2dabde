//! `modnet._native`: the engine for Python.
//!
//! | file | holds |
//! | --- | --- |
//! | [`registry`] | names, records, control sockets |

mod registry;

use pyo3::prelude::*;

/// Delegation in Rust; see `_native.pyi`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    registry::register(module)
}
