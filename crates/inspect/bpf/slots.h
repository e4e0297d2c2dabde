/* Which slots of the array are free: a stack without a lock.
 *
 * The head is an index below a tag, changed together by compare-and-swap, so that a slot which was taken and given back
 * meanwhile is not mistaken for one that stayed (ABA). Slots that were never used need no list: `fresh` counts up.
 * Rejected: BPF_MAP_TYPE_QUEUE, which takes a spin lock with interrupts off. */
#ifndef MODNET_SLOTS_H
#define MODNET_SLOTS_H

#include "kernel.h"
#include "state.h"

#define NO_SLOT 0xffffffffu
/* Each failure means that somebody else has succeeded: with 64 in a row a slot would be counted as lost. */
#define TRIES 64

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, F_MMAPABLE);
    __type(key, u32);
    __type(value, struct control);
} control SEC(".maps");

/* The next slot of the free list, by slot: index + 1, or 0. */
struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u32);
} next SEC(".maps");

INLINE struct control *controls(void) {
    u32 zero = 0;
    return map_lookup(&control, &zero);
}

static __attribute__((noinline)) u32 slot_take(void) {
    struct control *c = controls();
    if (!c)
        return NO_SLOT;
    for (int try = 0; try < TRIES; try++) {
        u64 head = *(volatile u64 *)&c->free;
        u32 first = (u32)head;
        if (!first) {
            u32 fresh = *(volatile u32 *)&c->fresh;
            if (fresh >= c->capacity)
                break;
            if (__sync_val_compare_and_swap(&c->fresh, fresh, fresh + 1) == fresh) {
                __sync_fetch_and_add(&c->taken, 1);
                return fresh;
            }
            continue;
        }
        u32 slot = first - 1;
        u32 *after = map_lookup(&next, &slot);
        if (!after)
            break;
        u64 then = ((head >> 32) + 1) << 32 | *(volatile u32 *)after;
        if (__sync_val_compare_and_swap(&c->free, head, then) == head) {
            __sync_fetch_and_add(&c->taken, 1);
            return slot;
        }
    }
    __sync_fetch_and_add(&c->refused, 1);
    return NO_SLOT;
}

static __attribute__((noinline)) int slot_give_back(u32 slot) {
    struct control *c = controls();
    u32 *after = map_lookup(&next, &slot);
    if (!c || !after)
        return 0;
    for (int try = 0; try < TRIES; try++) {
        u64 head = *(volatile u64 *)&c->free;
        *(volatile u32 *)after = (u32)head;
        u64 then = ((head >> 32) + 1) << 32 | (slot + 1);
        if (__sync_val_compare_and_swap(&c->free, head, then) == head) {
            __sync_fetch_and_add(&c->given_back, 1);
            return 0;
        }
    }
    __sync_fetch_and_add(&c->lost, 1);
    return 0;
}

#endif
