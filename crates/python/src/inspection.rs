//! `modnet inspect` and doctor's line about it: enabling, disabling, what is enabled, who may use it.
//!
//! Rules: as in [`crate::registry`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use modnet_inspect::access::Access;
use modnet_inspect::load::{self, Failure, Plan};
use modnet_inspect::mode::Mode;
use modnet_inspect::place;
use modnet_inspect::reason::Reason;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

fn failed(failure: Failure) -> PyErr {
    PyOSError::new_err((failure.errno, failure.message))
}

fn refused(reason: Reason) -> PyErr {
    PyOSError::new_err((reason.errno(), reason.to_string(), reason.todo()))
}

/// Where the pins are: `MODNET_BPF_DIR`, else `/sys/fs/bpf/modnet`.
#[pyfunction]
fn inspect_directory() -> String {
    place::directory().display().to_string()
}

/// Puts the programs into the kernel and pins them in `directory`, open to `group` (None: to root alone).
#[pyfunction]
fn inspect_enable(
    py: Python<'_>,
    directory: &str,
    slots: u32,
    group: Option<u32>,
    check: bool,
) -> PyResult<()> {
    let plan = Plan { slots, group, debug: check };
    py.detach(|| load::enable(Path::new(directory), &plan)).map_err(failed)
}

/// Takes them out again.
#[pyfunction]
fn inspect_disable(py: Python<'_>, directory: &str) -> PyResult<()> {
    py.detach(|| load::disable(Path::new(directory))).map_err(failed)
}

/// The slots' counters, by name. `OSError` says why they cannot be read.
#[pyfunction]
fn inspect_status(directory: &str) -> PyResult<BTreeMap<&'static str, u64>> {
    let access = Access::open(Path::new(directory)).map_err(refused)?;
    let control = access.control();
    let attended = access.is_attended().map_err(refused)?;
    let [taken, given_back] = [&control.taken, &control.given_back].map(|n| n.load(Ordering::Relaxed));
    Ok(BTreeMap::from([
        ("slots", control.capacity.load(Ordering::Relaxed).into()),
        ("in_use", taken.saturating_sub(given_back)),
        ("taken", taken),
        ("refused", control.refused.load(Ordering::Relaxed)),
        ("lost", control.lost.load(Ordering::Relaxed)),
        ("contended", control.contended.load(Ordering::Relaxed)),
        ("unsettled", control.unsettled.load(Ordering::Relaxed)),
        ("overflow", control.overflow.load(Ordering::Relaxed)),
        ("attended", attended.into()),
        ("check", control.debug.load(Ordering::Relaxed).into()),
    ]))
}

/// Has the programs stand at their places for a moment, as every reader does. `OSError` says why they cannot.
#[pyfunction]
fn inspect_attend(directory: &str) -> PyResult<()> {
    Access::open(Path::new(directory)).and_then(|access| access.reader()).map(drop).map_err(refused)
}

/// What `MODNET_INSPECT` says: "auto", "bpf", "sampled" or "off".
#[pyfunction]
fn inspect_mode() -> PyResult<&'static str> {
    Ok(match Mode::from_env().map_err(PyValueError::new_err)? {
        Mode::Auto => "auto",
        Mode::Bpf => "bpf",
        Mode::Sampled => "sampled",
        Mode::Off => "off",
    })
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(inspect_directory, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_enable, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_disable, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_status, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_attend, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_mode, module)?)
}
