/* The paper's Figure 2: a module that forwards both ways, one thread for each core.
 *
 *     export PKG_CONFIG_PATH=python/modnet/lib/pkgconfig        # in a clone; else as modnet.h says
 *     cc -O2 -o forwarder examples/forwarder.c $(pkg-config --cflags --libs modnet)
 *     ./forwarder plain &
 *     modnet run -m plain -- nginx
 *
 * A direction holds at most one buffer: while its sink is full its source is not read, so a slow client stops the
 * application and memory stays bounded. The end of a stream is passed on after what came before it.
 * `modnet module stop` lets the connections end (--drain); SIGTERM ends the program at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <modnet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, BUFFER = 64 * 1024, TURNS = 16 };

/* One of the two sockets of a connection, and what was read from it and not sent to the other yet. */
struct side {
    struct side *other, *next_dead;
    int fd;
    int ended;  /* nothing more is read from fd */
    int passed; /* and the other's peer has been told */
    int hung;   /* nobody is at the other end of fd any more; what it sent before is still read */
    int dead;
    unsigned events; /* what epoll watches fd for */
    size_t first, last;
    char *buffer; /* NULL while empty */
};

struct worker {
    pthread_t thread;
    int epfd, core, accepting;
    long mask, flows;
    struct side *dead; /* freed after the batch of events, some of which may be theirs */
};

static int watch(struct worker *w, int op, struct side *s, unsigned events)
{
    struct epoll_event event = {.events = events, .data = {.ptr = s}};
    s->events = events;
    return modnet_epoll_ctl(w->epfd, op, s->fd, &event);
}

static void end(struct worker *w, struct side *s)
{
    struct side *both[2] = {s, s->other};
    for (int i = 0; i < 2 && !both[i]->dead; i++) {
        /* The application may hold the same socket: closing it is not enough, for epoll and for the peer. */
        epoll_ctl(w->epfd, EPOLL_CTL_DEL, both[i]->fd, NULL);
        shutdown(both[i]->fd, SHUT_WR);
        close(both[i]->fd);
        both[i]->dead = 1;
        both[i]->next_dead = w->dead;
        w->dead = both[i];
    }
    w->flows--;
}

/* Moves what it can from s to its other side. 0: the connection is broken. */
static int move(struct side *s)
{
    int to = s->other->fd, turns = s->hung ? INT_MAX : TURNS;
    for (;;) {
        if (s->first == s->last) {
            if (s->ended || !turns--)
                break;
            if (!s->buffer && !(s->buffer = malloc(BUFFER)))
                return 0;
            ssize_t got = recv(s->fd, s->buffer, BUFFER, MSG_DONTWAIT);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0 && errno != EAGAIN)
                return 0;
            if (got < 0)
                break;
            s->first = 0, s->last = (size_t)got;
            s->ended = got == 0;
        } else {
            ssize_t sent = send(to, s->buffer + s->first, s->last - s->first, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN)
                return 1;
            if (sent < 0 && errno != EINTR)
                return 0;
            s->first += sent < 0 ? 0 : (size_t)sent;
        }
    }
    free(s->buffer), s->buffer = NULL;
    if (s->ended && !s->passed) {
        shutdown(to, SHUT_WR);
        s->passed = 1;
    }
    return 1;
}

/* What is watched: a side whose bytes are all sent, to be read; one whose other has bytes, to be written. */
static unsigned wanted(const struct side *s)
{
    unsigned in = s->ended || s->first != s->last ? 0 : EPOLLIN | EPOLLRDHUP;
    return in | (s->other->first != s->other->last ? EPOLLOUT : 0);
}

static void forward(struct worker *w, struct side *s, unsigned events)
{
    struct side *other = s->other;
    if (s->dead)
        return;
    int broken = events & EPOLLERR && s->ended;
    if (events & EPOLLHUP) {
        /* It would be told again and again: from now on s is read as the other has room. */
        epoll_ctl(w->epfd, EPOLL_CTL_DEL, s->fd, NULL);
        s->hung = other->ended = other->passed = 1;
        other->first = other->last;
    }
    if (broken || !move(s) || !move(other) || (s->passed && other->passed)) {
        end(w, s);
        return;
    }
    for (int i = 0; i < 2; i++, s = other)
        if (!s->hung && wanted(s) != s->events && watch(w, EPOLL_CTL_MOD, s, wanted(s)) < 0) {
            end(w, s);
            return;
        }
}

static void begin(struct worker *w, int left, int right)
{
    struct side *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    if (!a || !b)
        abort();
    a->fd = left, b->fd = right;
    a->other = b, b->other = a;
    w->flows++;
    if (watch(w, EPOLL_CTL_ADD, a, wanted(a)) < 0 || watch(w, EPOLL_CTL_ADD, b, wanted(b)) < 0)
        end(w, a);
}

static void steal(struct worker *w)
{
    int left[BATCH], right[BATCH];
    int count = modnet_getsockets(left, right, BATCH, w->mask);
    for (int i = 0; i < count; i++)
        begin(w, left[i], right[i]);
    if (count < 0 && errno == ESHUTDOWN) {
        modnet_epoll_ctl(w->epfd, EPOLL_CTL_DEL, -w->mask, NULL);
        w->accepting = 0;
    } else if (count < 0 && errno != EAGAIN) {
        perror("modnet_getsockets");
    }
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct epoll_event events[BATCH], event = {.events = EPOLL_STEAL, .data = {.ptr = NULL}};
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(w->core, &core);
    pthread_setaffinity_np(pthread_self(), sizeof core, &core); /* in vain where the core may not be used */
    if ((w->epfd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        modnet_epoll_ctl(w->epfd, EPOLL_CTL_ADD, -w->mask, &event) < 0)
        abort();
    while (w->accepting || w->flows) {
        int count = modnet_epoll_wait(w->epfd, events, BATCH, -1);
        for (int i = 0; i < count; i++)
            if (events[i].events & EPOLL_STEAL)
                steal(w);
            else
                forward(w, events[i].data.ptr, events[i].events);
        for (struct side *s; (s = w->dead); free(s->buffer), free(s))
            w->dead = s->next_dead;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: forwarder NAME\n"), 2;
    long cores = sysconf(_SC_NPROCESSORS_CONF);
    if (modnet_register(argv[1]) < 0)
        return perror("forwarder: cannot register that name"), 1;
    struct worker *workers = calloc((size_t)cores, sizeof *workers);
    for (int i = 0; workers && i < cores; i++) {
        workers[i] = (struct worker){.core = i, .mask = 1l << i % 63, .accepting = 1};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
    for (int i = 0; workers && i < cores; i++)
        pthread_join(workers[i].thread, NULL);
    return 0;
}
