/* modnet.h: the calls of ModNet's modules, for C and C++.
 *
 * A module is a process with a name. Programs that are started with `modnet run -m NAME -- COMMAND` hand each of their
 * accepted TCP connections to it; it sits between the program and the network and decides what passes.
 *
 *     modnet_register("mine");
 *     struct epoll_event event = { .events = EPOLL_STEAL };
 *     modnet_epoll_ctl(epfd, EPOLL_CTL_ADD, -MODNET_ALL_CPUS, &event);
 *     for (;;) {
 *         if (modnet_epoll_wait(epfd, &event, 1, -1) == 1 && event.events & EPOLL_STEAL) {
 *             int left[64], right[64];
 *             int pairs = modnet_getsockets(left, right, 64, MODNET_ALL_CPUS);
 *             ... bytes of left[i] go to right[i], and the other way ...
 *
 * Build: cc module.c $(pkg-config --cflags --libs modnet), with PKG_CONFIG_PATH as `modnet`'s package has it
 * (python3 -c 'import modnet; print(modnet.__path__[0] + "/lib/pkgconfig")'). A whole program: examples/forwarder.c.
 *
 * Every call returns -1 and sets errno when it fails, never prints, and may be called by any thread. None waits for
 * another process, but modnet_register (at most 2 s, for the registry's lock) and modnet_apply (at most 5 s for
 * each module that does not answer). The runtime directory is $MODNET_RUNTIME_DIR, else /run/modnet for root, else
 * $XDG_RUNTIME_DIR/modnet, else /tmp/modnet-UID: module and programs must mean the same one.
 */
#ifndef MODNET_H
#define MODNET_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the calling process the module `name` (1 to 31 letters, digits, _ - and ., the first a letter or digit).
 *
 * The name is free again when the process has ended, however it ends. The library starts two threads, with all
 * signals blocked, which answer `modnet ps` and `modnet module show|stop NAME`. A stop gives the name back; what programs
 * have sent by then can still be taken, and then modnet_getsockets fails with ESHUTDOWN. When the time given to the stop
 * (--drain) is over, the process gets SIGTERM.
 * A process that is forked from a module is not that module: call exec there, or its copies of the module's sockets keep
 * the name taken.
 *
 * EEXIST     a living module has the name
 * EBUSY      this process has a name already
 * EINVAL     not a name
 * EFAULT     name is NULL
 * EPERM      the runtime directory belongs to somebody else, or can be changed by others
 * ETIMEDOUT  another process holds the registry's lock and does not go on
 * or as for mkdir, bind and pthread_create. */
int modnet_register(const char *name);

/* Applies modules to process `target` (0: the calling process) from its next accept on, in the given order: names[0] is
 * nearest to the process, names[count - 1] nearest to the network. They take the place of those that were applied before;
 * count 0 applies none. All processes that `target` shares its chain with (its parents and children since `modnet run`)
 * follow.
 *
 * ENOENT     no living module has one of the names; nothing has changed
 * ESRCH      there is no process `target`
 * EPERM      the process belongs to another user, and the caller is not root
 * EOPNOTSUPP the process was not started by `modnet run`: there is nothing in it that could hand over its sockets
 * EINVAL     count is negative or more than 16, or one is not a name
 * EFAULT     names or one of them is NULL
 * ETIMEDOUT  a module, or another process that changes the same chain, does not answer */
int modnet_apply(pid_t target, const char *const names[], int count);

/* A cpu_mask that means every core. */
#define MODNET_ALL_CPUS LONG_MAX

/* Takes stolen connections, at most `max` in one call, and returns how many. left_fds[i] is the socket towards the
 * application, right_fds[i] the one towards the network: the real TCP socket, or a UNIX socket to the next module of the
 * chain. There is a queue for each core, of connections that were accepted on it; cpu_mask says from which to take: a positive
 * number, bit n for core n (beyond the 63rd: n modulo 63). Somebody must take from every core's queue, or connections wait there.
 *
 * The paper's call has no `max` and trusts the arrays to be large enough; here they cannot be overrun.
 *
 * The descriptors are close-on-exec, and the caller's to close. Three things are not as with sockets of one's own, since
 * the application holds the real socket as well:
 * - whether they block is not fixed: use MSG_DONTWAIT rather than fcntl, which the application would feel;
 * - close(right) alone does not end the connection: call shutdown(right, SHUT_WR) first;
 * - close(right) alone does not take it out of an epoll set: use EPOLL_CTL_DEL first.
 *
 * EAGAIN     none is there
 * ESHUTDOWN  none is there, and none will come: the module was told to stop
 * EINVAL     max is less than 1, or cpu_mask means no core of this machine
 * EFAULT     left_fds or right_fds is NULL
 * ENOTCONN   the calling process is not a module
 * EMFILE, ENFILE, ENOMEM  a program cannot be let in; it passes without this module */
int modnet_getsockets(int left_fds[], int right_fds[], int max, long cpu_mask);

/* --- Yielding: a flow goes to other modules --- */

#define MODNET_APPLY_LEFT 1  /* they come between the caller and its neighbour towards the application */
#define MODNET_APPLY_RIGHT 2 /* between the caller and its neighbour towards the network */
#define MODNET_REPLACE 3     /* in the caller's place, which leaves the flow */

/* Bytes that the caller has read and not passed on: the new modules read them before everything else. */
struct modnet_held {
    const void *outbound; /* read from left_fd; NULL where the length is 0 */
    size_t outbound_length;
    const void *inbound; /* read from right_fd */
    size_t inbound_length;
};

/* Yields a flow of modnet_getsockets, which may have carried bytes already, to `count` modules, names[0] nearest to the
 * application. `held` may be NULL. What the caller has changed and not yet written it writes before, or gives up.
 *
 * operation            needs               held        afterwards
 * MODNET_REPLACE       left_fd, right_fd   both ways   both are closed
 * MODNET_APPLY_LEFT    left_fd             outbound    left_fd is a socket to the last of the new modules
 * MODNET_APPLY_RIGHT   right_fd            inbound     right_fd is a socket to the first of the new modules
 *
 * A descriptor that is not needed may be -1. One that an epoll set holds is taken out before (EPOLL_CTL_DEL), and put in again if
 * it stays: others have the socket, so that closing does not do it.
 *
 * An application yields a connection of its own, which it has accepted or connected, by MODNET_APPLY_RIGHT with right_fd; the
 * number stays, as a socket to the first of the modules. Under `modnet run` (without -m: in place of a chain for all sockets; with -m:
 * the modules come before those) all calls on it go on as after a stolen accept; without it, calls other than data, shutdown
 * and readiness are answered by that UNIX socket. No other process or descriptor should have the connection.
 *
 * The paper's call has neither `count` nor `held`: its arrays end somewhere, and the kernel has what a module has not read.
 *
 * Nothing has changed where it fails:
 * ENOENT     no living module has one of the names
 * EAGAIN     a module takes no more flows now
 * EPERM      a module is another user's, and the caller is not root
 * EINVAL     not an operation; a descriptor is missing, or no connection, or no flow of this module; count is less than 1, or the chain
 *            gets longer than 16; bytes that do not pass the new modules; not a name
 * ENOTCONN   the application's socket is not connected
 * EFAULT     names or one of them is NULL, or bytes are
 * EBADF, ENOTSOCK, EMFILE, ENFILE, ENOMEM */
int modnet_yield(int left_fd, int right_fd, const char *const names[], int count, int operation,
                 const struct modnet_held *held);

/* Told by modnet_epoll_wait when modnet_getsockets may have something: connections, or ESHUTDOWN. EAGAIN is no error there: what
 * came may be no connection yet, only a program that announces itself. */
#define EPOLL_STEAL (1u << 24)

/* epoll_ctl(2), with one addition: a negative `fd` is the negative of a cpu_mask, to be watched for EPOLL_STEAL. (`fd` is
 * long since a mask is; an int can be given.) EPOLL_STEAL is level-triggered: it is told as long as something is there,
 * unless EPOLLET or EPOLLONESHOT is added to it. Several threads can watch, each with its own set and mask; where masks
 * overlap all are woken, and those that come late find EAGAIN. A set that holds a mask is closed as any other.
 *
 * EINVAL     other events than EPOLL_STEAL, EPOLLET and EPOLLONESHOT for a mask; a mask that means no core; for a
 *            descriptor EPOLL_STEAL, or EPOLLRDNORM, by which EPOLL_STEAL is known (EPOLLIN means the same)
 * ENOTCONN   a mask, and the calling process is not a module
 * or as epoll_ctl: EEXIST and ENOENT for masks too. */
int modnet_epoll_ctl(int epfd, int op, long fd, struct epoll_event *event);

/* epoll_wait(2) that tells EPOLL_STEAL. Its event has the data that was given with the mask. */
int modnet_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);

/* --- Revocation: bytes that have not been sent --- */

/* Told by modnet_epoll_wait: a yank with MODNET_YANK_DONTWAIT has its answer, for the same call. Level-triggered. */
#define EPOLL_YANK (1u << 25)
/* Told of a left socket while somebody takes bytes back that came from it: see modnet_yank_request. Level-triggered. */
#define EPOLL_YANK_REQ (1u << 26)
/* Both are added to other events of a descriptor in modnet_epoll_ctl, which keeps EPOLLWRNORM for itself (EPOLLOUT means the
 * same). EPOLL_CTL_DEL before closing a left socket; a forgotten one is found later. */

enum { MODNET_YANK = 0, MODNET_PEEK = 1 };
enum { MODNET_YANK_NONE = 0, MODNET_YANK_LOCK = 1, MODNET_YANK_UNLOCK = 2 };
enum { MODNET_YANK_DONTWAIT = 1 };

/* Takes back the last bytes written to `fd`, at most `len`, that TCP has not sent; their number, 0 where nothing is unsent.
 * They are put into `buf` in the order of the stream. MODNET_PEEK: they stay where they are. `fd` is an application's
 * intermediate socket, a right of modnet_getsockets that leads to a next module, or a TCP socket that no module has (then they
 * come out of the kernel's send buffer: CAP_NET_ADMIN, no lock).
 *
 * MODNET_YANK_LOCK holds transmission from then on, and keeps others from taking bytes, until MODNET_YANK_UNLOCK (with len 0
 * that is all that happens), a close, or the end of the process. Waits for modules, at most $MODNET_YANK_TIMEOUT seconds (1),
 * unless MODNET_YANK_DONTWAIT.
 *
 * EAGAIN     the answer comes later, as EPOLL_YANK; or somebody else takes or holds the bytes; or the kernel cannot now
 * EOPNOTSUPP a module of the chain gives nothing back, or no module has the bytes of this socket; or the kernel never can
 * ETIMEDOUT  a module does not answer; the bytes go on
 * EPERM      a plain TCP socket, and no CAP_NET_ADMIN; or the module is another user's
 * EINVAL, EFAULT, EBADF, ENOTSOCK */
int modnet_yank(int fd, void *buf, int len, int operation, int lock, int flags);

/* For a module: how many of the last bytes that came from `left_fd` somebody takes back. Take back what you made of them
 * (modnet_yank on the right socket), and write them as they had come.
 *
 * EAGAIN     nobody does, or not any more */
int modnet_yank_request(int left_fd);

/* Gives bytes back, in the order of the stream; the number of those for which there was room in the yank buffer
 * ($MODNET_YANK_BUFFER bytes, 256 KiB). The answer is over when there are as many as were asked for, or with `len` 0.
 *
 * EAGAIN     nobody asks, or not any more
 * EMSGSIZE   more than were asked for
 * EINVAL, EFAULT, EBADF, ENOTSOCK */
int modnet_yankwrite(int left_fd, const void *buf, int len);

/* --- Inspection: the TCP state of a connection, read from memory --- */

#define MODNET_STATE_VERSION 1
#define MODNET_SOURCE_BPF 1     /* the kernel writes the state with every packet and send */
#define MODNET_SOURCE_SAMPLED 2 /* it is taken from TCP_INFO every 10 ms */

/* A packet that was received. Times are nanoseconds of CLOCK_MONOTONIC; 0: there was none, or it is not known. */
struct modnet_packet {
    uint64_t arrival_ns;
    uint64_t sent_ns;       /* when the newest of the data that it acknowledged had been sent */
    uint32_t seq;           /* its sequence number */
    uint32_t ack_seq;       /* its acknowledgement number */
    uint32_t acked_bytes;   /* bytes that it acknowledged and no packet before it had */
    uint32_t acked_packets; /* packets likewise, selective acknowledgements included */
};

/* Units as in TCP_INFO. Where the source is MODNET_SOURCE_SAMPLED, sequence numbers count from the connection's first byte,
 * and `packets` is empty. */
struct modnet_state {
    uint32_t sequence;      /* odd while it is written */
    uint32_t version;       /* MODNET_STATE_VERSION */
    uint64_t cookie;        /* whose state it is (SO_COOKIE); another one or 0: that connection is over */
    uint64_t updated_ns;    /* when it was written */
    uint32_t source;        /* MODNET_SOURCE_BPF or MODNET_SOURCE_SAMPLED */
    uint32_t state;         /* TCP_ESTABLISHED and so on; only in that one the kernel tells of every packet */
    uint32_t cwnd;          /* packets */
    uint32_t ssthresh;      /* packets */
    uint32_t srtt_us;
    uint32_t rttvar_us;
    uint32_t min_rtt_us;
    uint32_t mss;           /* bytes */
    uint32_t packets_out;
    uint32_t retrans_out;
    uint32_t lost_out;
    uint32_t sacked_out;
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t write_seq;
    uint32_t rcv_nxt;
    uint32_t delivered;     /* packets */
    uint32_t retransmits;   /* packets */
    uint64_t bytes_acked;
    uint64_t delivery_rate; /* bytes per second; 0: none was measured */
    uint64_t pacing_rate;   /* bytes per second */
    uint32_t app_limited;   /* 1: delivery_rate was measured while there was nothing to send */
    uint32_t wmem_queued;   /* bytes */
    uint32_t snd_buf;       /* bytes */
    uint32_t snd_wnd;       /* bytes */
    uint64_t check;
    struct modnet_packet packets[2]; /* newest first */
    uint64_t reserved[6];
};

/* The state of a connection, as a pointer to memory that changes while it is read; a field can be read from it at any time.
 * `fd` is a TCP socket, a right of modnet_getsockets, or an application's intermediate socket; for the latter two it is the
 * state of the real socket. Give it back before closing `fd`. MODNET_INSPECT=bpf|sampled|off forces a way.
 *
 * EOPNOTSUPP no socket of a connection, or not known behind it; or inspection is off, or not to be had in the forced way
 * ENOTCONN   it is not connected
 * EBADF, ENOTSOCK, EACCES, ENOSPC, ENOMEM */
const struct modnet_state *modnet_map_state(int fd);

/* Ends it: the pointer must not be used any more. EINVAL: it is none. */
int modnet_unmap_state(const struct modnet_state *state);

/* A copy whose fields belong together. 0, or -1 where the connection is over or is being written for too long (EAGAIN). */
int modnet_read_state(const struct modnet_state *state, struct modnet_state *copy);

#ifdef __cplusplus
}
#endif

#endif
