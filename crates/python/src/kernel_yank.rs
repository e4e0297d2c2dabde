//! The kernel yank for Python: `modnet.calls`, doctor's line, the experiment.
//!
//! Rules: as in [`crate::registry`]. One yanker for each thread, which keeps its memory and its guards until the thread ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use modnet_revoke::kernel::failure::Failure;
use modnet_revoke::kernel::probe;
use modnet_revoke::kernel::refuse::Refusal;
use modnet_revoke::kernel::yank::{Operation, Settings, Yanker};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

thread_local! {
    static YANKER: RefCell<Option<Yanker>> = const { RefCell::new(None) };
}

fn failed(failure: Failure) -> PyErr {
    PyOSError::new_err((failure.errno(), failure.to_string()))
}

fn with_yanker<T>(act: impl FnOnce(&mut Yanker) -> PyResult<T>) -> PyResult<T> {
    YANKER.with_borrow_mut(|slot| match slot {
        Some(yanker) => act(yanker),
        None => act(slot.insert(Yanker::new(Settings::default())?)),
    })
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
    with_yanker(|yanker| {
        yanker.settings.keep_window = keep_window;
        // Held: it takes less than a millisecond, and a thread that waits for the interpreter is one that is late.
        let taken = yanker.yank(socket, most, operation).map_err(failed)?;
        let costs = BTreeMap::from([
            ("total_us", taken.total.as_secs_f64() * 1e6),
            ("gap_us", taken.gap.as_secs_f64() * 1e6),
            ("sent", taken.sent as f64),
            ("kept", taken.kept as f64),
            ("input", taken.input as f64),
            ("window", taken.window.into()),
            ("window_kept", f64::from(u8::from(taken.window_kept))),
        ]);
        Ok((PyBytes::new(py, taken.bytes), costs))
    })
}

/// What this thread's yanks and their guards have counted.
#[pyfunction]
fn kernel_yank_counts() -> PyResult<BTreeMap<&'static str, u64>> {
    with_yanker(|yanker| {
        let counts = yanker.counts();
        Ok(BTreeMap::from([
            ("done", yanker.done),
            ("refused", yanker.refused),
            ("covered", counts.covered),
            ("caught", counts.caught),
            ("unheard", counts.unheard),
            ("resumed", counts.resumed),
        ]))
    })
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
    module.add_function(wrap_pyfunction!(kernel_yank_probe, module)?)
}
