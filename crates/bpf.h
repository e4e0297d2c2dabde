/* What all programs for the kernel begin with: types, sections, attributes of maps, helpers that several of them call.
 *
 * Rules: only what two programs say stands here; `crates/compile_bpf.rs` lets them include it. */
#ifndef MODNET_BPF_H
#define MODNET_BPF_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

/* Attributes of a map, as the loader reads them from the types of a struct's members. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

enum {
    MAP_HASH = 1,
    MAP_ARRAY = 2,
    MAP_PERCPU_ARRAY = 6,
    MAP_SOCKMAP = 15,
    MAP_SK_STORAGE = 24,
    MAP_TASK_STORAGE = 29,
    F_NO_PREALLOC = 1,
    F_MMAPABLE = 1024,
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*const ktime_get_ns)(void) = (void *)5;

#endif
