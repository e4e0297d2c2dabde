/* The floor of this machine: what the system calls of a delegated connection cost, and one process switch.
 *
 * Prints one JSON object a line: name, nanoseconds (the least of REPEATS averages: noise only ever adds).
 * Rules: every call's result is checked; pinned to one core, the second process to the one that is asked for.
 * Usage: calls CORE OTHER_CORE
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REPEATS = 9, HEADER = 300 };

static int must(long result, const char *what) {
    if (result < 0) { perror(what); exit(1); }
    return (int)result;
}
#define MUST(call) must((call), #call)

static double now_ns(void) {
    struct timespec t;
    MUST(clock_gettime(CLOCK_MONOTONIC, &t));
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define MEASURE(name, count, ...)                                            \
    do {                                                                     \
        double least = 1e18;                                                 \
        for (int repeat = 0; repeat < REPEATS; repeat++) {                   \
            double begun = now_ns();                                         \
            for (int i = 0; i < (count); i++) { __VA_ARGS__; }               \
            double each = (now_ns() - begun) / (count);                      \
            if (each < least) least = each;                                  \
        }                                                                    \
        printf("{\"name\": \"%s\", \"ns\": %.1f}\n", name, least);           \
        fflush(stdout);                                                      \
    } while (0)

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    MUST(sched_setaffinity(0, sizeof set, &set));
}

static void send_fds(int to, const int *fds, size_t count) {
    char byte = 1, control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    MUST(sendmsg(to, &message, 0));
}

static void receive_and_close_fds(int from, size_t count) {
    char byte, control[CMSG_SPACE(8 * sizeof(int))];
    int fds[8];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    MUST(recvmsg(from, &message, MSG_CMSG_CLOEXEC));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL) { fprintf(stderr, "no descriptor arrived\n"); exit(1); }
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    for (size_t i = 0; i < count; i++) MUST(close(fds[i]));
}

/* A byte goes to another process and comes back: two switches, two writes, two reads. */
static void ping_pong(const char *name, int other_core, int count) {
    int there[2], back[2];
    MUST(pipe2(there, O_CLOEXEC));
    MUST(pipe2(back, O_CLOEXEC));
    int child = MUST(fork());
    if (child == 0) {
        MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
        MUST(close(there[1]));
        pin(other_core);
        char byte;
        while (read(there[0], &byte, 1) == 1) MUST(write(back[1], &byte, 1));
        _exit(0);
    }
    char byte = 1;
    MEASURE(name, count, MUST(write(there[1], &byte, 1)); MUST(read(back[0], &byte, 1)));
    MUST(close(there[1]));
    MUST(waitpid(child, NULL, 0));
    MUST(close(there[0]));
    MUST(close(back[0]));
    MUST(close(back[1]));
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: calls CORE OTHER_CORE\n"); return 2; }
    int core = atoi(argv[1]), other_core = atoi(argv[2]);
    pin(core);
    /* A server has many descriptors: the look-up of the next free one is part of the price. */
    for (int i = 0; i < 900; i++) MUST(dup(0));
    int pair[2], queue[2], made[2];
    char bytes[HEADER] = {0};
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, queue));
    int epoll = MUST(epoll_create1(EPOLL_CLOEXEC)), event = MUST(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    struct epoll_event wish = {.events = EPOLLIN};
    eventfd_t value;

    MEASURE("the least system call (getppid)", 200000, (void)getppid());
    MEASURE("socketpair, close both", 20000,
            MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, made));
            MUST(close(made[0])); MUST(close(made[1])));
    MEASURE("dup, close", 50000, MUST(close(MUST(dup(pair[0])))));
    MEASURE("pass 1 descriptor, close it", 20000, send_fds(queue[0], pair, 1); receive_and_close_fds(queue[1], 1));
    MEASURE("pass 2 descriptors, close them", 20000, send_fds(queue[0], pair, 2); receive_and_close_fds(queue[1], 2));
    MEASURE("message of 64 bytes, no descriptor", 20000,
            MUST(send(queue[0], bytes, 64, 0)); MUST(recv(queue[1], bytes, 64, 0)));
    MEASURE("epoll: add, delete", 50000,
            MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &wish)); MUST(epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL)));
    MEASURE("epoll_wait that finds nothing", 50000, MUST(epoll_wait(epoll, &wish, 1, 0)));
    MEASURE("UNIX stream: send and receive 300 bytes", 50000,
            MUST(send(pair[0], bytes, HEADER, 0)); MUST(recv(pair[1], bytes, HEADER, 0)));
    MEASURE("receive that finds nothing", 50000, if (recv(pair[1], bytes, HEADER, 0) >= 0) abort());
    MEASURE("eventfd: write, read", 50000, MUST(eventfd_write(event, 1)); MUST(eventfd_read(event, &value)));
    MEASURE("socketpair, shutdown one, close both", 20000,
            MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, made));
            MUST(shutdown(made[1], SHUT_WR)); MUST(close(made[1])); MUST(close(made[0])));
    MEASURE("socketpair, one into epoll, close both", 20000,
            MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, made));
            MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, made[0], &wish)); MUST(close(made[1])); MUST(close(made[0])));
    int pipe_ends[2];
    MUST(pipe2(pipe_ends, O_CLOEXEC));
    MEASURE("pipe: write and read 1 byte", 50000, MUST(write(pipe_ends[1], bytes, 1)); MUST(read(pipe_ends[0], bytes, 1)));
    ping_pong("to another process and back, same core", core, 20000);
    /* Waking a halted core of a virtual machine takes tens of microseconds. */
    ping_pong("to another process and back, two cores", other_core, 2000);
    return 0;
}
