// Reading, waiting and answering: each byte that is read is compared with what its flow carries in that place.
//
// Rules: no more is read than the header announces, so that what a client sends beyond it lies unread when the
// connection is closed. It must not close anything but sets and files of its own.
#include "mixed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };
static _Thread_local uint8_t piece[PIECE];

static uint64_t magic(uint64_t flow) { return flow * 0x9E3779B97F4A7C15u ^ 0x4D6F644E6574u; }

void compare(struct conn *c, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (data[i] != pattern(~c->h.flow, c->received + i)) {
            wrong(c, "byte %zu of %zu after %lu is %#x", i, n, c->received, data[i]);
            break;
        }
    c->received += n;
}

int feed(struct conn *c, int flags) {
    for (;;) {
        bool head = c->have < sizeof c->h;
        uint64_t want = head ? sizeof c->h - c->have : (c->round + 1) * (uint64_t)c->h.in - c->received;
        if (!want) return 1;
        ssize_t k = recv(c->fd, piece, want < PIECE ? want : PIECE, flags);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && errno == EAGAIN) return 0;
        if (k <= 0) {
            // Without a whole header nobody knows what was allowed; the client's side tells.
            if (!head) cut(c, "reading");
            return -1;
        }
        if (!head) { compare(c, piece, k); continue; }
        memcpy((char *)&c->h + c->have, piece, k);
        c->have += k;
        if (c->have == sizeof c->h) {
            if (c->h.magic != magic(c->h.flow)) { wrong(c, "no header, magic %#lx", c->h.magic); return -1; }
            settle(c);
        }
    }
}

static void add(struct conn *c, int set) {
    struct epoll_event e = {EPOLLIN | (c->number % 2 ? EPOLLET : 0), {.u64 = c->number}};
    if (epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &e)) wrong(c, "EPOLL_CTL_ADD: %s", strerror(errno));
}

static void wait_in_sets(struct conn *c, enum wait how) {
    int sets = how == TWO_SETS ? 2 : 1;
    for (int i = 0; i < sets; i++)
        if (c->sets[i] < 0) {
            c->sets[i] = epoll_create1(EPOLL_CLOEXEC);
            add(c, c->sets[i]);
            if (how == SET_REMADE) { // another set under the former's number
                int again = epoll_create1(EPOLL_CLOEXEC);
                dup3(again, c->sets[i], O_CLOEXEC);
                close(again);
                add(c, c->sets[i]);
            }
        }
    for (int i = 0; i < sets; i++) {
        struct epoll_event e = {0};
        while (epoll_wait(c->sets[i], &e, 1, -1) < 0 && errno == EINTR) continue;
        if (e.data.u64 != c->number) wrong(c, "event of accept %lu instead of %u", e.data.u64, c->number);
    }
}

void wait_for(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    while (poll(&p, 1, -1) < 0 && errno == EINTR) continue;
}

static void wait_by(struct conn *c, enum wait how) {
    fd_set reading;
    switch (how) {
    case ONE_SET: case TWO_SETS: case SET_REMADE:
        wait_in_sets(c, how);
        return;
    case BY_SELECT:
        if (c->fd < FD_SETSIZE) {
            FD_ZERO(&reading);
            FD_SET(c->fd, &reading);
            while (select(c->fd + 1, &reading, NULL, NULL, NULL) < 0 && errno == EINTR) continue;
            return;
        } // fallthrough
    default:
        wait_for(c->fd, POLLIN);
    }
}

int await_request(struct conn *c) {
    for (;;) {
        // Until the header has said how: one after the other.
        enum wait how = c->have < sizeof c->h ? c->number % WAITS : c->h.wait;
        int r = feed(c, how == ALONE ? 0 : MSG_DONTWAIT);
        if (r) return r;
        wait_by(c, how);
    }
}

void drain(struct conn *c, uint64_t late) {
    uint64_t until = c->received + late;
    for (;;) {
        ssize_t k = recv(c->fd, piece, PIECE, 0);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && errno == EAGAIN) { wait_for(c->fd, POLLIN); continue; }
        if (k <= 0) {
            if (k < 0 || c->received != until) cut(c, "before the client's end");
            return;
        }
        compare(c, piece, k);
        if (c->received > until) wrong(c, "%lu bytes instead of %lu", c->received, until);
    }
}

void unwatch(struct conn *c) {
    for (int i = 0; i < 2; i++) {
        if (c->sets[i] >= 0) close(c->sets[i]);
        c->sets[i] = -1;
        if (c->in_main[i] && epoll_ctl(main_sets[i], EPOLL_CTL_DEL, c->fd, NULL))
            wrong(c, "EPOLL_CTL_DEL: %s", strerror(errno));
        c->in_main[i] = false;
    }
}

static void fill(struct conn *c, uint64_t at, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) piece[i] = pattern(c->h.flow, at + i);
}

int memory(struct conn *c) {
    int file = memfd_create("answer", MFD_CLOEXEC);
    for (uint64_t at = 0; at < c->h.out;) {
        uint64_t n = c->h.out - at < PIECE ? c->h.out - at : PIECE;
        fill(c, c->sent + at, n);
        if (write(file, piece, n) != (ssize_t)n) wrong(c, "memory: %s", strerror(errno));
        at += n;
    }
    lseek(file, 0, SEEK_SET);
    return file;
}

// One call that sends what `piece` holds, by the header's choice.
static ssize_t once(struct conn *c, int fd, uint64_t n, bool more) {
    struct iovec two[2] = {{piece, n / 2}, {piece + n / 2, n - n / 2}};
    switch (c->h.answer) {
    case BY_WRITE: case CORKED: return write(fd, piece, n);
    case BY_WRITEV: return writev(fd, two, 2);
    default: return send(fd, piece, n, (more ? MSG_MORE : 0) | MSG_NOSIGNAL);
    }
}

bool answer(struct conn *c, int fd) {
    enum { HEAD = 100, SMALL = 7 };
    bool good = true, filed = (c->h.answer == CORKED || c->h.answer == MORE) && c->h.out > HEAD;
    uint64_t start = c->sent, end = start + c->h.out;
    int file = filed ? memory(c) : -1, cork = 1;
    if (c->h.answer == CORKED) setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
    while (good && c->sent < end) {
        off_t at = c->sent - start;
        uint64_t n = end - c->sent, most = at >= HEAD ? PIECE : c->h.answer == PIECES ? SMALL : filed ? HEAD - at : PIECE;
        if (n > most) n = most;
        ssize_t k;
        if (filed && at >= HEAD) k = sendfile(fd, file, &at, n);
        else {
            fill(c, c->sent, n);
            k = once(c, fd, n, filed);
        }
        if (k > 0) c->sent += k;
        else if (errno == EAGAIN) wait_for(fd, POLLOUT);
        else if (errno != EINTR) { cut(c, "writing"); good = false; }
    }
    if (file >= 0) close(file);
    cork = 0;
    if (c->h.answer == CORKED) setsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
    return good;
}
