/* What the programs keep of an inspected socket, by slot, and which sockets this core has touched; who may ask for one. */
#ifndef MODNET_WORK_H
#define MODNET_WORK_H

#include "chosen.h"
#include "kernel.h"
#include "slots.h"
#include "state.h"

/* Sockets of one core whose packets are being processed in one round of its softirq (a NAPI poll takes 64 packets). */
#define TOUCHED 64
/* Cores; a larger machine's others keep no list, which `overflow` counts. */
#define CORES 1024

struct work {
    struct packet packet; /* the one that is being processed */
    u32 number;           /* how many packets there were */
    u32 published;        /* the number of the newest that stands in the state */
    u32 una;              /* snd_una before it was processed */
    u32 delivered;        /* delivered, likewise */
    u64 clock;            /* tcp_clock_cache and write_seq as they were at the latest writing */
    u32 write_seq;
    u32 core;             /* whose list it is on, + 1; 0: none */
    u32 again;            /* somebody found the state being written */
    u32 segments;         /* segs_in when the packet was seen, and which buffer it is in: what tells it from all others */
    u64 skb;
};

struct touched {
    kptr_untrusted *tp;
    u32 slot;
    u32 unused;
};

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, F_MMAPABLE);
    __type(key, u32);
    __type(value, struct sock_state);
} states SEC(".maps");

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct work);
} works SEC(".maps");

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct touched);
} touches SEC(".maps");

/* How many a core's list has. */
struct {
    __uint(type, MAP_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u32);
} counts SEC(".maps");

struct {
    __uint(type, MAP_SK_STORAGE);
    __uint(map_flags, F_NO_PREALLOC);
    __type(key, int);
    __type(value, u32);
} wanted SEC(".maps");

/* Threads whose wish was heard once, by the map that the group alone can write; and how often they have asked since. */
struct {
    __uint(type, MAP_TASK_STORAGE);
    __uint(map_flags, F_NO_PREALLOC);
    __type(key, int);
    __type(value, u32);
} members SEC(".maps");

/* By core, what the member was told that asked last there; a cache line each. crates/inspect/src/answers.rs reads it. */
struct answer {
    u64 thread;
    u64 cookie;
    u32 slot;
    u32 count; /* which of the thread's questions this answers */
    u64 unused[5];
};

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, F_MMAPABLE);
    __type(key, u32);
    __type(value, struct answer);
} answers SEC(".maps");

INLINE void touch(struct tcp_sock *tp, u32 slot, struct work *w) {
    u32 core = this_cpu();
    if (w->core == core + 1)
        return;
    u32 zero = 0;
    u32 *count = map_lookup(&counts, &zero);
    if (!count)
        return;
    u32 at = *count;
    u32 index = core * TOUCHED + at;
    struct touched *t = at < TOUCHED && core < CORES ? map_lookup(&touches, &index) : 0;
    if (!t) {
        struct control *c = controls();
        if (c)
            __sync_fetch_and_add(&c->overflow, 1);
        return;
    }
    t->tp = tp;
    t->slot = slot;
    w->core = core + 1;
    *count = at + 1;
}

#endif
