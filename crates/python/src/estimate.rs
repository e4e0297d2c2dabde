//! `modnet.estimate`'s estimators: snapshots in, numbers out.
//!
//! What `flow.tcp.snapshot()` gives is read where it stands, with no look-up of an attribute; anything else by the attributes that
//! `modnet.estimate.Snapshot` names. `bandwidth.pair` and `bandwidth.rate` are views of their `Bandwidth`: one object a
//! connection, and nothing of it lies elsewhere.
//!
//! Rules: an estimator is borrowed for a computation, never while Python's code may run. Must not estimate: `crates/estimate` does.

use modnet_abi::sockstate::SockState;
use modnet_estimate as estimate;
use modnet_estimate::{Judged, Measure, Packet, Snapshot, Source};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::tcp::TcpSnapshot;

/// A time or a number of bytes; above 2^63 none is.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

#[allow(clippy::cast_precision_loss)] // bytes a second
fn of_state(state: &SockState) -> Snapshot {
    Snapshot {
        updated_ns: signed(state.updated_ns),
        snd_una: state.snd_una,
        snd_nxt: state.snd_nxt,
        write_seq: state.write_seq,
        mss: i64::from(state.mss),
        srtt_us: i64::from(state.srtt_us),
        min_rtt_us: i64::from(state.min_rtt_us),
        delivered: state.delivered,
        bytes_acked: signed(state.bytes_acked),
        delivery_rate: state.delivery_rate as f64,
        retransmits: state.retransmits,
        packets: state.packets.map(|packet| Packet {
            arrival_ns: signed(packet.arrival_ns),
            sent_ns: signed(packet.sent_ns),
            acked_bytes: i64::from(packet.acked_bytes),
        }),
    }
}

fn of_attributes(object: &Bound<'_, PyAny>) -> PyResult<Snapshot> {
    macro_rules! read {
        ($object:expr, $name:literal) => {
            $object.getattr(intern!(object.py(), $name))?.extract()?
        };
    }
    let [newest, before]: [Bound<'_, PyAny>; 2] = read!(object, "packets");
    let packet = |packet: &Bound<'_, PyAny>| -> PyResult<Packet> {
        Ok(Packet {
            arrival_ns: read!(packet, "arrival_ns"),
            sent_ns: read!(packet, "sent_ns"),
            acked_bytes: read!(packet, "acked_bytes"),
        })
    };
    Ok(Snapshot {
        updated_ns: read!(object, "updated_ns"),
        snd_una: read!(object, "snd_una"),
        snd_nxt: read!(object, "snd_nxt"),
        write_seq: read!(object, "write_seq"),
        mss: read!(object, "mss"),
        srtt_us: read!(object, "srtt_us"),
        min_rtt_us: read!(object, "min_rtt_us"),
        delivered: read!(object, "delivered"),
        bytes_acked: read!(object, "bytes_acked"),
        delivery_rate: read!(object, "delivery_rate"),
        retransmits: read!(object, "retransmits"),
        packets: [packet(&newest)?, packet(&before)?],
    })
}

/// What `observe` takes.
pub struct Reading(Snapshot);

impl<'py> FromPyObject<'_, 'py> for Reading {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.cast::<TcpSnapshot>() {
            Ok(tcp) => Ok(Self(of_state(&tcp.get().0))),
            Err(_) => of_attributes(&object).map(Self),
        }
    }
}

/// As `modnet.estimate.Measure`, a named tuple. By `tuple.__new__`: the named tuple's own is a function in Python.
fn measured(py: Python<'_>, measure: Measure) -> PyResult<Bound<'_, PyAny>> {
    static MEASURE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = MEASURE.import(py, "modnet.estimate.measure", "Measure")?;
    let new = NEW.get_or_try_init(py, || {
        py.get_type::<PyTuple>().getattr(intern!(py, "__new__")).map(Bound::unbind)
    })?;
    let source: &Bound<'_, PyString> = match measure.source {
        Source::Rate => intern!(py, "rate"),
        Source::Kernel => intern!(py, "kernel"),
        Source::Pair => intern!(py, "pair"),
    };
    new.bind(py).call1((class, (measure.rate, measure.confidence, source)))
}

/// An estimator of its own, or a `Bandwidth`'s.
enum Whose<T> {
    Own(T),
    Of(Py<Bandwidth>),
}

impl<T> Whose<T> {
    /// Lets `job` have it; `part` finds it in a `Bandwidth`.
    fn with<R>(
        &mut self,
        py: Python<'_>,
        part: fn(&mut estimate::Bandwidth) -> &mut T,
        job: impl FnOnce(&mut T) -> R,
    ) -> R {
        match self {
            Self::Own(own) => job(own),
            Self::Of(whole) => job(part(&mut whole.borrow_mut(py).0)),
        }
    }
}

/// Bandwidth by packet pair, in bytes/s of payload.
#[pyclass(subclass, module = "modnet.estimate")]
pub struct PacketPair(Whose<estimate::PacketPair>);

impl PacketPair {
    fn with<R>(&mut self, py: Python<'_>, job: impl FnOnce(&mut estimate::PacketPair) -> R) -> R {
        self.0.with(py, |bandwidth| &mut bandwidth.pair, job)
    }
}

#[pymethods]
impl PacketPair {
    #[new]
    fn new() -> Self {
        Self(Whose::Own(estimate::PacketPair::new()))
    }

    /// The latest pair alone, as the paper takes it; bytes/s, None before the first one.
    #[getter]
    fn last(&mut self, py: Python<'_>) -> Option<f64> {
        self.with(py, |pair| pair.last())
    }

    /// The median of the latest nine pairs; bytes/s, None before the first one.
    #[getter]
    fn estimate(&mut self, py: Python<'_>) -> Option<f64> {
        self.with(py, |pair| pair.estimate())
    }

    /// Takes the pair that the snapshot shows, if it is new and a pair at all; whether it was.
    #[allow(clippy::needless_pass_by_value)] // as pyo3 gives it
    fn observe(slf: &Bound<'_, Self>, snapshot: Reading) -> bool {
        slf.borrow_mut().with(slf.py(), |pair| pair.observe(&snapshot.0))
    }
}

/// Bandwidth by the rate of acknowledgement, in bytes/s of payload.
#[pyclass(subclass, module = "modnet.estimate")]
pub struct DeliveryRate(Whose<estimate::DeliveryRate>);

impl DeliveryRate {
    fn with<R>(&mut self, py: Python<'_>, job: impl FnOnce(&mut estimate::DeliveryRate) -> R) -> R {
        self.0.with(py, |bandwidth| &mut bandwidth.rate, job)
    }

    fn found(&mut self, py: Python<'_>) -> Judged {
        self.with(py, estimate::DeliveryRate::judged)
    }
}

#[pymethods]
impl DeliveryRate {
    #[new]
    fn new() -> Self {
        Self(Whose::Own(estimate::DeliveryRate::new()))
    }

    /// The slope of the last window in which the network was the limit, or until then the largest so far; bytes/s, None
    /// before.
    #[getter]
    fn recent(&mut self, py: Python<'_>) -> Option<f64> {
        self.found(py).recent
    }

    /// How far `recent` could be trusted at `at_ns`, from 0 to 1.
    ///
    /// n / (n + 6) for n packets; less where single packets are unknown and readings were far apart.
    #[getter]
    fn trust(&mut self, py: Python<'_>) -> f64 {
        self.found(py).trust
    }

    /// Whether `recent` is a lower bound only: nothing waited in the network, the sender was the limit.
    #[getter]
    fn bound(&mut self, py: Python<'_>) -> bool {
        self.found(py).bound
    }

    /// When `recent` was measured, or confirmed by a lower bound near it; CLOCK_MONOTONIC, 0 before.
    #[getter]
    fn at_ns(&mut self, py: Python<'_>) -> i64 {
        self.found(py).at_ns
    }

    /// The largest `recent` of the ten seconds before `at_ns`; bytes/s, None before the first one.
    #[getter]
    fn maximum(&mut self, py: Python<'_>) -> Option<f64> {
        self.with(py, estimate::DeliveryRate::maximum)
    }

    /// `recent`: after a change for the worse the maximum is wrong for ten seconds.
    #[getter]
    fn estimate(&mut self, py: Python<'_>) -> Option<f64> {
        self.recent(py)
    }

    /// `recent`, `trust`, `bound` and `at_ns`, judged once.
    fn judged(&mut self, py: Python<'_>) -> (Option<f64>, f64, bool, i64) {
        let Judged { recent, trust, bound, at_ns } = self.found(py);
        (recent, trust, bound, at_ns)
    }

    /// Takes a snapshot. Four or more in a train are enough; 5 ms apart do for links below 50 Mbit/s.
    #[allow(clippy::needless_pass_by_value)] // as pyo3 gives it
    fn observe(slf: &Bound<'_, Self>, snapshot: Reading) {
        slf.borrow_mut().with(slf.py(), |rate| rate.observe(&snapshot.0));
    }
}

/// A connection's bandwidth, in bytes/s of payload.
///
/// In a module, `bandwidth.observe(flow.tcp.snapshot())` whenever a hook or a timer runs, and `bandwidth.estimate` when there is
/// something to decide.
#[pyclass(subclass, module = "modnet.estimate")]
pub struct Bandwidth(estimate::Bandwidth);

#[pymethods]
impl Bandwidth {
    #[new]
    fn new() -> Self {
        Self(estimate::Bandwidth::new())
    }

    /// The packet pairs alone.
    #[getter]
    fn pair(slf: &Bound<'_, Self>) -> PacketPair {
        PacketPair(Whose::Of(slf.clone().unbind()))
    }

    /// The rate of acknowledgement alone.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> DeliveryRate {
        DeliveryRate(Whose::Of(slf.clone().unbind()))
    }

    /// Takes a snapshot, of the same connection and not older than the one before.
    #[allow(clippy::needless_pass_by_value)] // as pyo3 gives it
    fn observe(slf: &Bound<'_, Self>, snapshot: Reading) {
        slf.borrow_mut().0.observe(&snapshot.0);
    }

    /// Bytes/s of payload that the network carries now; None while nothing is known.
    #[getter]
    fn estimate(&mut self) -> Option<f64> {
        self.0.best().map(|best| best.rate)
    }

    /// From 0 (nothing is known) to 1; above 0.5 half of the estimates are within a few per cent.
    #[getter]
    fn confidence(&mut self) -> f64 {
        self.0.best().map_or(0.0, |best| best.confidence)
    }

    /// The most trusted measure; None while there is none.
    fn best<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // Borrowed no longer: what is made for Python may make it collect garbage.
        let best = slf.borrow_mut().0.best();
        best.map(|best| measured(slf.py(), best)).transpose()
    }
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PacketPair>()?;
    module.add_class::<DeliveryRate>()?;
    module.add_class::<Bandwidth>()
}
