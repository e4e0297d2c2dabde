/* Writes the state of chosen TCP sockets into an array that modules map. All programs but `gone` stand at their places only while
 * somebody reads (crates/inspect/src/attend.rs).
 *
 * | program | at | does |
 * | --- | --- | --- |
 * | probed | tcp_probe: a packet is about to be processed | writes what came before, remembers the packet |
 * | calmed | softirq_exit: a core has processed its packets and timers | writes the sockets that were touched |
 * | called | sock_send_length: a send has returned | writes; one that failed chooses a socket |
 * | resent | tcp_retransmit_skb | has the socket written when the core is done |
 * | changed | inet_sock_set_state | writes that it is not ESTABLISHED any more |
 * | gone | tcp_destroy_sock | gives the slot back, also when nobody reads any more |
 *
 * A user chooses a socket by an entry in `wanted` (a map that the group may write; the key is the descriptor) and a call of
 * sendto by TCP Fast Open to an address of no family, which TCP refuses before it looks at the connection (EOPNOTSUPP), and
 * which brings `called`. (A receive did that before. But a program costs 60 ns where it stands, whatever it does, for UNIX sockets too; packets
 * that have waited for a receive are written with the core's next softirq instead.) What a user writes there means
 * nothing but the wish: slots stand in `chosen`, which programs alone write, so that no module can have its socket
 * written into somebody else's slot. A thread that was heard once is a member: the call alone is its wish from then on, and the
 * answer lies in memory that it maps (five system calls for each flow were 5.6 us, one is 1.3). Slots belong to sockets, never to processes: they come
 * back with the socket's end, however a process ends.
 *
 * Must not: write into a socket, loop without bound, cost more than a look-up for a socket that was not chosen. */
#include "kernel.h"
#include "state.h"
#include "slots.h"
#include "work.h"
#include "write.h"

char LICENSE[] SEC("license") = "GPL";

enum {
    LISTEN = 10,
    EOPNOTSUPP = 95,
    ESTABLISHED = 1,
    STOP = 0xffffffff,
};

INLINE int give_back(struct sock *sk) {
    u64 cookie = cookie_of(sk);
    u32 slot = cookie ? leave(cookie) : NO_SLOT;
    struct sock_state *s = slot != NO_SLOT ? map_lookup(&states, &slot) : 0;
    if (!s)
        return 0;
    s->cookie = 0;
    barrier();
    slot_give_back(slot);
    return 0;
}

/* The slot is nobody else's yet. Leaves the count odd. */
INLINE void clear(struct sock_state *s, struct work *w, u64 cookie) {
    __sync_fetch_and_add(&s->sequence, 1);
    s->version = STATE_VERSION;
    s->cookie = cookie;
    s->updated_ns = ktime_get_ns();
    __builtin_memset(&s->source, 0, sizeof(struct measured));
    __builtin_memset(s->packets, 0, sizeof s->packets);
    __builtin_memset(w, 0, sizeof *w);
}

/* Writes what has happened to the socket since it was written. */
INLINE void refresh(struct tcp_sock *tp, u32 slot) {
    struct sock_state *s = map_lookup(&states, &slot);
    struct work *w = s ? map_lookup(&works, &slot) : 0;
    if (w && is_newer(tp, w))
        settle(tp, s, w);
}

/* A slot for a socket that has none; NO_SLOT where none is left. */
INLINE u32 new_slot(struct tcp_sock *tp, u64 cookie) {
    u32 slot = slot_take();
    struct sock_state *s = slot != NO_SLOT ? map_lookup(&states, &slot) : 0;
    struct work *w = s ? map_lookup(&works, &slot) : 0;
    if (!w)
        return NO_SLOT;
    clear(s, w, cookie);
    if (!enter(cookie, slot)) {
        s->cookie = 0;
        end(s);
        slot_give_back(slot);
        return NO_SLOT;
    }
    int is_done = copy(s, w, tp, 0);
    end(s);
    if (!is_done || *(volatile u32 *)&w->again)
        settle(tp, s, w);
    return slot;
}

/* The socket's slot, from now on if it had none before; NO_SLOT where none is left, or it is no socket for one. */
INLINE u32 choose(struct sock *sk, u64 cookie) {
    struct tcp_sock *tp = to_tcp_sock(sk);
    if (!tp || !cookie || sk->__sk_common.skc_state == LISTEN || !sk->sk_socket)
        return NO_SLOT;
    u32 slot = slot_of(sk);
    if (slot != NO_SLOT)
        refresh(tp, slot);
    if (slot != NO_SLOT || !claim(cookie))
        return slot;
    slot = slot_of(sk);
    if (slot == NO_SLOT)
        slot = new_slot(tp, cookie);
    unclaim(cookie);
    return slot;
}

SEC("tp_btf/tcp_probe")
int probed(u64 *ctx) {
    struct sock *sk = (void *)ctx[0];
    struct sk_buff *skb = (void *)ctx[1];
    u32 slot = slot_of(sk);
    if (slot == NO_SLOT)
        return 0;
    struct sock_state *s = map_lookup(&states, &slot);
    struct work *w = map_lookup(&works, &slot);
    struct tcp_sock *tp = to_tcp_sock(sk);
    if (!s || !w || !tp)
        return 0;
    /* While one process takes over from another that has died the program stands here twice. */
    if (w->skb == (u64)skb && w->segments == tp->segs_in)
        return 0;
    w->skb = (u64)skb;
    w->segments = tp->segs_in;
    if (is_newer(tp, w) && begin(s, w)) {
        copy(s, w, tp, 1);
        end(s);
    }
    struct tcp_skb_cb *cb = (void *)skb->cb;
    w->packet.seq = cb->seq;
    w->packet.ack_seq = cb->ack_seq;
    w->packet.arrival_ns = ktime_get_ns();
    w->una = tp->snd_una;
    w->delivered = tp->delivered;
    w->number += 1;
    touch(tp, slot, w);
    return 0;
}

/* The slot of a socket is told to the thread that has asked. */
INLINE void answer(u64 cookie, u32 slot, u32 count) {
    u32 core = this_cpu();
    struct answer *a = map_lookup(&answers, &core);
    if (!a)
        return;
    /* A reader that is on another core by now must not take half of it for a whole. */
    __sync_lock_test_and_set(&a->thread, 0);
    a->cookie = cookie;
    a->slot = slot;
    a->count = count;
    __sync_lock_test_and_set(&a->thread, this_thread());
}

/* A process asks for something, with a socket and an entry of it in `wanted`, or without one by a member. */
INLINE int asked(struct sock *sk) {
    u32 *count = task_storage_get(&members, this_task(), 0, 0);
    u32 *wished = sk->sk_bpf_storage ? storage_get(&wanted, sk, 0, 0) : 0;
    u32 wish = wished ? *wished : 0;
    if (wish && wish != STOP) {
        u32 none = 0;
        count = count ? count : task_storage_get(&members, this_task(), &none, STORAGE_CREATE);
        storage_delete(&wanted, sk);
    }
    if (wish != STOP) {
        if (count) {
            u64 cookie = socket_cookie(sk);
            answer(cookie, choose(sk, cookie), *count += 1);
        }
        return 0;
    }
    struct control *c = controls();
    if (c && !(u32)uid_gid())
        c->version = 0;
    return 0;
}

/* A call on a socket has returned. */
INLINE int returned(struct sock *sk, int is_asking) {
    if (is_asking)
        return asked(sk);
    u32 slot = slot_of(sk);
    struct tcp_sock *tp = slot != NO_SLOT ? to_tcp_sock(sk) : 0;
    if (tp)
        refresh(tp, slot);
    return 0;
}

SEC("tp_btf/sock_send_length")
int called(u64 *ctx) {
    return returned((void *)ctx[0], (int)ctx[1] == -EOPNOTSUPP);
}

INLINE int touched(struct sock *sk) {
    u32 slot = slot_of(sk);
    struct work *w = slot != NO_SLOT ? map_lookup(&works, &slot) : 0;
    struct tcp_sock *tp = w ? to_tcp_sock(sk) : 0;
    if (tp)
        touch(tp, slot, w);
    return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int resent(u64 *ctx) {
    return touched((void *)ctx[0]);
}

/* Before the change. In other states than ESTABLISHED nobody reads what is written, so that it is enough to say which. */
SEC("tp_btf/inet_sock_set_state")
int changed(u64 *ctx) {
    struct sock *sk = (void *)ctx[0];
    u32 slot = (int)ctx[1] == ESTABLISHED ? slot_of(sk) : NO_SLOT;
    struct sock_state *s = slot != NO_SLOT ? map_lookup(&states, &slot) : 0;
    struct work *w = s ? map_lookup(&works, &slot) : 0;
    if (!w)
        return 0;
    if (!begin(s, w))
        return touched(sk);
    s->state = (u32)ctx[2];
    end(s);
    return 0;
}

/* Writes the socket that stands there on the core's list. Global, since the verifier looks at such a function once, not in each turn of
 * a loop. */
__attribute__((noinline)) int calm(u32 core, u32 at) {
    u32 index = core * TOUCHED + at;
    struct touched *t = map_lookup(&touches, &index);
    if (!t)
        return 0;
    u32 slot = t->slot;
    struct tcp_sock *tp = t->tp;
    struct sock_state *s = map_lookup(&states, &slot);
    struct work *w = map_lookup(&works, &slot);
    if (!s || !w || !tp)
        return 0;
    if (w->core == core + 1)
        w->core = 0;
    /* The pointer holds nothing: is this still the socket that it was? */
    u64 cookie = s->cookie;
    if (cookie && cookie_of(&tp->inet_conn.icsk_inet.sk) == cookie)
        settle(tp, s, w);
    return 0;
}

SEC("tp_btf/softirq_exit")
int calmed(u64 *ctx) {
    u32 zero = 0;
    u32 *count = map_lookup(&counts, &zero);
    if (!count || !*count)
        return 0;
    u32 many = *count, core = this_cpu();
    *count = 0;
    for (u32 at = 0; at < TOUCHED && at < many; at++)
        calm(core, at);
    return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int gone(u64 *ctx) {
    return give_back((void *)ctx[0]);
}
