//! `Tcp`, the live state of a flow's socket, and `TcpSnapshot`, a copy of it that stands still.
//!
//! One table makes the attributes of both. Rules: an attribute of `Tcp` is read where the kernel has just written it, with no
//! system call; a snapshot's attributes belong together. What cannot be read raises `OSError` with the reason.

use std::mem::offset_of;
use std::sync::Arc;

use modnet_abi::sockstate::{Packet, SockState, SOURCE_BPF};
use modnet_inspect::reason::Reason;
use modnet_inspect::sample;
use modnet_inspect::watch::Watch;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

fn raise(reason: Reason) -> PyErr {
    let todo = reason.todo();
    let end = if todo.is_empty() { String::new() } else { format!("; {todo}") };
    PyOSError::new_err((reason.errno(), format!("cannot inspect: {reason}{end}")))
}

fn source(source: u32) -> &'static str {
    if source == SOURCE_BPF {
        "bpf"
    } else {
        "sampled"
    }
}

#[allow(clippy::cast_precision_loss)] // nanoseconds of an age
fn age(updated_ns: u64) -> f64 {
    sample::now().saturating_sub(updated_ns) as f64 * 1e-9
}

/// A packet that was received.
#[pyclass(frozen, eq, name = "TcpPacket", module = "modnet._native")]
#[derive(Clone, Copy, PartialEq)]
pub struct TcpPacket(Packet);

#[pymethods]
impl TcpPacket {
    /// When it was received, in nanoseconds of CLOCK_MONOTONIC; 0: there was none.
    #[getter]
    fn arrival_ns(&self) -> u64 {
        self.0.arrival_ns
    }

    /// Its sequence number.
    #[getter]
    fn seq(&self) -> u32 {
        self.0.seq
    }

    /// Its acknowledgement number.
    #[getter]
    fn ack_seq(&self) -> u32 {
        self.0.ack_seq
    }

    /// When the newest data that it acknowledged had been sent, on the same clock; 0: it acknowledged no whole packet.
    #[getter]
    fn sent_ns(&self) -> u64 {
        self.0.sent_ns
    }

    /// Bytes that it acknowledged and no packet before it had.
    #[getter]
    fn acked_bytes(&self) -> u32 {
        self.0.acked_bytes
    }

    /// Packets that it acknowledged, selectively or not, and none before it had.
    #[getter]
    fn acked_packets(&self) -> u32 {
        self.0.acked_packets
    }

    fn __repr__(&self) -> String {
        let p = self.0;
        format!(
            "TcpPacket(arrival_ns={}, seq={}, ack_seq={}, sent_ns={}, acked_bytes={}, acked_packets={})",
            p.arrival_ns, p.seq, p.ack_seq, p.sent_ns, p.acked_bytes, p.acked_packets
        )
    }
}

/// The TCP state of a flow's real socket, as it is now.
#[pyclass(frozen, module = "modnet._native")]
pub struct Tcp {
    watch: Arc<Watch>,
}

impl Tcp {
    /// Of a socket that is watched.
    pub fn new(watch: Arc<Watch>) -> Self {
        Self { watch }
    }
}

/// All attributes of `Tcp` as they stood together.
#[pyclass(frozen, eq, module = "modnet._native")]
#[derive(PartialEq)]
pub struct TcpSnapshot(pub SockState);

macro_rules! attributes {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $read:ident;)*) => {
        #[pymethods]
        impl Tcp {
            $($(#[doc = $doc])*
            #[getter]
            fn $name(&self) -> PyResult<$type> {
                self.watch.$read(offset_of!(SockState, $name)).map_err(raise)
            })*

            /// Whether `delivery_rate` was measured while the application had nothing to send.
            #[getter]
            fn app_limited(&self) -> PyResult<bool> {
                self.watch.u32_at(offset_of!(SockState, app_limited)).map(|flag| flag != 0).map_err(raise)
            }

            /// "bpf": the kernel writes the state with every packet; "sampled": it is taken from TCP_INFO, see `reason`.
            #[getter]
            fn source(&self) -> PyResult<&'static str> {
                self.watch.u32_at(offset_of!(SockState, source)).map(source).map_err(raise)
            }

            /// Why it is sampled; None: it is not.
            #[getter]
            fn reason(&self) -> Option<String> {
                self.watch.reason().map(|reason| reason.to_string())
            }

            /// Seconds since it was written: since the latest packet or send ("bpf"), or since it was sampled.
            #[getter]
            fn age(&self) -> PyResult<f64> {
                self.updated_ns().map(age)
            }

            /// The two packets received last, newest first; all 0 where the state is sampled.
            #[getter]
            fn packets(&self) -> PyResult<(TcpPacket, TcpPacket)> {
                let [newest, older] = self.watch.read().map_err(raise)?.packets;
                Ok((TcpPacket(newest), TcpPacket(older)))
            }

            /// A copy of all attributes as they stood together.
            fn snapshot(&self) -> PyResult<TcpSnapshot> {
                self.watch.read().map(TcpSnapshot).map_err(raise)
            }
        }

        #[pymethods]
        impl TcpSnapshot {
            $($(#[doc = $doc])*
            #[getter]
            fn $name(&self) -> $type {
                self.0.$name
            })*

            /// Whether `delivery_rate` was measured while the application had nothing to send.
            #[getter]
            fn app_limited(&self) -> bool {
                self.0.app_limited != 0
            }

            /// "bpf" or "sampled".
            #[getter]
            fn source(&self) -> &'static str {
                source(self.0.source)
            }

            /// Seconds since it was written.
            #[getter]
            fn age(&self) -> f64 {
                age(self.0.updated_ns)
            }

            /// The two packets received last, newest first.
            #[getter]
            fn packets(&self) -> (TcpPacket, TcpPacket) {
                (TcpPacket(self.0.packets[0]), TcpPacket(self.0.packets[1]))
            }

            fn __repr__(&self) -> String {
                let mut text = String::from("TcpSnapshot(");
                $(text.push_str(&format!("{}={}, ", stringify!($name), self.0.$name));)*
                text + &format!("source={:?})", source(self.0.source))
            }
        }
    };
}

attributes! {
    /// TCP state: 1 ESTABLISHED, 4 FIN_WAIT1, 7 CLOSE, 8 CLOSE_WAIT and so on.
    state: u32 = u32_at;
    /// Congestion window, in packets.
    cwnd: u32 = u32_at;
    /// Slow start threshold, in packets; 2147483647: none yet.
    ssthresh: u32 = u32_at;
    /// Smoothed round-trip time, in microseconds.
    srtt_us: u32 = u32_at;
    /// Mean deviation of the round-trip time, in microseconds.
    rttvar_us: u32 = u32_at;
    /// Least round-trip time of late, in microseconds; 4294967295: none was measured.
    min_rtt_us: u32 = u32_at;
    /// Bytes of payload in a full packet.
    mss: u32 = u32_at;
    /// Packets sent and not acknowledged cumulatively.
    packets_out: u32 = u32_at;
    /// Of those: retransmitted and still out.
    retrans_out: u32 = u32_at;
    /// Of those: believed lost.
    lost_out: u32 = u32_at;
    /// Of those: acknowledged selectively.
    sacked_out: u32 = u32_at;
    /// First sequence number that is not acknowledged.
    snd_una: u32 = u32_at;
    /// Sequence number that will be sent next.
    snd_nxt: u32 = u32_at;
    /// Sequence number after the last byte written.
    write_seq: u32 = u32_at;
    /// Sequence number that is expected next from the peer.
    rcv_nxt: u32 = u32_at;
    /// Packets delivered to the peer, modulo 2^32.
    delivered: u32 = u32_at;
    /// Retransmissions in the connection's life.
    retransmits: u32 = u32_at;
    /// Bytes acknowledged in the connection's life.
    bytes_acked: u64 = u64_at;
    /// The latest delivery rate, in bytes per second; 0: none was measured.
    delivery_rate: u64 = u64_at;
    /// Rate at which the kernel paces packets, in bytes per second; 2^64-1: it does not.
    pacing_rate: u64 = u64_at;
    /// Bytes of kernel memory that the send queue takes.
    wmem_queued: u32 = u32_at;
    /// Limit of the same (SO_SNDBUF), in bytes.
    snd_buf: u32 = u32_at;
    /// The peer's receive window, in bytes.
    snd_wnd: u32 = u32_at;
    /// When it was written, in nanoseconds of CLOCK_MONOTONIC.
    updated_ns: u64 = u64_at;
    /// The socket's cookie (SO_COOKIE).
    cookie: u64 = u64_at;
}

/// Name, offset and bytes of every field, for the test that compares them with C's.
fn layout() -> Vec<(&'static str, usize, usize)> {
    macro_rules! fields {
        ($of:ty, $($name:ident)*) => { vec![$((stringify!($name), offset_of!($of, $name), {
            fn size<T, F>(_: fn(&T) -> &F) -> usize {
                size_of::<F>()
            }
            size(|of: &$of| &of.$name)
        })),*] };
    }
    let mut all = fields!(SockState, sequence version cookie updated_ns source state cwnd ssthresh srtt_us rttvar_us
        min_rtt_us mss packets_out retrans_out lost_out sacked_out snd_una snd_nxt write_seq rcv_nxt delivered retransmits
        bytes_acked delivery_rate pacing_rate app_limited wmem_queued snd_buf snd_wnd check packets reserved);
    all.extend(fields!(Packet, arrival_ns sent_ns seq ack_seq acked_bytes acked_packets));
    all
}

/// The state of a TCP socket whose descriptor is the caller's.
#[pyfunction]
fn calls_map_state(fd: i32) -> PyResult<Tcp> {
    let watch = modnet_engine::calls::state::map(fd).map_err(crate::registry::raise)?;
    Ok(Tcp::new(watch))
}

/// Adds everything here to the extension.
///
/// # Errors
/// What Python says.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Tcp>()?;
    module.add_class::<TcpSnapshot>()?;
    module.add_class::<TcpPacket>()?;
    module.add("STATE_LAYOUT", layout())?;
    module.add_function(wrap_pyfunction!(calls_map_state, module)?)
}
