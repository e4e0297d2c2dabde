//! `Flow`: one stolen connection as a hook sees it.
//!
//! It holds facts and collects orders; the engine carries the orders out when the hook has returned. So it never
//! touches a socket, and an order given outside a hook is carried out after the flow's next one.

use std::net::SocketAddr;
use std::sync::Arc;

use modnet_engine::error::Error;
use modnet_engine::flow::Way;
use modnet_engine::hooks::{Opened, Orders, Origin, Place, Yield};
use modnet_engine::revoke::Next;
use modnet_engine::steal::doors::Doors;
use modnet_inspect::watch::Watch;
use modnet_revoke::queue::outlet::Outlet;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::registry::raise;
use crate::revoke::{self, Lock};
use crate::tcp::Tcp;

/// One stolen connection. Made by the engine, given to every hook; use it inside hooks only.
#[pyclass(dict, module = "modnet._native")]
pub struct Flow {
    id: u64,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    origin: Arc<Origin>,
    doors: Arc<Doors>,
    opened_at: f64,
    watch: Arc<Watch>,
    /// Made when it is first asked for.
    tcp: Option<Py<Tcp>>,
    outlet: Option<Arc<Outlet>>,
    next: Option<Arc<Next>>,
    /// Whether its module gets messages, not bytes.
    pub of_messages: bool,
    /// Told before each hook.
    pub bytes: [u64; 2],
    /// Taken after each hook.
    pub orders: Orders,
}

impl Flow {
    /// At a flow's beginning.
    pub fn new(opened: Opened) -> Self {
        Self {
            id: opened.id,
            peer: opened.ends.peer(),
            local: opened.ends.local(),
            origin: opened.origin,
            doors: opened.doors,
            opened_at: opened.at,
            watch: opened.tcp,
            tcp: None,
            outlet: opened.outlet,
            next: opened.next,
            of_messages: false,
            bytes: [0; 2],
            orders: Orders::default(),
        }
    }
}

impl Flow {
    /// Its TCP state.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The chain has changed.
    pub fn moved(&mut self, origin: Arc<Origin>, next: Option<Arc<Next>>) {
        (self.origin, self.next) = (origin, next);
    }
}

fn ways(direction: &str) -> PyResult<&'static [Way]> {
    match direction {
        "outbound" => Ok(&[Way::Outbound]),
        "inbound" => Ok(&[Way::Inbound]),
        "both" => Ok(&Way::BOTH),
        _ => Err(PyValueError::new_err(format!(
            "direction is \"outbound\", \"inbound\" or \"both\", not {direction:?}"
        ))),
    }
}

/// One name, or several.
#[derive(FromPyObject)]
pub enum Names {
    /// One.
    One(String),
    /// In order.
    Many(Vec<String>),
}

impl Names {
    /// As a list.
    pub fn all(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        }
    }
}

/// Where new modules come, and which way's bytes can go back to a socket that they get.
fn place(place: &str, outbound: &[u8], inbound: &[u8]) -> PyResult<Place> {
    let (place, stray) = match place {
        "replace" => (Place::Replace, None),
        "left" => (Place::Left, (!inbound.is_empty()).then_some(("inbound", "right"))),
        "right" => (Place::Right, (!outbound.is_empty()).then_some(("outbound", "left"))),
        _ => {
            return Err(PyValueError::new_err(format!(
                "where is \"left\", \"right\" or \"replace\", not {place:?}"
            )))
        }
    };
    if let Some((way, side)) = stray {
        return Err(PyValueError::new_err(format!(
            "{way} bytes do not pass new modules there: return them from a hook, or yield to the {side}"
        )));
    }
    Ok(place)
}

fn address(address: Option<SocketAddr>) -> Option<(String, u16)> {
    // As Python's own sockets show an IPv4 client of a dual-stack listener: as IPv6.
    address.map(|a| (a.ip().to_string(), a.port()))
}

#[pymethods]
impl Flow {
    /// Unique in this module process.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// Address and port of the network's end; None where the system did not tell.
    #[getter]
    fn peer(&self) -> Option<(String, u16)> {
        address(self.peer)
    }

    /// Address and port of the application's end; None where the system did not tell.
    #[getter]
    fn local(&self) -> Option<(String, u16)> {
        address(self.local)
    }

    /// Process id of the application.
    #[getter]
    fn application(&self) -> u32 {
        self.origin.application
    }

    /// Names of the whole chain, nearest to the application first.
    #[getter]
    fn chain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.origin.chain)
    }

    /// This module's place in `chain`, from 0.
    #[getter]
    fn position(&self) -> usize {
        self.origin.position
    }

    /// Bytes read from the application so far.
    #[getter]
    fn bytes_outbound(&self) -> u64 {
        self.bytes[Way::Outbound as usize]
    }

    /// Bytes read from the network so far.
    #[getter]
    fn bytes_inbound(&self) -> u64 {
        self.bytes[Way::Inbound as usize]
    }

    /// When it was stolen, in seconds since 1970.
    #[getter]
    fn opened_at(&self) -> f64 {
        self.opened_at
    }

    /// The TCP state of the real socket, wherever in the chain this module is.
    #[getter]
    fn tcp(&mut self, py: Python<'_>) -> PyResult<Py<Tcp>> {
        if let Some(tcp) = &self.tcp {
            return Ok(tcp.clone_ref(py));
        }
        let tcp = Py::new(py, Tcp::new(Arc::clone(&self.watch)))?;
        self.tcp = Some(tcp.clone_ref(py));
        Ok(tcp)
    }

    /// Gives a direction back to the native path, from the next byte on.
    #[pyo3(signature = (direction="both"))]
    fn forward(&mut self, direction: &str) -> PyResult<()> {
        for way in ways(direction)? {
            self.orders.forward[*way as usize] = true;
        }
        Ok(())
    }

    /// Limits a direction to `rate` bytes a second after the first `burst` bytes; None takes the limit away.
    #[pyo3(signature = (direction, rate, burst=65536))]
    fn limit(&mut self, direction: &str, rate: Option<f64>, burst: i64) -> PyResult<()> {
        let ways = ways(direction)?;
        if rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(PyValueError::new_err("rate is bytes a second, above 0, or None for no limit"));
        }
        let burst = u32::try_from(burst)
            .ok()
            .filter(|burst| *burst > 0)
            .ok_or_else(|| PyValueError::new_err("burst is from 1 to 4294967295 bytes"))?;
        for way in ways {
            self.orders.limit[*way as usize] = Some(rate.map(|rate| (rate, burst)));
        }
        Ok(())
    }

    /// Other modules take this one's place, or come between it and a neighbour.
    #[pyo3(
        signature = (names, r#where="replace", *, outbound=Vec::new(), inbound=Vec::new(), passed=Vec::new()),
        text_signature = "(self, /, names, where='replace', *, outbound=b'', inbound=b'', passed=b'')"
    )]
    fn yield_to(
        &mut self,
        names: Names,
        r#where: &str,
        outbound: Vec<u8>,
        inbound: Vec<u8>,
        passed: Vec<u8>,
    ) -> PyResult<()> {
        if self.of_messages && self.bytes != [0; 2] {
            let told =
                "a module of messages yields a flow in `opened` only: later a part of a message may be held";
            return Err(raise(Error::new(libc::EOPNOTSUPP, told)));
        }
        let names = names.all();
        let place = place(r#where, &outbound, &inbound)?;
        if self.orders.yielding.is_some() {
            return Err(PyValueError::new_err("the flow is yielded already; name all modules at once"));
        }
        self.origin.yielded(&names, place).map_err(raise)?;
        for name in &names {
            self.doors.find(name).map_err(raise)?;
        }
        self.orders.yielding = Some(Box::new(Yield { names, place, held: [outbound, inbound], passed }));
        Ok(())
    }

    /// Keeps about `most` bytes at most in the real socket that TCP has not sent yet; None: as the system does.
    fn limit_unsent(&mut self, most: Option<u32>) -> PyResult<()> {
        if most == Some(0) {
            return Err(PyValueError::new_err("most is at least 1 byte, or None for no limit"));
        }
        self.orders.unsent = Some(most.unwrap_or(0));
        Ok(())
    }

    /// Outbound bytes that TCP has not sent: those that can be taken back, wherever they lie, and those that the kernel holds.
    #[getter]
    fn unsent(&self) -> usize {
        let kernel = self.watch.read().map_or(0, |state| state.write_seq.wrapping_sub(state.snd_nxt));
        self.outlet.as_ref().map_or(0, |outlet| outlet.unsent()) + usize::try_from(kernel).unwrap_or(0)
    }

    /// Takes the last outbound bytes back, at most `length`, that were passed on and not given to the kernel.
    fn yank<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        revoke::yank(py, revoke::outlet(self.outlet.as_ref())?, self.next.as_deref(), length)
    }

    /// The bytes that `yank` would take.
    fn peek<'py>(&self, py: Python<'py>, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        revoke::peek(py, revoke::outlet(self.outlet.as_ref())?, self.next.as_deref(), length)
    }

    /// Puts outbound bytes behind the last that were passed on.
    fn write(&self, data: &[u8]) -> PyResult<()> {
        revoke::write(revoke::outlet(self.outlet.as_ref())?, data)
    }

    /// A context in which nothing outbound is sent and the last bytes stay the last.
    fn lock(&self) -> PyResult<Lock> {
        Ok(Lock::new(Arc::clone(revoke::outlet(self.outlet.as_ref())?)))
    }

    /// Ends the flow now: both ends see a connection reset.
    fn reset(&mut self) {
        self.orders.reset = true;
    }
}
