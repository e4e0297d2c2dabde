//! The registry, the records and the control sockets, for `python/modnet/registry.py` and `launch.py`.
//!
//! Rules: each function is a few lines over one of `modnet_engine`; what waits does so without the interpreter's
//! lock; an error becomes the `OSError` of its errno, with our line as `strerror`. It must not have policy.

use std::collections::BTreeMap;
use std::time::Duration;

use modnet_abi::counter;
use modnet_engine::error::{Error, Result};
use modnet_engine::pairs::{self, Pairs};
use modnet_engine::record::{room, Plan, Record};
use modnet_engine::runtime::Runtime;
use modnet_engine::{apply, census, control, janitor, record, registry};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// The `OSError` (or its subclass) of an error of the engine.
pub fn raise(error: Error) -> PyErr {
    PyOSError::new_err((error.errno, error.message))
}

/// Number, owner, chain (None: half written), fail closed, whether pairs outlive flows, counters by index.
type Row = (u32, u32, Option<Vec<String>>, bool, &'static str, Vec<u64>);

fn outside<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(raise)
}

/// The runtime directory: `path`, or what the environment says. Made and checked where `prepare` says so.
#[pyfunction]
#[pyo3(signature = (path=None, prepare=false))]
fn runtime_dir(path: Option<&str>, prepare: bool) -> PyResult<String> {
    let runtime = path.map_or_else(Runtime::from_env, Runtime::at).map_err(raise)?;
    if prepare {
        runtime.prepare().map_err(raise)?;
    } else {
        runtime.open().map_err(raise)?;
    }
    let text = runtime.path.into_os_string().into_string();
    text.map_err(|_| PyValueError::new_err("the runtime directory's path is not UTF-8"))
}

/// The names of the living modules.
#[pyfunction]
fn modules(py: Python<'_>, runtime: &str) -> PyResult<Vec<String>> {
    outside(py, || registry::list(&Runtime::at(runtime)?))
}

/// Whether a module of that name lives.
#[pyfunction]
fn is_living(py: Python<'_>, runtime: &str, name: &str) -> PyResult<bool> {
    outside(py, || registry::is_living(&Runtime::at(runtime)?, name))
}

/// One request on a control socket; the answer's objects as JSON.
#[pyfunction]
fn ask(py: Python<'_>, runtime: &str, name: &str, request: &str, seconds: f64) -> PyResult<Vec<String>> {
    let limit = Duration::try_from_secs_f64(seconds).map_err(|e| PyValueError::new_err(e.to_string()))?;
    outside(py, || control::client::ask_text(&Runtime::at(runtime)?, name, request, limit))
}

/// Hidden base, shown hard limit and the hard limit to set (None: none), see `modnet_engine::record::room`.
#[pyfunction]
fn plan_room(hard: u64, most: u64, privileged: bool) -> PyResult<(u32, u64, Option<u64>)> {
    let room = room::plan(hard, most, privileged).map_err(raise)?;
    Ok((room.hidden_base, room.shown_hard_limit, room.raise_to))
}

/// Writes the record of process `pid`; returns its absolute path. `MODNET_PAIRS` says what becomes of its pairs, `MODNET_INLINE`
/// whether small writes go through shared memory.
#[pyfunction]
fn create_record(
    runtime: &str,
    pid: u32,
    chain: Vec<String>,
    fail_closed: bool,
    hidden_base: u32,
    shown_hard_limit: u64,
) -> PyResult<String> {
    let runtime = Runtime::at(runtime).map_err(raise)?;
    let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    let pairs = Pairs::from_env().map_err(raise)?;
    let inline = pairs::inline_from_env().map_err(raise)?;
    let plan =
        Plan { root_pid: pid, chain: &chain, fail_closed, pairs, inline, hidden_base, shown_hard_limit };
    Record::create(&runtime, &plan).map_err(raise)?;
    Ok(runtime.record(pid).display().to_string())
}

/// Removes the record of process `pid`, if there is one.
#[pyfunction]
fn remove_record(runtime: &str, pid: u32) -> PyResult<()> {
    record::remove(&Runtime::at(runtime).map_err(raise)?, pid).map_err(raise)
}

/// Every record that can be read.
#[pyfunction]
fn records(py: Python<'_>, runtime: &str) -> PyResult<Vec<Row>> {
    outside(py, || {
        let runtime = Runtime::at(runtime)?;
        let mut rows = Vec::new();
        for number in record::list(&runtime)? {
            // One that has gone since, or is not a record, is not a row.
            let Ok(open) = Record::look(&runtime, number) else { continue };
            let applied = open.applied().ok();
            let closed = applied.as_ref().is_some_and(|a| a.fail_closed);
            let pairs = applied.as_ref().map_or("", |a| a.pairs.name());
            let chain = applied.map(|a| a.chain);
            rows.push((number, open.owner, chain, closed, pairs, open.counters().to_vec()));
        }
        Ok(rows)
    })
}

/// Who maps which record, oldest process first; what nobody needs is removed first where `sweep` says so.
#[pyfunction]
#[pyo3(signature = (runtime, sweep=false))]
fn users(py: Python<'_>, runtime: &str, sweep: bool) -> PyResult<BTreeMap<u32, Vec<u32>>> {
    outside(py, || {
        let runtime = Runtime::at(runtime)?;
        if sweep {
            census::sweep(&runtime)
        } else {
            census::take(&runtime)
        }
    })
}

/// The runtime directory and the number of the record that a process maps.
#[pyfunction]
fn find_record(pid: u32) -> PyResult<(String, u32)> {
    let (runtime, number) = apply::find(pid).map_err(raise)?;
    Ok((runtime.path.display().to_string(), number))
}

/// Applies a chain to a running process; returns its record and the chain until now. `fail_closed` None: as it was.
#[pyfunction]
#[pyo3(signature = (pid, chain, fail_closed=None))]
fn apply_chain(
    py: Python<'_>,
    pid: u32,
    chain: Vec<String>,
    fail_closed: Option<bool>,
) -> PyResult<(u32, Vec<String>)> {
    outside(py, || {
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        let change = apply::apply(pid, &chain, fail_closed)?;
        Ok((change.record, change.before))
    })
}

/// Whether somebody removes what killed processes leave.
#[pyfunction]
fn janitor_is_there(runtime: &str) -> PyResult<bool> {
    janitor::is_there(&Runtime::at(runtime).map_err(raise)?).map_err(raise)
}

/// Removes what killed processes leave, until nothing is left.
#[pyfunction]
fn janitor_work(py: Python<'_>, runtime: &str) -> PyResult<()> {
    outside(py, || janitor::work(&Runtime::at(runtime)?))
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let counters: Vec<(usize, &str, &str)> =
        counter::TABLE.iter().map(|(index, name, doc)| (*index, *name, doc.trim())).collect();
    module.add("COUNTERS", counters)?;
    module.add("MAX_CHAIN", modnet_abi::record::MAX_CHAIN)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    module.add_function(wrap_pyfunction!(runtime_dir, module)?)?;
    module.add_function(wrap_pyfunction!(modules, module)?)?;
    module.add_function(wrap_pyfunction!(is_living, module)?)?;
    module.add_function(wrap_pyfunction!(ask, module)?)?;
    module.add_function(wrap_pyfunction!(plan_room, module)?)?;
    module.add_function(wrap_pyfunction!(create_record, module)?)?;
    module.add_function(wrap_pyfunction!(remove_record, module)?)?;
    module.add_function(wrap_pyfunction!(records, module)?)?;
    module.add_function(wrap_pyfunction!(users, module)?)?;
    module.add_function(wrap_pyfunction!(find_record, module)?)?;
    module.add_function(wrap_pyfunction!(apply_chain, module)?)?;
    module.add_function(wrap_pyfunction!(janitor_is_there, module)?)?;
    module.add_function(wrap_pyfunction!(janitor_work, module)?)
}
