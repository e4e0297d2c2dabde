//! The kernel yank for Python: `modnet.calls`, doctor's line, the experiment.
//!
//! Rules: as in [`crate::registry`]. The yanker is the thread's own, which C's calls use too (`modnet_revoke::kernel::own`).

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use modnet_revoke::kernel::failure::Failure;
use modnet_revoke::kernel::own;
use modnet_revoke::kernel::probe;
use modnet_revoke::kernel::refuse::Refusal;
use modnet_revoke::kernel::rescue::{Outcome, Rescued};
use modnet_revoke::kernel::yank::Operation;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

fn failed(failure: Failure) -> PyErr {
    PyOSError::new_err((failure.errno(), failure.to_string()))
}

/// The last `most` bytes that the kernel has not sent on the socket `fd`, taken back; with `peek` copied.
#[pyfunction]
#[pyo3(signature = (fd, most, peek=false))]
fn kernel_yank<'py>(py: Python<'py>, fd: i32, most: usize, peek: bool) -> PyResult<Bound<'py, PyBytes>> {
    kernel_yank_costs(py, fd, most, peek, true).map(|(bytes, _)| bytes)
}

/// The same, and what it cost: microseconds, bytes that were put back, the congestion window. Without `keep_window` that begins
/// anew.
#[pyfunction]
#[pyo3(signature = (fd, most, peek=false, keep_window=true))]
fn kernel_yank_costs<'py>(
    py: Python<'py>,
    fd: i32,
    most: usize,
    peek: bool,
    keep_window: bool,
) -> PyResult<(Bound<'py, PyBytes>, BTreeMap<&'static str, f64>)> {
    if fd < 0 {
        return Err(PyOSError::new_err((libc::EBADF, "kernel yank: the descriptor is closed")));
    }
    // SAFETY: the caller's descriptor, which it keeps open through the call; a closed one is EBADF.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let operation = if peek { Operation::Peek } else { Operation::Yank };
    // Held: it takes less than a millisecond, and a thread that waits for the interpreter is one that is late.
    own::yank(socket, most, operation, keep_window, |taken| {
        let costs = BTreeMap::from([
            ("total_us", taken.total.as_secs_f64() * 1e6),
            ("gap_us", taken.gap.as_secs_f64() * 1e6),
            ("sent", taken.sent as f64),
            ("kept", taken.kept as f64),
            ("input", taken.input as f64),
            ("window", taken.window.into()),
            ("window_kept", f64::from(u8::from(taken.window_kept))),
        ]);
        (PyBytes::new(py, taken.bytes), costs)
    })
    .map_err(failed)
}

/// What this thread's yanks and their guards have counted.
#[pyfunction]
fn kernel_yank_counts() -> PyResult<BTreeMap<&'static str, u64>> {
    own::with(|yanker| {
        let counts = yanker.counts();
        BTreeMap::from([
            ("done", yanker.done),
            ("refused", yanker.refused),
            ("covered", counts.covered),
            ("caught", counts.caught),
            ("unheard", counts.unheard),
            ("resumed", counts.resumed),
        ])
    })
    .map_err(failed)
}

/// Brings back the connections that killed yankers of this user have left half taken apart: of each a process that has it, and
/// what became of it. OSError: nothing is written down that they could be found by; why.
#[pyfunction]
fn kernel_yank_rescue() -> PyResult<Vec<(u32, String)>> {
    let outcomes = own::rescue().map_err(|why| PyOSError::new_err((libc::EOPNOTSUPP, why)))?;
    Ok(outcomes.into_iter().map(|Outcome { holder, result }| (holder, in_words(result))).collect())
}

fn in_words(result: Result<Rescued, Failure>) -> String {
    match result {
        Ok(Rescued::Whole | Rescued::Left) => "as it was".to_owned(),
        Ok(Rescued::Rebuilt) => "rebuilt, with all of its bytes".to_owned(),
        Ok(Rescued::Refilled) => "rebuilt, without the bytes that had been taken".to_owned(),
        Ok(Rescued::Dead) => "dead: it could not be rebuilt".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// What forbids a yank: errno and reason of each.
#[pyfunction]
fn kernel_yank_refusals() -> Vec<(i32, &'static str)> {
    Refusal::all().map(|refusal| (refusal.errno(), refusal.reason())).collect()
}

/// A trial on a connection of its own: microseconds, why congestion windows begin anew (or None), whether half-closed
/// connections are possible.
#[pyfunction]
fn kernel_yank_probe(py: Python<'_>) -> PyResult<(f64, Option<String>, bool)> {
    let found = py.detach(probe::probe).map_err(failed)?;
    Ok((found.total.as_secs_f64() * 1e6, found.without_windows, found.half_closed))
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(kernel_yank, module)?)?;
    module.add_function(wrap_pyfunction!(kernel_yank_costs, module)?)?;
    module.add_function(wrap_pyfunction!(kernel_yank_counts, module)?)?;
    module.add_function(wrap_pyfunction!(kernel_yank_refusals, module)?)?;
    module.add_function(wrap_pyfunction!(kernel_yank_rescue, module)?)?;
    module.add_function(wrap_pyfunction!(kernel_yank_probe, module)?)
}
