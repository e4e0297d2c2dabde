//! What the control socket tells of a flow. Asked by who looks, never by the flow's own work.

use std::os::fd::AsFd;

use modnet_abi::sockstate::{Packet, SockState, SOURCE_BPF};
use modnet_inspect::sample;
use serde_json::{json, Value};

use super::conn::Flow;

/// The real socket's TCP state: what a module with hooks has mapped, else a sample. None: another module has the real socket, or
/// it cannot be asked.
pub fn tcp(flow: &Flow) -> Option<Value> {
    let state = match &flow.tcp {
        Some(watch) => watch.read().ok()?,
        None if flow.right_is_tcp => sample::take(flow.right.as_fd()).ok()?,
        None => return None,
    };
    Some(as_json(&state))
}

/// By the names that `flow.tcp` has in Python.
fn as_json(state: &SockState) -> Value {
    let packet = |packet: &Packet| {
        json!({
            "arrival_ns": packet.arrival_ns,
            "sent_ns": packet.sent_ns,
            "seq": packet.seq,
            "ack_seq": packet.ack_seq,
            "acked_bytes": packet.acked_bytes,
            "acked_packets": packet.acked_packets,
        })
    };
    json!({
        "source": if state.source == SOURCE_BPF { "bpf" } else { "sampled" },
        "updated_ns": state.updated_ns,
        "state": state.state,
        "cwnd": state.cwnd,
        "ssthresh": state.ssthresh,
        "srtt_us": state.srtt_us,
        "rttvar_us": state.rttvar_us,
        "min_rtt_us": state.min_rtt_us,
        "mss": state.mss,
        "packets_out": state.packets_out,
        "snd_una": state.snd_una,
        "snd_nxt": state.snd_nxt,
        "write_seq": state.write_seq,
        "rcv_nxt": state.rcv_nxt,
        "delivered": state.delivered,
        "retransmits": state.retransmits,
        "bytes_acked": state.bytes_acked,
        "delivery_rate": state.delivery_rate,
        "app_limited": state.app_limited != 0,
        "wmem_queued": state.wmem_queued,
        "packets": [packet(&state.packets[0]), packet(&state.packets[1])],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_an_estimator_is_there() {
        let mut state = SockState { cwnd: 10, source: SOURCE_BPF, app_limited: 1, ..SockState::default() };
        state.packets[0].acked_bytes = 1448;
        let told = as_json(&state);
        assert_eq!(
            (&told["cwnd"], &told["source"], &told["app_limited"]),
            (&json!(10), &json!("bpf"), &json!(true))
        );
        assert_eq!(told["packets"][0]["acked_bytes"], 1448);
        assert_eq!(as_json(&SockState::default())["source"], "sampled");
    }
}
