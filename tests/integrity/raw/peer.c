// A TCP server that does as each connection's header says, and remembers what it saw.
//
// Rules: a thread per connection (a second one where both directions run at once), blocking calls. Every received byte
// is compared with the pattern of its flow and offset. What was seen is asked for by a later connection (mode 'S').
// It must not use anything that Linux and libc do not have.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pattern.h"

// `out` and `in`: bytes to send and to read; `flow` names the pattern.
struct header { uint64_t mode, flow, out, in; };
struct seen { uint64_t received, wrong, read_error, write_error, done; };
struct work { int fd; struct header header; };

enum { RESULTS = 1 << 16, PIECE = 1 << 16 };
static struct seen results[RESULTS];

static struct seen *result(uint64_t flow) { return &results[flow % RESULTS]; }

static void send_pattern(struct work *w) {
    static _Thread_local uint8_t piece[PIECE];
    for (uint64_t at = 0; at < w->header.out;) {
        uint64_t n = w->header.out - at < PIECE ? w->header.out - at : PIECE;
        for (uint64_t i = 0; i < n; i++) piece[i] = pattern(w->header.flow, at + i);
        for (uint64_t done = 0; done < n;) {
            ssize_t k = send(w->fd, piece + done, n - done, MSG_NOSIGNAL);
            if (k < 0) { result(w->header.flow)->write_error = errno; return; }
            done += k;
        }
        at += n;
    }
}

// Reads and compares up to `most` bytes, or to the end of the stream.
static void read_pattern(struct work *w, uint64_t most) {
    static _Thread_local uint8_t piece[PIECE];
    struct seen *seen = result(w->header.flow);
    while (seen->received < most) {
        uint64_t left = most - seen->received;
        ssize_t k = recv(w->fd, piece, left < PIECE ? left : PIECE, 0);
        if (k < 0) seen->read_error = errno;
        if (k <= 0) return;
        for (ssize_t i = 0; i < k; i++) seen->wrong += piece[i] != pattern(~w->header.flow, seen->received + i);
        seen->received += k;
    }
}

static void *sender(void *argument) { send_pattern(argument); return NULL; }

static void reset(int fd) {
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static void *serve(void *argument) {
    struct work w = *(struct work *)argument;
    free(argument);
    if (recv(w.fd, &w.header, sizeof w.header, MSG_WAITALL) != sizeof w.header) { close(w.fd); return NULL; }
    struct seen *seen = result(w.header.flow);
    pthread_t other;
    switch (w.header.mode) {
    case 'D': // both directions at once
        pthread_create(&other, NULL, sender, &w);
        read_pattern(&w, UINT64_MAX);
        pthread_join(other, NULL);
        break;
    case 'H': // the server ends its direction first, then reads on
        send_pattern(&w);
        shutdown(w.fd, SHUT_WR);
        read_pattern(&w, UINT64_MAX);
        break;
    case 'h': // the client ends its direction first, then the server answers
        read_pattern(&w, UINT64_MAX);
        send_pattern(&w);
        break;
    case 'R': // reads some, then resets
        read_pattern(&w, w.header.in);
        reset(w.fd);
        break;
    case 'r': // sends some, then resets
        send_pattern(&w);
        reset(w.fd);
        break;
    case 'U': // closes with unread input, which resets
        for (int unread = 0; unread == 0; ioctl(w.fd, FIONREAD, &unread)) {
            struct pollfd p = {w.fd, POLLIN, 0};
            poll(&p, 1, -1);
        }
        break;
    case 'W': // reads to the end, whatever it is, and then sends into what may be gone
        read_pattern(&w, UINT64_MAX);
        send_pattern(&w);
        break;
    case 'S':
        send(w.fd, seen, sizeof *seen, MSG_NOSIGNAL);
        close(w.fd);
        return NULL;
    }
    close(w.fd);
    __atomic_store_n(&seen->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024)) return perror("listen"), 1;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        struct work *w = calloc(1, sizeof *w);
        pthread_t thread;
        if ((w->fd = accept(listener, NULL, NULL)) < 0) {
            if (errno == EINTR || errno == ECONNABORTED) { free(w); continue; }
            return perror("accept"), 1;
        }
        if (pthread_create(&thread, &detached, serve, w)) return perror("pthread_create"), 1;
    }
}
