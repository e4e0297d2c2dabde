/* What the programs know of the kernel: helpers, and the few fields that they read.
 *
 * Rules: only fields that are read stand here, in any order: the loader finds each one's place in the running kernel
 * (CO-RE), which preserve_access_index asks for. A vmlinux.h of three megabytes would say the same. */
#ifndef MODNET_KERNEL_H
#define MODNET_KERNEL_H

#include "bpf.h"

#define INLINE static inline __attribute__((always_inline))
#define barrier() asm volatile("" ::: "memory")

enum {
    STORAGE_CREATE = 1,
};

static u32 (*const this_cpu)(void) = (void *)8;
static u64 (*const this_thread)(void) = (void *)14;
static u64 (*const uid_gid)(void) = (void *)15;
static u64 (*const socket_cookie)(void *sk) = (void *)46;
static void *(*const storage_get)(void *map, void *sk, void *value, u64 flags) = (void *)107;
static long (*const storage_delete)(void *map, void *sk) = (void *)108;
static struct tcp_sock *(*const to_tcp_sock)(void *sk) = (void *)137;
static void *(*const task_storage_get)(void *map, void *task, void *value, u64 flags) = (void *)156;
static void *(*const this_task)(void) = (void *)158;

#define RELOCATED __attribute__((preserve_access_index))
struct atomic_64 {
    volatile u64 counter;
} RELOCATED;

struct atomic_32 {
    volatile int counter;
} RELOCATED;

struct sock_common {
    volatile u8 skc_state;
    struct atomic_64 skc_cookie;
} RELOCATED;

struct qspinlock {
    struct atomic_32 val;
} RELOCATED;

struct raw_spinlock {
    struct qspinlock raw_lock;
} RELOCATED;

struct spinlock {
    struct raw_spinlock rlock;
} RELOCATED;

struct socket_lock {
    struct spinlock slock;
    volatile int owned;
} RELOCATED;

struct sock {
    struct sock_common __sk_common;
    struct socket_lock sk_lock;
    void *sk_socket;
    void *sk_bpf_storage;
    int sk_wmem_queued;
    int sk_sndbuf;
    unsigned long sk_pacing_rate;
} RELOCATED;

struct inet_sock {
    struct sock sk;
} RELOCATED;

struct inet_connection_sock {
    struct inet_sock icsk_inet;
} RELOCATED;

struct minmax_sample {
    u32 t;
    u32 v;
} RELOCATED;

struct minmax {
    struct minmax_sample s[3];
} RELOCATED;

struct tcp_rack {
    u64 mstamp;
} RELOCATED;

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    u32 rcv_nxt;
    u32 snd_nxt;
    u32 snd_una;
    volatile u32 write_seq;
    u32 snd_wnd;
    u32 mss_cache;
    u32 snd_cwnd;
    u32 snd_ssthresh;
    u32 packets_out;
    u32 retrans_out;
    u32 lost_out;
    u32 sacked_out;
    u32 total_retrans;
    u32 segs_in;
    u32 delivered;
    u32 srtt_us;
    u32 mdev_us;
    u32 rate_delivered;
    u32 rate_interval_us;
    u64 bytes_acked;
    volatile u64 tcp_clock_cache;
    struct minmax rtt_min;
    struct tcp_rack rack;
    u8 rate_app_limited : 1;
} RELOCATED;

/* What a pointer leads to that a map remembers and that holds nothing: it may be something else by now. A load through it cannot
 * fault, and costs a few instructions more than through one that the verifier trusts. The name is the kernel's (Linux 6.4) for the
 * tag of such a pointer's type, which `build.rs` makes of this. */
typedef struct tcp_sock kptr_untrusted;

struct tcp_skb_cb {
    u32 seq;
    u32 ack_seq;
} RELOCATED;

struct sk_buff {
    char cb[48];
} RELOCATED;

#endif
