//! Calls hooks written in Python, on the worker's thread.
//!
//! A hook gets a `memoryview` of a copy of the data, which is released when the hook has returned: whoever kept it gets
//! ValueError instead of other bytes. The copy (100 bytes: nothing; 64 KiB: 5 µs) is what makes that safe. If the hook
//! returns the very view, nothing more is copied. Must not have policy: what a failure brings is the engine's.

use std::collections::HashSet;
use std::sync::Arc;

use modnet_engine::error::{Error, Result};
use modnet_engine::flow::Way;
use modnet_engine::hooks::{Hooks, Opened, Orders, Origin, State, Verdict, Wants};
use modnet_engine::revoke::Next;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyMemoryView};

use crate::flow::Flow;

/// A module instance and what it overrides.
pub struct PythonModule {
    module: Py<PyAny>,
    wants: Wants,
    on_error_resets: bool,
}

impl PythonModule {
    /// `hooks`: names of the overridden ones.
    pub fn new(module: &Bound<'_, PyAny>, hooks: &HashSet<String>) -> PyResult<Self> {
        let has = |name: &str| hooks.contains(name);
        let on_error: String = module.getattr("on_error")?.extract()?;
        Ok(Self {
            module: module.clone().unbind(),
            wants: Wants {
                opened: has("opened"),
                data: [has("outbound"), has("inbound")],
                end: [has("outbound_end"), has("inbound_end")],
                closed: has("closed"),
                reads: 0,
                yank_requested: has("yank_requested"),
            },
            on_error_resets: on_error == "reset",
        })
    }

    /// Runs `call` with the flow told and its orders taken; a failure is told to the module.
    fn run(
        &self,
        state: &mut State,
        hook: &'static str,
        bytes: Option<[u64; 2]>,
        orders: &mut Orders,
        call: impl FnOnce(Python<'_>, &Bound<'_, PyAny>, &Bound<'_, Flow>) -> PyResult<Verdict>,
    ) -> Verdict {
        Python::attach(|py| {
            let Some(flow) = state.downcast_ref::<Py<Flow>>() else { return Verdict::Same };
            let flow = flow.bind(py);
            if let Some(bytes) = bytes {
                flow.borrow_mut().bytes = bytes;
            }
            let module = self.module.bind(py);
            let verdict = call(py, module, flow).unwrap_or_else(|error| {
                tell(module, hook, flow, &error);
                Verdict::Failed
            });
            *orders = std::mem::take(&mut flow.borrow_mut().orders);
            verdict
        })
    }
}

/// Tells a module what its own code has raised.
pub fn tell(module: &Bound<'_, PyAny>, hook: &str, flow: &Bound<'_, PyAny>, error: &PyErr) {
    let py = module.py();
    if let Err(worse) = module.call_method1("_hook_failed", (hook, flow, error.value(py))) {
        worse.write_unraisable(py, Some(module));
    }
}

fn data_hook(way: Way) -> &'static str {
    match way {
        Way::Outbound => "outbound",
        Way::Inbound => "inbound",
    }
}

fn end_hook(way: Way) -> &'static str {
    match way {
        Way::Outbound => "outbound_end",
        Way::Inbound => "inbound_end",
    }
}

/// The errno of an error that says "not now" or "not here".
fn refusal(py: Python<'_>, error: &PyErr) -> Option<i32> {
    if !error.is_instance_of::<PyOSError>(py) {
        return None;
    }
    let errno: i32 = error.value(py).getattr("errno").ok()?.extract().ok()?;
    [libc::EOPNOTSUPP, libc::EAGAIN, libc::ETIMEDOUT].contains(&errno).then_some(errno)
}

/// Copies what a hook returned.
fn take(
    py: Python<'_>,
    module: &Bound<'_, PyAny>,
    hook: &str,
    result: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> PyResult<()> {
    if let Ok(bytes) = result.cast::<PyBytes>() {
        out.extend_from_slice(bytes.as_bytes());
        return Ok(());
    }
    let Ok(buffer) = PyBuffer::<u8>::get(result) else {
        let (class, kind) = (module.get_type().name()?, result.get_type().name()?);
        return Err(PyTypeError::new_err(format!(
            "{class}.{hook} returned {kind}, which is not bytes: return data to pass it on, b'' to hold it back"
        )));
    };
    let start = out.len();
    out.resize(start + buffer.len_bytes(), 0);
    buffer.copy_to_slice(py, &mut out[start..])
}

impl Hooks for PythonModule {
    fn wants(&self) -> Wants {
        self.wants
    }

    fn on_error_resets(&self) -> bool {
        self.on_error_resets
    }

    fn state(&self, opened: Opened) -> State {
        Python::attach(|py| match Py::new(py, Flow::new(opened)) {
            Ok(flow) => Box::new(flow) as State,
            Err(error) => {
                // Out of memory: the flow goes on without hooks.
                error.write_unraisable(py, None);
                Box::new(())
            }
        })
    }

    fn opened(&self, state: &mut State, orders: &mut Orders) -> Verdict {
        self.run(state, "opened", None, orders, |py, module, flow| {
            module.call_method1(intern!(py, "opened"), (flow,))?;
            Ok(Verdict::Same)
        })
    }

    fn data(
        &self,
        state: &mut State,
        way: Way,
        data: &[u8],
        bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        let hook = data_hook(way);
        self.run(state, hook, Some(bytes), orders, |py, module, flow| {
            let view = PyMemoryView::from(PyBytes::new(py, data).as_any())?;
            let name = match way {
                Way::Outbound => intern!(py, "outbound"),
                Way::Inbound => intern!(py, "inbound"),
            };
            let result = module.call_method1(name, (flow, &view));
            let verdict = result.and_then(|result| {
                if result.is(&view) {
                    return Ok(Verdict::Same);
                }
                take(py, module, hook, &result, out)?;
                Ok(Verdict::Replaced)
            });
            // BufferError: a view or an array made from it lives on; it keeps the copy alive.
            let _ = view.call_method0(intern!(py, "release"));
            verdict
        })
    }

    fn end(
        &self,
        state: &mut State,
        way: Way,
        bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        let hook = end_hook(way);
        self.run(state, hook, Some(bytes), orders, |py, module, flow| {
            let result = module.call_method1(hook, (flow,))?;
            if result.is_none() {
                return Ok(Verdict::Same);
            }
            take(py, module, hook, &result, out)?;
            Ok(Verdict::Replaced)
        })
    }

    fn yank_requested(
        &self,
        state: &mut State,
        length: usize,
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> std::result::Result<Verdict, i32> {
        let hook = "yank_requested";
        let mut refused = None;
        let verdict = self.run(state, hook, None, orders, |py, module, flow| {
            let result = match module.call_method1(hook, (flow, length)) {
                Err(error) if refusal(py, &error).is_some() => {
                    // What flow.yank raises when a later module refuses is no fault of this one.
                    refused = refusal(py, &error);
                    return Ok(Verdict::Same);
                }
                result => result?,
            };
            take(py, module, hook, &result, out)?;
            if out.len() > length {
                let class = module.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "{class}.{hook} returned {} bytes where {length} were asked for",
                    out.len()
                )));
            }
            Ok(Verdict::Replaced)
        });
        refused.map_or(Ok(verdict), Err)
    }

    fn moved(&self, state: &mut State, origin: &Arc<Origin>, next: Option<Arc<Next>>) {
        Python::attach(|py| {
            if let Some(flow) = state.downcast_ref::<Py<Flow>>() {
                flow.bind(py).borrow_mut().moved(Arc::clone(origin), next);
            }
        });
    }

    fn closed(&self, state: &mut State, bytes: [u64; 2]) -> Verdict {
        let verdict = self.run(state, "closed", Some(bytes), &mut Orders::default(), |py, module, flow| {
            module.call_method1(intern!(py, "closed"), (flow,))?;
            Ok(Verdict::Same)
        });
        verdict
    }

    fn reload(&self) -> Result<()> {
        Python::attach(|py| {
            let module = self.module.bind(py);
            let answer = module.call_method0("_reload").and_then(|answer| answer.extract::<(i32, String)>());
            match answer {
                Ok((0, _)) => Ok(()),
                Ok((errno, said)) => Err(Error::new(errno, said)),
                Err(error) => {
                    error.write_unraisable(py, Some(module));
                    Err(Error::new(libc::EINVAL, "it cannot be read anew; see the module's log"))
                }
            }
        })
    }

    fn counters(&self) -> Vec<(String, u64)> {
        counters(&self.module)
    }
}

/// What the module itself counts.
pub fn counters(module: &Py<PyAny>) -> Vec<(String, u64)> {
    Python::attach(|py| {
        let module = module.bind(py);
        let counted = module
            .call_method0("counters")
            .and_then(|all| all.cast::<PyMapping>()?.items()?.extract::<Vec<(String, u64)>>());
        counted.unwrap_or_else(|error| {
            error.write_unraisable(py, Some(module));
            Vec::new()
        })
    })
}
