//! `Engine`: a module's process for `modnet.host`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use modnet_engine::engine::{Around, Config, Engine as Native};
use modnet_engine::error::Error;
use modnet_engine::hooks::{Forward, Hooks};
use modnet_engine::pairs::Pairs;
use modnet_engine::runtime::Runtime;
use modnet_inspect::mode::Mode;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::hooks::PythonModule;
use crate::http::Http;
use crate::registry::raise;

/// The workers of one registered module.
#[pyclass(frozen, module = "modnet._native")]
pub struct Engine {
    name: String,
    config: Mutex<Option<Config>>,
    running: Mutex<Option<Arc<Native>>>,
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|e| PyValueError::new_err(format!("drain: {e}")))
}

impl Engine {
    fn running(&self) -> PyResult<Arc<Native>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clone().ok_or_else(|| PyRuntimeError::new_err("the engine has not been started"))
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (module, *, name, runtime_dir, hooks, spec, persistent, drain, send_queue, revocable, workers))]
    #[allow(clippy::too_many_arguments)] // named in Python; one place calls it
    fn new(
        module: &Bound<'_, PyAny>,
        name: String,
        runtime_dir: Option<&str>,
        hooks: HashSet<String>,
        spec: String,
        persistent: bool,
        drain: f64,
        send_queue: usize,
        revocable: Option<usize>,
        workers: Option<usize>,
    ) -> PyResult<Self> {
        if send_queue == 0 || revocable == Some(0) {
            return Err(PyValueError::new_err("send_queue is at least 1 byte"));
        }
        Mode::from_env().map_err(|line| raise(Error::new(libc::EINVAL, line)))?;
        // A module without hooks never meets the interpreter.
        let native: Arc<dyn Hooks> = if hooks.is_empty() {
            Arc::new(Forward)
        } else if module.hasattr("wanted")? {
            Arc::new(Http::new(module, &hooks)?)
        } else {
            Arc::new(PythonModule::new(module, &hooks)?)
        };
        let around: Option<Around> = (!hooks.is_empty()).then(|| {
            Arc::new(|work: &mut (dyn FnMut() + Send)| {
                // The thread keeps its state, so that attaching for a hook is cheap.
                Python::attach(|py| py.detach(&mut *work));
            }) as Around
        });
        let config = Config {
            runtime: runtime_dir.map_or_else(Runtime::from_env, Runtime::at).map_err(raise)?,
            name: name.clone(),
            hooks: native,
            spec,
            persistent,
            drain: seconds(drain)?,
            send_queue,
            revocable,
            workers,
            pairs: Pairs::from_env().map_err(raise)?,
            around,
        };
        Ok(Self { name, config: Mutex::new(Some(config)), running: Mutex::new(None) })
    }

    /// What the module is registered under.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// Registers the name and starts the workers.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).take();
        let config = config.ok_or_else(|| PyRuntimeError::new_err("the engine was started already"))?;
        let engine = py.detach(|| Native::start(config)).map_err(raise)?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(engine));
        Ok(())
    }

    /// Returns once the engine has ended.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let running = self.running()?;
        py.detach(|| running.wait());
        Ok(())
    }

    /// Takes no more flows, gives those there are `drain` seconds to end, then resets them.
    fn stop(&self, py: Python<'_>, drain: f64) -> PyResult<()> {
        let (running, drain) = (self.running()?, seconds(drain)?);
        py.detach(|| running.stop(drain));
        Ok(())
    }
}
