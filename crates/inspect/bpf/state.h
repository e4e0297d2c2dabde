/* The memory that the programs write and modules map: the same layout as crates/abi/src/sockstate.rs, where each field
 * is documented. tests/inspect/test_layout.py holds this file against that one.
 *
 * Rules: fixed-width integers only; whoever includes it defines u32 and u64. */
#ifndef MODNET_STATE_H
#define MODNET_STATE_H

#define STATE_VERSION 1
#define STATE_WORDS 32
#define CHECK_WORD 17
#define SOURCE_BPF 1

struct packet {
    u64 arrival_ns;
    u64 sent_ns;
    u32 seq;
    u32 ack_seq;
    u32 acked_bytes;
    u32 acked_packets;
};

struct sock_state {
    u32 sequence;
    u32 version;
    u64 cookie;
    u64 updated_ns;
    u32 source;
    u32 state;
    u32 cwnd;
    u32 ssthresh;
    u32 srtt_us;
    u32 rttvar_us;
    u32 min_rtt_us;
    u32 mss;
    u32 packets_out;
    u32 retrans_out;
    u32 lost_out;
    u32 sacked_out;
    u32 snd_una;
    u32 snd_nxt;
    u32 write_seq;
    u32 rcv_nxt;
    u32 delivered;
    u32 retransmits;
    u64 bytes_acked;
    u64 delivery_rate;
    u64 pacing_rate;
    u32 app_limited;
    u32 wmem_queued;
    u32 snd_buf;
    u32 snd_wnd;
    u64 check;
    struct packet packets[2];
    u64 reserved[6];
};

/* The whole array's header, in a map of its own: what was enabled, and how the slots are. */
struct control {
    u32 version;       /* STATE_VERSION */
    u32 capacity;      /* slots */
    u64 free;          /* the free list: index + 1 of its first slot, below a tag that changes with each change */
    u32 fresh;         /* slots from here on were never used */
    u32 debug;         /* 1: the programs fill the check word */
    u64 taken;         /* slots given to sockets, ever */
    u64 given_back;    /* slots given back, ever */
    u64 refused;       /* sockets that found no slot */
    u64 lost;          /* slots that could not be given back: always 0 */
    u64 contended;     /* writings that found another one going on, which has seen to theirs */
    u64 unsettled;     /* writings given up because the socket was in use: the user of it makes the next one */
    u64 overflow;      /* sockets that one round of packets touched beyond what is remembered */
};

#endif
