//! `LateSocket`: what `modnet.revoke.RevocableSocket` keeps beside a socket of this process.
//!
//! Rules: nothing here waits with the interpreter's lock; a signal's handler runs during a wait. Must not know addresses,
//! timeouts or modes: the Python class does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use modnet_engine::revocable::{self, Revocable};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::registry::raise;
use crate::revoke::{self, Lock};

/// The unsent bytes of one connected TCP socket.
#[pyclass(frozen, module = "modnet._native")]
pub struct LateSocket(Revocable);

fn failed(error: io::Error) -> PyErr {
    if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return raise(modnet_engine::error::Error::new(
            libc::EOPNOTSUPP,
            "this revocable socket was made before a fork and is the parent's: use it there",
        ));
    }
    // As the standard library's sockets say it.
    error.into()
}

#[pymethods]
impl LateSocket {
    #[new]
    fn new(fd: RawFd, most: usize) -> PyResult<Self> {
        if fd < 0 || most == 0 {
            return Err(PyValueError::new_err(
                "an open descriptor and room for at least one byte are needed",
            ));
        }
        // SAFETY: the caller holds it during the call; what is kept is a duplicate.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        Revocable::new(socket, most).map(Self).map_err(raise)
    }

    /// Takes what there is room for, and sends what can be sent; 0: there is no room.
    #[allow(clippy::needless_pass_by_value)] // as pyo3 gives it
    fn append(&self, data: PyBuffer<u8>) -> PyResult<usize> {
        if data.item_count() == 0 {
            return Ok(0);
        }
        if !data.is_c_contiguous() {
            return Err(PyValueError::new_err("the bytes must lie one after the other"));
        }
        // SAFETY: the buffer is contiguous, has so many bytes, and is held through the call with the interpreter's lock, so
        // that nobody resizes it; a writer without the lock would garble its own data, as with the standard library's.
        let bytes = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), data.item_count()) };
        self.0.append(bytes).map_err(failed)
    }

    /// Waits until there is room, or nothing waits any more; False: not within so many seconds.
    fn wait(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let end = seconds.map(|s| Instant::now() + Duration::from_secs_f64(s.clamp(0.0, 1e9)));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            match py.detach(|| self.0.wait(left)) {
                Ok(rung) => return Ok(rung),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => py.check_signals()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes `bell` readable when so much or less waits.
    fn ring_at(&self, level: usize) {
        self.0.ring_at(level);
    }

    /// Stops the ring.
    fn hear(&self) {
        self.0.hear();
    }

    /// A descriptor that is readable from then on; it stays this object's.
    #[getter]
    fn bell(&self) -> RawFd {
        self.0.bell().as_raw_fd()
    }

    /// Bytes that wait here.
    #[getter]
    fn waiting(&self) -> usize {
        self.0.outlet().len()
    }

    /// Bytes that wait here, and those that the kernel holds unsent.
    #[getter]
    fn unsent(&self) -> usize {
        self.0.unsent()
    }

    /// The errno of what has broken the connection; 0: nothing has.
    #[getter]
    fn broken(&self) -> i32 {
        self.0.broken().unwrap_or(0)
    }

    /// Takes the last bytes back.
    fn yank<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        revoke::yank(py, self.0.outlet(), None, length)
    }

    /// Copies the last bytes.
    fn peek<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        revoke::peek(py, self.0.outlet(), None, length)
    }

    /// Puts bytes behind the last that wait, before those that came under a lock.
    fn write(&self, data: &[u8]) -> PyResult<()> {
        revoke::write(self.0.outlet(), data)
    }

    /// A context in which nothing is sent.
    fn lock(&self) -> Lock {
        Lock::new(std::sync::Arc::clone(self.0.outlet()))
    }

    /// No more is sent after what waits.
    fn shutdown(&self) -> PyResult<()> {
        self.0.shutdown().map_err(failed)
    }

    /// The socket is closed; what waits is sent first.
    fn close(&self) {
        self.0.close();
    }
}

/// Closes what is left and waits until all has been sent, at most so many seconds; how many sockets are not done.
#[pyfunction]
fn late_drain(py: Python<'_>, seconds: f64) -> usize {
    py.detach(|| revocable::drain(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))))
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LateSocket>()?;
    module.add_function(wrap_pyfunction!(late_drain, module)?)
}
