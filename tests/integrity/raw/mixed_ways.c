// What happens between a request and the connection's end, where the process that accepted it does it itself.
//
// Rules: whoever duplicates the connection takes it out of its sets first, since the kernel forgets a registration with
// the last duplicate only. Each way ends the connection and counts it once.
#include "mixed.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// A number far from those that accept gives, and which nobody else takes: it is occupied until dup2 takes its place.
static int elsewhere(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), far = fcntl(null, F_DUPFD_CLOEXEC, 700);
    close(null);
    return far;
}

static int another_number(struct conn *c) {
    int to;
    switch (c->h.way) {
    case DUP2: to = elsewhere(); return c->number % 2 ? dup2(c->fd, to) : dup3(c->fd, to, O_CLOEXEC);
    case F_DUPFD_: return fcntl(c->fd, c->number % 2 ? F_DUPFD : F_DUPFD_CLOEXEC, 500);
    default: return dup(c->fd);
    }
}

static void duplicated(struct conn *c) {
    unwatch(c);
    int other = another_number(c);
    if (other < 0) wrong(c, "dup: %m");
    if (c->h.way == DUP_GOES) close_by(other, c->h.ending);
    else {
        // Half of the answers begin on the number that goes.
        if (c->number % 4 == 0) answer(c, c->fd);
        close_by(c->fd, c->h.ending);
        c->fd = other;
    }
    if (c->h.way == DUP_GOES || c->number % 4) answer(c, c->fd);
    end(c);
}

static void reset_by_linger(struct conn *c) {
    struct linger now = {1, 0};
    answer(c, c->fd);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    end(c);
}

static void leave_unread(struct conn *c) {
    for (int unread = 0; unread == 0; ioctl(c->fd, FIONREAD, &unread)) wait_for(c->fd, POLLIN);
    answer(c, c->fd);
    end(c);
}

bool live(struct conn *c) {
    if (c->round + 1 < c->h.rounds) {
        c->round++;
        if (answer(c, c->fd)) return true;
        end(c);
        return false;
    }
    switch (c->h.way) {
    case STATS:
        send(c->fd, counts, sizeof *counts, MSG_NOSIGNAL);
        c->h.flags = 0;
        end(c);
        break;
    case DUP_GOES_ON: case DUP_GOES: case DUP2: case F_DUPFD_:
        duplicated(c);
        break;
    case SERVER_HALF:
        if (answer(c, c->fd)) {
            shutdown(c->fd, SHUT_WR);
            drain(c, c->h.late);
        }
        end(c);
        break;
    case CLIENT_HALF:
        drain(c, 0);
        answer(c, c->fd);
        end(c);
        break;
    case LINGER:
        reset_by_linger(c);
        break;
    case UNREAD:
        leave_unread(c);
        break;
    case PLAIN:
        answer(c, c->fd);
        end(c);
        break;
    default:
        by_hands(c);
    }
    return false;
}
