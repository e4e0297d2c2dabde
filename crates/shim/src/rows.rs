//! The rows of the table. What they mean, and who reads them, stands in `table`.
//!
//! Narrow rows stand before wide ones: the first that fits decides.

use libc::{c_int, c_ulong};

use crate::table::{Goes, Keys, Row, CORK, NODELAY};

const SOCKET: c_int = libc::SOL_SOCKET;
const TCP: c_int = libc::IPPROTO_TCP;
const SO_RCVTIMEO_NEW: c_int = 66;
const SO_SNDTIMEO_NEW: c_int = 67;
const SO_TIMESTAMPING_NEW: c_int = 65;
const TCP_REPAIR_OFF_NO_WP_WINDOW: c_int = 29;
const TCP_ZEROCOPY_RECEIVE: c_int = 35;
const TCP_INQ: c_int = 36;
const SIOCOUTQNSD: c_ulong = 0x894B;
/// The table.
pub const ROWS: &[Row] = &[
    Row {
        calls: "read, write, readv, writev, send, recv, sendfile, splice, poll, select, epoll",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "the data path is the kernel's own. A read that finds the end, and a write that finds nobody, tell the error that \
              the real socket met, once, as natively: ECONNRESET, ETIMEDOUT. (Streams do not, nor syscall(); poll shows a \
              hang-up without POLLERR, and SIGPIPE comes with the first such write)",
        tests: &[
            "test_data_and_readiness",
            "test_sendfile",
            "test_a_reset_is_told_once",
            "test_a_reset_is_told_by_the_calls_that_move_bytes_in_the_kernel_and_by_those_of_many_messages",
            "test_reads_of_an_end",
        ],
    },
    Row {
        calls: "shutdown",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "the engine carries the half-close across; the pair then ends with its flow. What comes in after SHUT_RD is thrown \
              away, as UNIX sockets have it; Linux's TCP would hand it out",
        tests: &["test_shutdown"],
    },
    Row {
        calls: "epoll_ctl, epoll_wait, epoll_pwait, poll",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "the shim remembers the one epoll set that a socket is in, and takes it out at close, since the socket may carry another \
              flow; a long wait is interrupted, unseen, to close idle pairs",
        tests: &["test_what_lets_a_pair_go_on", "test_idle_pairs_go_while_the_program_sleeps"],
    },
    Row {
        calls: "epoll_wait, epoll_pwait, epoll_pwait2, poll, ppoll, select, pselect, sleep and its like, execve and its like",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "connections of one accept burst are told to their module in one message, at the latest before the application \
              sleeps, reads from one or writes to it, or becomes another program. Other calls that sleep (waitpid, flock) delay it",
        tests: &["test_what_lets_them_go", "test_exec_takes_them_along", "test_every_exec_is_itself", "test_a_module_that_goes_meanwhile"],
    },
    Row {
        calls: "close of a socket whose pair may carry another flow",
        keys: Keys::Calls,
        goes: Goes::Special,
        why: "the intermediate socket is kept, out of sight, and the next connection accepted may get it, as new. Never after dup, \
              fork and its like, passing, shutdown, options or an owner of its own, a second epoll set, a stream (fdopen), io_uring, \
              or while a thread is inside a call on it: each is a counter, pairs_…",
        tests: &[
            "test_what_ends_a_pair_with_its_flow",
            "test_the_next_flow_finds_a_new_socket",
            "test_a_thread_that_reads_from_what_is_closed_gets_nothing_of_the_next_flow",
            "test_bytes_that_come_after_the_close_are_nobody_elses",
        ],
    },
    Row {
        calls: "ioctl FIONREAD (SIOCINQ), FIONBIO, FIOASYNC, FIOSETOWN, FIOGETOWN, SIOCSPGRP, SIOCGPGRP",
        keys: Keys::Ioctl(&[0x541B, 0x5421, 0x5452, 0x8901, 0x8902, 0x8903, 0x8904]),
        goes: Goes::Intermediate,
        why: "waiting, signals and unread input are there",
        tests: &["test_fionread", "test_nonblocking"],
    },
    Row {
        calls: "fcntl F_GETFL, F_SETFL, F_SETOWN, F_GETOWN, F_SETSIG",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "the waiting is there; the real socket is non-blocking, always",
        tests: &["test_nonblocking", "test_setown"],
    },
    Row {
        calls: "ioctl FIOCLEX, FIONCLEX; fcntl F_SETFD",
        keys: Keys::Ioctl(&[0x5450, 0x5451]),
        goes: Goes::Both,
        why: "the hidden duplicate goes through exec with its descriptor or not at all",
        tests: &["test_cloexec_is_mirrored"],
    },
    Row {
        calls: "ioctl SIOCOUTQ, SIOCOUTQNSD",
        keys: Keys::Ioctl(&[libc::TIOCOUTQ, SIOCOUTQNSD]),
        goes: Goes::Sum,
        why: "0 when the peer has acknowledged all, never before the intermediate socket is empty; that one counts \
              the memory of its buffers, so the number may be larger than natively",
        tests: &["test_outq"],
    },
    Row {
        calls: "ioctl SIOCATMARK, SIOCGSTAMP, interface and address requests",
        keys: Keys::IoctlFamily(0x89),
        goes: Goes::Real,
        why: "they ask the network",
        tests: &["test_socket_ioctls"],
    },
    Row {
        calls: "getpeername, getsockname",
        keys: Keys::Calls,
        goes: Goes::Real,
        why: "the addresses are TCP's",
        tests: &["test_names"],
    },
    Row {
        calls: "bind, connect, listen",
        keys: Keys::Calls,
        goes: Goes::Real,
        why: "they fail as natively; connect with AF_UNSPEC disconnects",
        tests: &["test_bind_connect_listen", "test_disconnect"],
    },
    Row {
        calls: "SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT",
        keys: Keys::Option(
            SOCKET,
            &[libc::SO_RCVTIMEO, libc::SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW, libc::SO_RCVLOWAT],
        ),
        goes: Goes::Intermediate,
        why: "they act where the blocking happens; handed down from a listener that has them. poll does not \
              heed SO_RCVLOWAT on a UNIX socket",
        tests: &["test_timeouts", "test_rcvlowat", "test_timeouts_are_inherited"],
    },
    Row {
        calls: "SO_SNDBUF (set)",
        keys: Keys::Set(SOCKET, &[libc::SO_SNDBUF, libc::SO_SNDBUFFORCE]),
        goes: Goes::Both,
        why: "it bounds what a write takes without blocking, and what TCP keeps; handed down from a listener. \
              Answered by the real one. SO_RCVBUF is TCP's window and goes to the real one alone",
        tests: &["test_buffer_sizes", "test_send_buffer_bounds_a_write"],
    },
    Row {
        calls: "SO_PEEK_OFF",
        keys: Keys::Set(SOCKET, &[libc::SO_PEEK_OFF]),
        goes: Goes::Both,
        why: "peeking happens on the intermediate one; the real one says whether this kernel has it for TCP",
        tests: &["test_peek_offset"],
    },
    Row {
        calls: "SO_ERROR",
        keys: Keys::Get(SOCKET, &[libc::SO_ERROR]),
        goes: Goes::Either,
        why: "a module that died leaves its error on the intermediate one; the network's is on the real one, or was left there by \
              the module that met it",
        tests: &["test_so_error", "test_a_reset_is_told_once"],
    },
    Row {
        calls: "SO_ZEROCOPY, SO_TIMESTAMPING (set)",
        keys: Keys::Set(SOCKET, &[libc::SO_ZEROCOPY, libc::SO_TIMESTAMPING, SO_TIMESTAMPING_NEW]),
        goes: Goes::Declined(libc::EOPNOTSUPP),
        why: "nobody may wait for a completion that never comes. A listener that has SO_ZEROCOPY is not stolen from",
        tests: &["test_zerocopy_is_declined", "test_zerocopy_listener_is_left_alone"],
    },
    Row {
        calls: "TCP_ULP (set)",
        keys: Keys::Set(TCP, &[libc::TCP_ULP]),
        goes: Goes::Declined(libc::ENOENT),
        why: "what a kernel without the tls module says: OpenSSL encrypts by itself",
        tests: &["test_ulp_is_declined"],
    },
    Row {
        calls: "TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS, TCP_REPAIR_WINDOW (set)",
        keys: Keys::Set(
            TCP,
            &[
                libc::TCP_REPAIR,
                libc::TCP_REPAIR_QUEUE,
                libc::TCP_QUEUE_SEQ,
                libc::TCP_REPAIR_OPTIONS,
                TCP_REPAIR_OFF_NO_WP_WINDOW,
            ],
        ),
        goes: Goes::Declined(libc::EPERM),
        why: "what an ordinary user is told; half of the connection's state is in the module",
        tests: &["test_repair_is_declined"],
    },
    Row {
        calls: "TCP_INQ",
        keys: Keys::Option(TCP, &[TCP_INQ]),
        goes: Goes::Declined(libc::ENOPROTOOPT),
        why: "what a kernel before 4.18 says: the control message would not come",
        tests: &["test_inq_is_declined"],
    },
    Row {
        calls: "TCP_ZEROCOPY_RECEIVE (get)",
        keys: Keys::Get(TCP, &[TCP_ZEROCOPY_RECEIVE]),
        goes: Goes::Declined(libc::ENOPROTOOPT),
        why: "what a kernel before 4.18 says: the data is not in the real socket",
        tests: &["test_zerocopy_receive_is_declined"],
    },
    Row {
        calls: "TCP_NODELAY",
        keys: Keys::Option(TCP, &[libc::TCP_NODELAY]),
        goes: Goes::Remembered(NODELAY),
        why: "the real socket always runs with NODELAY, since the engine writes whole batches; on listeners too",
        tests: &["test_nodelay_and_cork", "test_nodelay_on_the_listener"],
    },
    Row {
        calls: "TCP_CORK",
        keys: Keys::Option(TCP, &[libc::TCP_CORK]),
        goes: Goes::Remembered(CORK),
        why: "applied to the real socket it is out of step with the data: p99 went from 0.5 to 41 ms",
        tests: &["test_nodelay_and_cork"],
    },
    Row {
        calls: "write and its like, sendfile, of few bytes",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "at most 16 KB, on a pair that may be used again, when everything before was read: they lie in memory that the first module \
              shares, in their order among those of the socket, and are there when the call returns. `MODNET_INLINE=off` sends all through the \
              socket",
        tests: &[
            "test_every_call_writes_what_it_writes_natively",
            "test_what_goes_through_the_socket",
            "test_a_pointer_to_nothing_is_an_error_as_natively",
            "test_bytes_keep_their_place_whatever_call_writes_them",
            "test_a_write_that_no_hook_counts_ends_inline",
            "test_threads_that_write_at_one_time_each_keep_their_order",
            "test_what_was_written_before_a_kill_arrives",
            "test_a_network_that_is_gone_is_told_by_the_next_write",
            "test_a_child_writes_by_the_socket",
        ],
    },
    Row {
        calls: "SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_PEERCRED, SO_ACCEPTCONN",
        keys: Keys::Option(
            SOCKET,
            &[libc::SO_TYPE, libc::SO_DOMAIN, libc::SO_PROTOCOL, libc::SO_PEERCRED, libc::SO_ACCEPTCONN],
        ),
        goes: Goes::Real,
        why: "what kind of socket it is: TCP, with nobody's credentials",
        tests: &["test_kind_of_socket"],
    },
    Row {
        calls: "SO_LINGER",
        keys: Keys::Option(SOCKET, &[libc::SO_LINGER]),
        goes: Goes::Real,
        why: "the engine looks when the application closes: linger 0 resets. A longer one does not block close. The pair then ends \
              with its flow",
        tests: &["test_linger", "test_what_ends_a_pair_with_its_flow"],
    },
    Row {
        calls: "all other SOL_SOCKET options: SO_KEEPALIVE, SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_BINDTODEVICE, \
                SO_MARK, SO_PRIORITY, SO_OOBINLINE, SO_INCOMING_CPU, SO_COOKIE, SO_BUSY_POLL, SO_TIMESTAMP, …",
        keys: Keys::Option(SOCKET, &[]),
        goes: Goes::Real,
        why: "they are about the connection. (SO_TIMESTAMP brings no control message)",
        tests: &["test_socket_options"],
    },
    Row {
        calls: "all other TCP options: TCP_INFO, TCP_KEEPIDLE, TCP_USER_TIMEOUT, TCP_QUICKACK, TCP_CONGESTION, \
                TCP_MAXSEG, TCP_FASTOPEN, TCP_NOTSENT_LOWAT, …",
        keys: Keys::Option(TCP, &[]),
        goes: Goes::Real,
        why: "they are about the connection",
        tests: &["test_tcp_options"],
    },
    Row {
        calls: "options of IPPROTO_IP, IPPROTO_IPV6 and other levels",
        keys: Keys::Option(libc::IPPROTO_IP, &[]),
        goes: Goes::Real,
        why: "they are about the connection",
        tests: &["test_ip_options"],
    },
    Row {
        calls: "send with MSG_OOB",
        keys: Keys::Calls,
        goes: Goes::Declined(libc::EOPNOTSUPP),
        why: "newer kernels take it on UNIX sockets, but its mark would be lost on the way",
        tests: &["test_out_of_band"],
    },
    Row {
        calls: "send with MSG_FASTOPEN",
        keys: Keys::Calls,
        goes: Goes::Declined(libc::EISCONN),
        why: "as TCP says of what is connected",
        tests: &["test_fastopen"],
    },
    Row {
        calls: "sendto, sendmsg, sendmmsg with an address",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "without the address: connected TCP ignores it, UNIX sockets fail",
        tests: &["test_send_with_an_address"],
    },
    Row {
        calls: "recv, recvfrom, recvmsg with MSG_TRUNC",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "takes bytes off without copying them, as TCP does",
        tests: &["test_truncating_receive"],
    },
    Row {
        calls: "recv, recvfrom, recvmsg with MSG_ERRQUEUE",
        keys: Keys::Calls,
        goes: Goes::Real,
        why: "errors of the network (IP_RECVERR) are there",
        tests: &["test_error_queue"],
    },
    Row {
        calls: "close, fclose, dup, dup2, dup3, fcntl F_DUPFD",
        keys: Keys::Calls,
        goes: Goes::Follows,
        why: "the hidden duplicate is closed first, so that the module pays for the connection's end",
        tests: &["test_close", "test_fclose", "test_dup_family", "test_dup2_over_a_stolen_socket"],
    },
    Row {
        calls: "close_range, closefrom, loops over /proc/self/fd",
        keys: Keys::Calls,
        goes: Goes::Follows,
        why: "a program that closes all closes these too; one that keeps a descriptor keeps its duplicate",
        tests: &["test_close_range", "test_closefrom", "test_proc_walking_close_loop"],
    },
    Row {
        calls: "fork, vfork, posix_spawn, system, popen, daemon, clone, exec",
        keys: Keys::Calls,
        goes: Goes::Follows,
        why: "inherited with the descriptor, found again after exec. A file action of posix_spawn that \
              gives a socket another number is libc's own work: that number has data only",
        tests: &["test_fork", "test_vfork", "test_posix_spawn", "test_exec", "test_forks_beside_accepts"],
    },
    Row {
        calls: "passing by SCM_RIGHTS, pidfd_getfd",
        keys: Keys::Calls,
        goes: Goes::Intermediate,
        why: "the receiver has the intermediate socket alone: data, readiness, shutdown and close; under the same run also the \
              addresses, while TCP's options are taken and have no effect, and errors are ends",
        tests: &["test_fd_passing", "test_a_passed_socket_has_its_addresses"],
    },
    Row {
        calls: "getrlimit, setrlimit, prlimit of RLIMIT_NOFILE",
        keys: Keys::Calls,
        goes: Goes::Special,
        why: "the application sees its own limits; hidden duplicates live above them. A hard limit that it lowers is \
              set as a code that an exec'ed child understands; where an ordinary user's hard limit leaves no room for that (below \
              262,144) the child sees the former one",
        tests: &["test_limits", "test_limits_in_bash", "test_a_lowered_hard_limit_outlives_exec"],
    },
    Row {
        calls: "syscall() for all of these",
        keys: Keys::Calls,
        goes: Goes::Special,
        why: "as the function of that name: libuv closes so",
        tests: &["test_syscall_function", "test_node_leaves_the_same_descriptors"],
    },
    Row {
        calls: "accept, accept4",
        keys: Keys::Calls,
        goes: Goes::Special,
        why: "the number, address and flags that accept gave; TCP over IPv4 and IPv6 only",
        tests: &["test_accept_gives_the_same_number", "test_ipv6", "test_other_listeners_are_untouched"],
    },
];
