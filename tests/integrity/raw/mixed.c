// A TCP server in which every connection asks for a way to live and to die, and every byte is compared.
//
// Usage: mixed threads|epoll|prefork PORT (and, of itself, mixed copy FD). Counts are asked for by a connection with way STATS; what was wrong is said
// on standard error too.
//
// Rules: accept gives flags by turns, and what it gives is as new (`check_new`). It must not use anything that Linux
// and libc do not have.
#include "mixed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 8, MOST = 4096 };
struct counts *counts;
bool alone;
int main_sets[2] = {-1, -1};

void wrong(const struct conn *c, const char *format, ...) {
    int error = errno;
    if (__atomic_add_fetch(&counts->wrong, 1, __ATOMIC_RELAXED) > 100) return;
    char what[200];
    va_list more;
    va_start(more, format);
    errno = error;
    vsnprintf(what, sizeof what, format, more);
    va_end(more);
    dprintf(2, "wrong: accept %u, flow %lu, way %d, ending %d, wait %d, answer %d, flags %d: %s\n", c->number, c->h.flow,
            c->h.way, c->h.ending, c->h.wait, c->h.answer, c->h.flags, what);
}

void cut(const struct conn *c, const char *where) {
    int error = errno;
    if (c->h.flags & MAY_BE_CUT) return;
    if (__atomic_add_fetch(&counts->cut, 1, __ATOMIC_RELAXED) > 100) return;
    dprintf(2, "cut: accept %u, flow %lu, way %d, ending %d, wait %d, answer %d, flags %d, %s after %lu read, %lu written: %s\n",
            c->number, c->h.flow, c->h.way, c->h.ending, c->h.wait, c->h.answer, c->h.flags, where, c->received, c->sent,
            strerror(error));
}

void finished(struct conn *c) { (void)c; __atomic_add_fetch(&counts->finished, 1, __ATOMIC_RELEASE); }

static struct conn *accept_one(int listener) {
    static unsigned accepted;
    static const int given[] = {0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
    unsigned number = accepted + 1;
    int flags = given[number % 4], fd = flags ? accept4(listener, NULL, NULL, flags) : accept(listener, NULL, NULL);
    if (fd < 0) {
        if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) { perror("accept"); exit(1); }
        return NULL;
    }
    accepted = number;
    __atomic_add_fetch(&counts->begun, 1, __ATOMIC_RELAXED);
    struct conn *c = calloc(1, sizeof *c);
    *c = (struct conn){.fd = fd, .number = number, .sets = {-1, -1}};
    check_new(c, flags);
    return c;
}

// From the accept to the end, one connection after the other.
static void *serve(void *argument) {
    struct conn *c = argument;
    for (;;) {
        if (await_request(c) < 0) { end(c); break; }
        if (!live(c)) break;
    }
    free(c);
    return NULL;
}

static void threads(int listener) {
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        struct conn *c = accept_one(listener);
        pthread_t thread;
        if (c && pthread_create(&thread, &detached, serve, c)) { perror("pthread_create"); exit(1); }
    }
}

// Connections of the epoll mode by their number, so that an event of one that has gone is known for what it is.
static struct conn *open_ones[MOST];

static void watch(struct conn *c, int set) {
    struct epoll_event e = {EPOLLIN | (c->number % 3 ? 0 : EPOLLET), {.u64 = c->number}};
    if (epoll_ctl(main_sets[set], EPOLL_CTL_ADD, c->fd, &e)) wrong(c, "EPOLL_CTL_ADD: %m");
    c->in_main[set] = true;
}

static void forget(struct conn *c) {
    open_ones[c->number % MOST] = NULL;
    free(c);
}

static void go_on(struct conn *c) {
    for (;;) {
        bool head = c->have < sizeof c->h;
        int r = feed(c, MSG_DONTWAIT);
        if (r == 0) {
            if (!c->in_main[1] && c->have == sizeof c->h && c->h.wait == TWO_SETS) watch(c, 1);
            // The other ways of waiting: it alone, until its request is there.
            if (!head || c->have < sizeof c->h || c->h.wait == ONE_SET || c->h.wait == TWO_SETS) return;
            unwatch(c);
            open_ones[c->number % MOST] = NULL;
            serve(c);
            return;
        }
        if (r < 0) { end(c); forget(c); return; }
        open_ones[c->number % MOST] = NULL;
        if (!live(c)) { free(c); return; }
        open_ones[c->number % MOST] = c;
    }
}

static void one_set(int listener) {
    struct epoll_event listening = {EPOLLIN, {.u64 = 0}}, events[64];
    for (int i = 0; i < 2; i++) main_sets[i] = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(main_sets[0], EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        int n = epoll_wait(main_sets[0], events, 64, -1);
        for (int i = 0; i < n; i++) {
            unsigned number = events[i].data.u64;
            struct conn *c = open_ones[number % MOST], stale = {.number = number};
            if (!number) {
                if ((c = accept_one(listener))) {
                    open_ones[c->number % MOST] = c;
                    watch(c, 0);
                }
            } else if (c && c->number == number) go_on(c);
            else wrong(&stale, "events %#x of a connection that is closed", events[i].events);
        }
        // The second set only tells who is in it.
        n = epoll_wait(main_sets[1], events, 64, 0);
        for (int i = 0; i < n; i++) {
            struct conn *c = open_ones[events[i].data.u64 % MOST], stale = {.number = events[i].data.u64};
            if (!c || c->number != stale.number) wrong(&stale, "events %#x in the second set", events[i].events);
        }
    }
}

static void hire(int listener) {
    if (fork()) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct conn *c = accept_one(listener);
        if (c) serve(c);
    }
}

// The master only looks after its workers: each serves one connection after the other, and is replaced when it is killed.
static void prefork(int listener, pid_t helper) {
    for (int i = 0; i < WORKERS; i++) hire(listener);
    for (;;) {
        pid_t gone = wait(NULL);
        if (gone > 0 && gone != helper) hire(listener);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: mixed threads|epoll|prefork PORT\n"), 2;
    if (!strcmp(argv[1], "copy")) copy(atoi(argv[2]));
    signal(SIGPIPE, SIG_IGN);
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t helper = start_helper();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024)) return perror("listen"), 1;
    alone = strcmp(argv[1], "threads");
    if (!alone) threads(listener);
    else if (!strcmp(argv[1], "epoll")) one_set(listener);
    else prefork(listener, helper);
    return 1;
}
