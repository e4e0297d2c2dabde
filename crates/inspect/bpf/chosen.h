/* Which socket has which slot: a table by the socket's cookie, which no other socket ever has.
 *
 * Most sockets have no cookie, since nobody has asked for it: that is seen with one load. A row holds eight entries in one cache
 * line, so that to find one is no call. The table has half as many rows as there are slots; a socket whose row is full gets no slot.
 * Rejected: storage that hangs on the socket (BPF_MAP_TYPE_SK_STORAGE). Its two allocations were most of what it cost to
 * inspect a connection, 1 us, and each look was a call. */
#ifndef MODNET_CHOSEN_H
#define MODNET_CHOSEN_H

#include "kernel.h"
#include "slots.h"

#define ABREAST 8
/* An entry: slot + 1 below as much of the cookie as there is room for; 0: free. crates/inspect/src/chosen.rs reads it. */
#define SLOT_BITS 23
#define SLOT_MASK ((1ull << SLOT_BITS) - 1)
/* 2^64 by the golden ratio: numbers in a row, or with a step, spread evenly over the rows. */
#define SPREAD 0x9e3779b97f4a7c15ull

/* Set by the loader: rows less one, of which there are a power of two. */
const volatile u32 last_row = 0;

struct row {
    u64 entries[ABREAST];
};

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, F_MMAPABLE);
    __type(key, u32);
    __type(value, struct row);
} chosen SEC(".maps");

INLINE struct row *row_of(u64 cookie) {
    u32 index = (u32)(cookie * SPREAD >> 32) & last_row;
    return map_lookup(&chosen, &index);
}

/* The slot that an entry gives the socket, or NO_SLOT. */
INLINE u32 slot_in(u64 entry, u64 cookie) {
    u64 rest = (entry ^ cookie << SLOT_BITS) - 1;
    return rest < SLOT_MASK ? (u32)rest : NO_SLOT;
}

INLINE u64 cookie_of(struct sock *sk) {
    return sk->__sk_common.skc_cookie.counter;
}

INLINE u32 slot_of(struct sock *sk) {
    u64 cookie = cookie_of(sk);
    struct row *row = cookie ? row_of(cookie) : 0;
    if (!row)
        return NO_SLOT;
    for (int at = 0; at < ABREAST; at++) {
        u32 slot = slot_in(*(volatile u64 *)&row->entries[at], cookie);
        if (slot != NO_SLOT)
            return slot;
    }
    return NO_SLOT;
}

/* Who chooses a slot for a socket does so alone: of two who enter the same socket at one moment each would see the other, and give way. */
#define CLAIM_BITS 8
/* A claim is held for less than a microsecond, unless an interrupt stops the program: then whoever asks asks again (crates/inspect/src/access.rs). */
#define WAITS 64

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1 << CLAIM_BITS);
    __type(key, u32);
    __type(value, u32);
} claims SEC(".maps");

INLINE u32 *claim_of(u64 cookie) {
    u32 index = cookie * SPREAD >> (64 - CLAIM_BITS);
    return map_lookup(&claims, &index);
}

/* Whether this program is the only one now to choose for the socket. */
static __attribute__((noinline)) int claim(u64 cookie) {
    u32 *held = claim_of(cookie);
    if (!held)
        return 0;
    for (int wait = 0; wait < WAITS; wait++)
        if (!*(volatile u32 *)held && !__sync_val_compare_and_swap(held, 0, 1))
            return 1;
    return 0;
}

INLINE void unclaim(u64 cookie) {
    u32 *held = claim_of(cookie);
    if (held)
        __sync_lock_test_and_set(held, 0);
}

/* Whether the slot is this socket's now: not if the row is full. Whose claim it is has seen that it had none. */
static __attribute__((noinline)) int enter(u64 cookie, u32 slot) {
    struct control *c = controls();
    struct row *row = row_of(cookie);
    if (!c || !row)
        return 0;
    u64 entry = (cookie << SLOT_BITS) + slot + 1;
    for (int at = 0; at < ABREAST; at++)
        if (!*(volatile u64 *)&row->entries[at] && !__sync_val_compare_and_swap(&row->entries[at], 0, entry))
            return 1;
    __sync_fetch_and_add(&c->refused, 1);
    return 0;
}

/* The slot that the socket had. */
INLINE u32 leave(u64 cookie) {
    struct row *row = row_of(cookie);
    if (!row)
        return NO_SLOT;
    for (int at = 0; at < ABREAST; at++) {
        u64 entry = *(volatile u64 *)&row->entries[at];
        u32 slot = slot_in(entry, cookie);
        if (slot != NO_SLOT && __sync_val_compare_and_swap(&row->entries[at], entry, 0) == entry)
            return slot;
    }
    return NO_SLOT;
}

#endif
