//! The paper's calls for Python, for `python/modnet/calls.py`.
//!
//! Rules: as in [`crate::registry`]; descriptors become the caller's. `modnet.calls` has the epoll set.

use std::os::fd::IntoRawFd;

use modnet_engine::calls::revoke::Call;
use modnet_engine::calls::yielding::yield_sockets;
use modnet_engine::calls::{self, mask::Mask};
use modnet_engine::hooks::Place;
use modnet_engine::revoke::client::Asked;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::registry::raise;

/// Makes this process the module `name`.
#[pyfunction]
fn calls_register(py: Python<'_>, name: &str) -> PyResult<()> {
    py.detach(|| calls::register(name)).map_err(raise)
}

/// Applies a chain to a process, 0 being this one.
#[pyfunction]
fn calls_apply(py: Python<'_>, target: i32, chain: Vec<String>) -> PyResult<()> {
    let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    py.detach(|| calls::apply(target, &chain)).map_err(raise)
}

/// At most `most` stolen connections as (left, right).
#[pyfunction]
fn calls_getsockets(py: Python<'_>, cpu_mask: i64, most: usize) -> PyResult<Vec<(i32, i32)>> {
    let flows = py.detach(|| calls::getsockets(most, Mask::new(cpu_mask)?)).map_err(raise)?;
    Ok(flows.into_iter().map(|flow| (flow.left.into_raw_fd(), flow.right.into_raw_fd())).collect())
}

/// Yields a flow, or the application's own socket.
#[pyfunction]
fn calls_yield(
    py: Python<'_>,
    left: i32,
    right: i32,
    names: Vec<String>,
    operation: i32,
    held: (Vec<u8>, Vec<u8>),
) -> PyResult<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = match operation {
        1 => Place::Left,
        2 => Place::Right,
        _ => Place::Replace,
    };
    py.detach(|| yield_sockets(left, right, &names, place, [held.0, held.1])).map_err(raise)
}

/// The descriptor that is readable while there may be something for `calls_getsockets`.
#[pyfunction]
fn calls_gate(cpu_mask: i64) -> PyResult<i32> {
    Mask::new(cpu_mask).and_then(calls::gate).map_err(raise)
}

/// Takes or copies the last unsent bytes of a descriptor.
#[pyfunction]
fn calls_yank<'py>(
    py: Python<'py>,
    fd: i32,
    length: usize,
    peek: bool,
    lock: &str,
    dont_wait: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let lock = match lock {
        "none" => "none",
        "lock" => "lock",
        "unlock" => "unlock",
        _ => return Err(PyValueError::new_err("lock is none, lock or unlock")),
    };
    let call = Call { asked: Asked { length, peek, lock }, dont_wait };
    let bytes = py.detach(|| calls::revoke::yank(fd, call)).map_err(raise)?;
    Ok(PyBytes::new(py, &bytes))
}

/// The descriptor that has room while a yank that did not wait has its answer.
#[pyfunction]
fn calls_yank_ready(fd: i32) -> PyResult<i32> {
    calls::revoke::ready(fd).map_err(raise)
}

/// The descriptor that has room while somebody asks for bytes of a left socket.
#[pyfunction]
fn calls_yank_listen(left: i32) -> PyResult<i32> {
    calls::requests::listen(left).map_err(raise)
}

/// A left socket's bytes are not asked for any more.
#[pyfunction]
fn calls_yank_forget(left: i32) {
    calls::requests::forget(left);
}

/// How many bytes are still asked for.
#[pyfunction]
fn calls_yank_request(left: i32) -> PyResult<usize> {
    calls::requests::requested(left).map(|asked| asked.length - asked.given).map_err(raise)
}

/// Gives bytes back; none at all ends the answer.
#[pyfunction]
fn calls_yankwrite(py: Python<'_>, left: i32, data: &[u8]) -> PyResult<usize> {
    let data = data.to_vec();
    py.detach(|| calls::requests::write(left, &data)).map_err(raise)
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(calls_register, module)?)?;
    module.add_function(wrap_pyfunction!(calls_apply, module)?)?;
    module.add_function(wrap_pyfunction!(calls_getsockets, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yank, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yank_ready, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yank_listen, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yank_forget, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yank_request, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yankwrite, module)?)?;
    module.add_function(wrap_pyfunction!(calls_yield, module)?)?;
    module.add_function(wrap_pyfunction!(calls_gate, module)?)
}
