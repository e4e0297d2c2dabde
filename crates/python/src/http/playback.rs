//! `HttpPlayback`: one flow of a module of messages without an engine. Part of `modnet.testing`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use modnet_engine::flow::Way;
use modnet_engine::hooks::{Orders, Verdict};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::module::Asked;
use super::talk::{Side, Talk};

/// One flow, event by event.
#[pyclass(module = "modnet._native")]
pub struct HttpPlayback {
    asked: Arc<Asked>,
    /// Python may share it among threads; a flow has one.
    talk: Mutex<Talk>,
    orders: Orders,
}

/// What goes on, and whether the flow is reset.
type Played<'py> = (Bound<'py, PyBytes>, bool);

fn way_of(outbound: bool) -> Way {
    if outbound {
        Way::Outbound
    } else {
        Way::Inbound
    }
}

fn talk(talk: &Mutex<Talk>) -> MutexGuard<'_, Talk> {
    talk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpPlayback {
    fn answer<'py>(&mut self, py: Python<'py>, out: &[u8]) -> Played<'py> {
        (PyBytes::new(py, out), std::mem::take(&mut self.orders).reset)
    }
}

#[pymethods]
impl HttpPlayback {
    #[new]
    fn new(module: &Bound<'_, PyAny>, hooks: HashSet<String>, flow: Py<PyAny>) -> PyResult<Self> {
        let asked = Arc::new(Asked::new(module, &hooks)?);
        let talk = Talk::new(Arc::clone(&asked), Side::Played(flow));
        Ok(Self { asked, talk: Mutex::new(talk), orders: Orders::default() })
    }

    /// Bytes come.
    fn data<'py>(&mut self, py: Python<'py>, outbound: bool, data: &[u8]) -> Played<'py> {
        let mut out = Vec::new();
        let verdict = talk(&self.talk).feed(way_of(outbound), data, [0; 2], &mut out, &mut self.orders);
        self.answer(py, if verdict == Verdict::Same { data } else { &out })
    }

    /// Nothing more comes for a while.
    fn silence<'py>(&mut self, py: Python<'py>, outbound: bool) -> Played<'py> {
        let mut out = Vec::new();
        talk(&self.talk).flush(way_of(outbound), &mut out, &mut self.orders);
        self.answer(py, &out)
    }

    /// A source ends.
    fn end<'py>(&mut self, py: Python<'py>, outbound: bool) -> Played<'py> {
        let mut out = Vec::new();
        talk(&self.talk).end(way_of(outbound), &mut out, &mut self.orders);
        self.answer(py, &out)
    }

    /// The module wants no more of the flow's messages.
    fn give_up(&mut self) {
        talk(&self.talk).give_up();
    }

    /// What the engine would count.
    fn counters(&self) -> Vec<(String, u64)> {
        self.asked.counted.all()
    }
}
