// A descriptor that accept gave is as new; one that is closed has been left as unlike a new one as can be.
//
// Rules: what is asked of a new one holds natively, whatever became of the connection since. It must not read.
#include "mixed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static void expect(struct conn *c, const char *what, long is, long should) {
    if (is != should) wrong(c, "new descriptor: %s is %ld, not %ld", what, is, should);
}

static int option(struct conn *c, int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(c->fd, level, name, &value, &size) ? -errno : value;
}

static long microseconds(struct conn *c, int name) {
    struct timeval t = {0};
    socklen_t size = sizeof t;
    return getsockopt(c->fd, SOL_SOCKET, name, &t, &size) ? -errno : t.tv_sec * 1000000 + t.tv_usec;
}

void check_new(struct conn *c, int flags) {
    struct linger linger = {0};
    socklen_t size = sizeof linger;
    expect(c, "F_GETFL", fcntl(c->fd, F_GETFL), O_RDWR | (flags & SOCK_NONBLOCK ? O_NONBLOCK : 0));
    expect(c, "F_GETFD", fcntl(c->fd, F_GETFD), flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
    expect(c, "F_GETOWN", fcntl(c->fd, F_GETOWN), 0);
    expect(c, "F_GETSIG", fcntl(c->fd, F_GETSIG), 0);
    expect(c, "SO_RCVTIMEO", microseconds(c, SO_RCVTIMEO), 0);
    expect(c, "SO_SNDTIMEO", microseconds(c, SO_SNDTIMEO), 0);
    expect(c, "SO_RCVLOWAT", option(c, SOL_SOCKET, SO_RCVLOWAT), 1);
    expect(c, "TCP_CORK", option(c, IPPROTO_TCP, TCP_CORK), 0);
    expect(c, "TCP_NODELAY", option(c, IPPROTO_TCP, TCP_NODELAY), 0);
    expect(c, "SO_KEEPALIVE", option(c, SOL_SOCKET, SO_KEEPALIVE), 0);
    if (getsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, &size)) expect(c, "SO_LINGER", -errno, 0);
    expect(c, "SO_LINGER", linger.l_onoff, 0);
    // Older kernels have it for UNIX sockets only.
    int peek = option(c, SOL_SOCKET, SO_PEEK_OFF);
    if (peek != -EOPNOTSUPP && peek != -ENOPROTOOPT) expect(c, "SO_PEEK_OFF", peek, -1);
}

void settle(struct conn *c) {
    int now = fcntl(c->fd, F_GETFL), change = !(now & O_NONBLOCK);
    struct timeval soon = {0, 20000};
    // Both ways of saying it.
    if (c->h.flags & CHANGE_NONBLOCK) {
        if (c->number % 3) fcntl(c->fd, F_SETFL, now ^ O_NONBLOCK);
        else ioctl(c->fd, FIONBIO, &change);
        expect(c, "O_NONBLOCK", !!(fcntl(c->fd, F_GETFL) & O_NONBLOCK), change);
    }
    if (c->h.flags & TIMEOUT) setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
}

void leave_dirty(struct conn *c) {
    struct timeval soon = {0, 30000};
    int on = 1, many = 1000, five = 5;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &many, sizeof many);
    setsockopt(c->fd, SOL_SOCKET, SO_PEEK_OFF, &five, sizeof five);
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETOWN, getpid());
    fcntl(c->fd, F_SETSIG, SIGURG);
    fcntl(c->fd, F_SETFL, (fcntl(c->fd, F_GETFL) ^ O_NONBLOCK) | O_ASYNC);
    fcntl(c->fd, F_SETFD, fcntl(c->fd, F_GETFD) ^ FD_CLOEXEC);
}

void close_by(int fd, int ending) {
    int null;
    FILE *stream;
    switch (ending) {
    case BY_SYSCALL: syscall(SYS_close, fd); return;
    case BY_CLOSE_RANGE: close_range(fd, fd, 0); return;
    case BY_DUP2:
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, fd);
        close(null);
        close(fd);
        return;
    case BY_FCLOSE:
        if ((stream = fdopen(fd, "r+"))) { fclose(stream); return; } // fallthrough
    default: close(fd);
    }
}

void end(struct conn *c) {
    if (c->h.flags & LEAVE_DIRTY) leave_dirty(c);
    close_by(c->fd, c->h.ending);
    for (int i = 0; i < 2; i++)
        if (c->sets[i] >= 0) {
            struct epoll_event e;
            if (alone && epoll_wait(c->sets[i], &e, 1, 0) > 0) wrong(c, "events %#x after the close", e.events);
            close(c->sets[i]);
        }
    finished(c);
}
