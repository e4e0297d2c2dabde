/* Writing a state: the fields of a socket under a sequence count.
 *
 * A packet is seen before it is processed, under the socket's lock; what it has brought about is seen afterwards, when nobody
 * holds the lock any more. So a writing without the lock is checked: the lock is free before it; and each packet and each
 * send, before anything else is changed, refreshes the socket's clock or moves write_seq. If both are as they were, nobody
 * has begun anything meanwhile and the fields belong together. Else it is made again, and then left to whoever is at
 * it: his own end is the next writing.
 *
 * One writer at a time: who finds the count odd sets `again`, and the writer looks at that when he has ended. */
#ifndef MODNET_WRITE_H
#define MODNET_WRITE_H

#include "kernel.h"
#include "state.h"
#include "work.h"

/* Set by the loader: fill the check word. */
const volatile u32 debug_check = 0;

enum {
    US = 1000, /* nanoseconds of a microsecond */
    SECOND_US = 1000000,
    ROUNDS = 3,
};

/* The part of a state that is read from the socket, from `source` up to `check`. */
struct measured {
    u32 source, state, cwnd, ssthresh, srtt_us, rttvar_us, min_rtt_us, mss;
    u32 packets_out, retrans_out, lost_out, sacked_out;
    u32 snd_una, snd_nxt, write_seq, rcv_nxt, delivered, retransmits;
    u64 bytes_acked, delivery_rate, pacing_rate;
    u32 app_limited, wmem_queued, snd_buf, snd_wnd;
};

_Static_assert(sizeof(struct measured) == __builtin_offsetof(struct sock_state, check)
                   - __builtin_offsetof(struct sock_state, source), "measured");

INLINE u32 app_limited(struct tcp_sock *tp) {
    /* A bit-field has no address: the loader says how many bytes to read, and where in them the bit is. */
    u64 value = 0;
    void *at = (void *)tp + __builtin_preserve_field_info(tp->rate_app_limited, 0);
    switch (__builtin_preserve_field_info(tp->rate_app_limited, 1)) {
    case 1: value = *(u8 *)at; break;
    case 2: value = *(unsigned short *)at; break;
    case 4: value = *(u32 *)at; break;
    case 8: value = *(u64 *)at; break;
    }
    value <<= __builtin_preserve_field_info(tp->rate_app_limited, 4);
    return value >> __builtin_preserve_field_info(tp->rate_app_limited, 5);
}

INLINE void measure(struct measured *m, struct tcp_sock *tp) {
    struct sock *sk = &tp->inet_conn.icsk_inet.sk;
    m->source = SOURCE_BPF;
    m->state = sk->__sk_common.skc_state;
    m->cwnd = tp->snd_cwnd;
    m->ssthresh = tp->snd_ssthresh;
    m->srtt_us = tp->srtt_us >> 3;
    m->rttvar_us = tp->mdev_us >> 2;
    m->min_rtt_us = tp->rtt_min.s[0].v;
    m->mss = tp->mss_cache;
    m->packets_out = tp->packets_out;
    m->retrans_out = tp->retrans_out;
    m->lost_out = tp->lost_out;
    m->sacked_out = tp->sacked_out;
    m->snd_una = tp->snd_una;
    m->snd_nxt = tp->snd_nxt;
    m->write_seq = tp->write_seq;
    m->rcv_nxt = tp->rcv_nxt;
    m->delivered = tp->delivered;
    m->retransmits = tp->total_retrans;
    m->bytes_acked = tp->bytes_acked;
    u64 rate = tp->rate_delivered;
    u32 interval = tp->rate_interval_us;
    m->delivery_rate = rate && interval ? rate * m->mss * SECOND_US / interval : 0;
    m->pacing_rate = sk->sk_pacing_rate;
    m->app_limited = app_limited(tp);
    m->wmem_queued = sk->sk_wmem_queued;
    m->snd_buf = sk->sk_sndbuf;
    m->snd_wnd = tp->snd_wnd;
}

/* As `check_of` in crates/abi. */
INLINE u64 check_of(struct sock_state *s) {
    volatile u64 *words = (void *)s;
    u64 check = 0;
    for (int index = 1; index < STATE_WORDS; index++)
        if (index != CHECK_WORD)
            check = check * 31 + words[index];
    return check | 1;
}

INLINE int is_in_use(struct tcp_sock *tp) {
    struct sock *sk = &tp->inet_conn.icsk_inet.sk;
    return sk->sk_lock.slock.rlock.raw_lock.val.counter || sk->sk_lock.owned;
}

/* Whether the writing is this one's; then the count is odd. */
INLINE int begin(struct sock_state *s, struct work *w) {
    for (int try = 0; try < 2; try++) {
        u32 sequence = *(volatile u32 *)&s->sequence;
        if (!(sequence & 1) && __sync_val_compare_and_swap(&s->sequence, sequence, sequence + 1) == sequence)
            return 1;
        *(volatile u32 *)&w->again = 1;
        barrier();
    }
    struct control *c = controls();
    if (c)
        __sync_fetch_and_add(&c->contended, 1);
    return 0;
}

INLINE void end(struct sock_state *s) {
    s->check = debug_check ? check_of(s) : 0;
    barrier();
#ifdef __TARGET_ARCH_x86
    /* Stores are seen in their order. */
    *(volatile u32 *)&s->sequence += 1;
#else
    __sync_fetch_and_add(&s->sequence, 1);
#endif
}

/* What belongs to the packet that was processed last. */
struct processed {
    struct packet packet;
    u64 rack;
    u32 number;
    u32 una;
    u32 delivered;
    u32 unused;
};

INLINE void publish(struct sock_state *s, struct work *w, struct measured *m, struct processed *p, u64 clock) {
    __builtin_memcpy(&s->source, m, sizeof *m);
    w->clock = clock;
    w->write_seq = m->write_seq;
    if (p->number != w->published) {
        w->published = p->number;
        p->packet.acked_bytes = m->snd_una - p->una;
        p->packet.acked_packets = m->delivered - p->delivered;
        p->packet.sent_ns = p->packet.acked_packets ? p->rack * US : 0;
        s->packets[1] = s->packets[0];
        s->packets[0] = p->packet;
        if (clock < p->packet.arrival_ns)
            clock = p->packet.arrival_ns;
    }
    /* Each core has read the clock when it had it: the later writing may have the earlier time. */
    if (clock > s->updated_ns)
        s->updated_ns = clock;
}

/* Copies the socket; whether the fields belong together. `is_locked`: by the caller. */
INLINE int copy(struct sock_state *s, struct work *w, struct tcp_sock *tp, int is_locked) {
    struct measured m;
    struct processed p;
    if (!is_locked && is_in_use(tp))
        return 0;
    u64 clock = tp->tcp_clock_cache;
    u32 write_seq = tp->write_seq;
    barrier();
    measure(&m, tp);
    p.packet = w->packet;
    p.number = w->number;
    p.una = w->una;
    p.delivered = w->delivered;
    p.rack = tp->rack.mstamp;
    barrier();
    if (!is_locked && (clock != tp->tcp_clock_cache || write_seq != tp->write_seq || is_in_use(tp)))
        return 0;
    publish(s, w, &m, &p, clock);
    return 1;
}

/* Whether something has happened to the socket since it was written. */
INLINE int is_newer(struct tcp_sock *tp, struct work *w) {
    return tp->tcp_clock_cache != w->clock || tp->write_seq != w->write_seq || w->number != w->published
        || w->core;
}

/* After something has happened to a socket that is not locked, or not by us. */
INLINE void settle(struct tcp_sock *tp, struct sock_state *s, struct work *w) {
    for (int round = 0; round < ROUNDS; round++) {
        if (!begin(s, w))
            return;
        *(volatile u32 *)&w->again = 0;
        barrier();
        int is_done = copy(s, w, tp, 0);
        end(s);
        if (*(volatile u32 *)&w->again)
            continue;
        if (is_done || is_in_use(tp))
            return;
    }
    struct control *c = controls();
    if (c)
        __sync_fetch_and_add(&c->unsettled, 1);
}

#endif
