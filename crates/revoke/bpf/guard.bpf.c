/* The guard of a kernel yank: two small programs that keep the network away from a connection while it is taken apart.
 *
 * guard    (sk_lookup, one attach per network namespace) runs only for segments that match no established socket, so
 *          other traffic pays nothing. While a connection is out of the hash, its segments would be answered with a
 *          reset; here they go to a listener that drops everything. SK_DROP is no way: it sends the reset too.
 * deaf     (socket filter) drops what arrives for a socket that is still, or again, in the hash, until the time in
 *          `until` has come. A filter that dropped for ever would leave a socket deaf whose yanker was killed.
 *
 * Rules: what is guarded stands in maps that end with the process that guards. It must not see a byte of payload.
 */
#include "bpf.h"

enum {
    PROTOCOL_TCP = 6,
    FAMILY_IPV4 = 2,
    LOOKUP_REPLACE = 1,
    LOOKUP_NO_REUSEPORT = 2,
    PASS = 1,
};

static long (*const release)(void *socket) = (void *)86;
static long (*const assign)(void *context, void *socket, u64 flags) = (void *)124;

char _license[] SEC("license") = "GPL";

/* Contexts as the kernel's user interface has them. */
struct lookup {
    u64 socket;
    u32 family, protocol, remote_ip4, remote_ip6[4];
    u16 remote_port, pad;
    u32 local_ip4, local_ip6[4], local_port, ingress;
};
struct packet {
    u32 length;
};

/* Network order; an IPv4 address is the first word. `Tuple` in src/kernel/tuple.rs. */
struct tuple {
    u32 peer[4], local[4];
    u16 peer_port, local_port;
};

struct {
    __uint(type, MAP_HASH);
    __uint(max_entries, 4096);
    __type(key, struct tuple);
    __type(value, u32);
} guarded SEC(".maps");

struct {
    __uint(type, MAP_SOCKMAP);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u32);
} hole SEC(".maps");

/* Read and written by the process too. `Shared` in src/kernel/guard.rs. */
struct shared {
    u64 until; /* CLOCK_MONOTONIC, ns */
    u64 caught;
    u64 unheard;
};
struct {
    __uint(type, MAP_ARRAY);
    __uint(map_flags, F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct shared);
} shared SEC(".maps");

SEC("sk_lookup")
int guard(struct lookup *ctx)
{
    struct tuple tuple = {};
    struct shared *counts;
    u32 zero = 0;
    void *listener;

    if (ctx->protocol != PROTOCOL_TCP)
        return PASS;
    if (ctx->family == FAMILY_IPV4) {
        tuple.peer[0] = ctx->remote_ip4;
        tuple.local[0] = ctx->local_ip4;
    } else {
        tuple.peer[0] = ctx->remote_ip6[0];
        tuple.peer[1] = ctx->remote_ip6[1];
        tuple.peer[2] = ctx->remote_ip6[2];
        tuple.peer[3] = ctx->remote_ip6[3];
        tuple.local[0] = ctx->local_ip6[0];
        tuple.local[1] = ctx->local_ip6[1];
        tuple.local[2] = ctx->local_ip6[2];
        tuple.local[3] = ctx->local_ip6[3];
    }
    tuple.peer_port = ctx->remote_port;
    tuple.local_port = __builtin_bswap16((u16)ctx->local_port);
    if (!map_lookup(&guarded, &tuple))
        return PASS;
    listener = map_lookup(&hole, &zero);
    if (!listener)
        return PASS;
    assign(ctx, listener, LOOKUP_REPLACE | LOOKUP_NO_REUSEPORT);
    release(listener);
    counts = map_lookup(&shared, &zero);
    if (counts)
        __sync_fetch_and_add(&counts->caught, 1);
    return PASS;
}

SEC("socket")
int deaf(struct packet *ctx)
{
    u32 zero = 0;
    struct shared *counts = map_lookup(&shared, &zero);

    if (!counts || ktime_get_ns() >= *(volatile u64 *)&counts->until)
        return (int)ctx->length;
    __sync_fetch_and_add(&counts->unheard, 1);
    return 0;
}
