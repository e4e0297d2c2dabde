// The ways in which somebody else has a hand in the connection: a child, an exec'ed program, another process that was
// passed it, another thread that is blocked on it while it is closed.
//
// Rules: children are waited for, so that a mode that serves one connection after the other closes none meanwhile. A
// thread has gone to sleep in its call before the number is closed, since it could mean another connection afterwards;
// it makes one call only, for the same reason. A forked child calls nothing that takes a lock.
#include "mixed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

extern char **environ;
static int helper = -1;

static void reap(struct conn *c, pid_t child) {
    int status = 0;
    if (child < 0) { wrong(c, "no child: %m"); return; }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (status && !(c->h.flags & MAY_BE_CUT)) wrong(c, "child ended with %#x", status);
}

static void forked(struct conn *c) {
    pid_t child = fork();
    if (!child) {
        if (c->h.way == FORK_CHILD) answer(c, c->fd);
        close_by(c->fd, c->number % 2 ? BY_CLOSE : BY_SYSCALL);
        _exit(0);
    }
    if (c->h.way == FORK_PARENT) answer(c, c->fd);
    close_by(c->fd, c->h.ending);
    reap(c, child);
    finished(c);
}

// A program writes the answer from a file in memory: cat, which knows nothing of sockets, or this one (`copy`) where the
// descriptor is inherited under its own number, which cat cannot be told.
void copy(int to) {
    char data[5000];
    for (ssize_t n; (n = read(0, data, sizeof data)) > 0;)
        for (ssize_t done = 0, k; done < n; done += k)
            if ((k = write(to, data + done, n - done)) < 0) _exit(1);
    _exit(0);
}

static void programmed(struct conn *c) {
    int file = memory(c), blocking = fcntl(c->fd, F_GETFL) & ~O_NONBLOCK;
    pid_t child = -1;
    char number[16];
    fcntl(c->fd, F_SETFL, blocking);
    if (c->h.way == VFORK_EXEC) {
        if (!(child = vfork())) {
            dup2(file, 0);
            dup2(c->fd, 1);
            execl("/bin/cat", "cat", NULL);
            _exit(1);
        }
    } else {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, file, 0);
        char *cat[] = {"cat", NULL}, *self[] = {"mixed", "copy", number, NULL};
        if (c->h.way == SPAWN) posix_spawn_file_actions_adddup2(&actions, c->fd, 1);
        else fcntl(c->fd, F_SETFD, 0);
        snprintf(number, sizeof number, "%d", c->fd);
        const char *path = c->h.way == SPAWN ? "/bin/cat" : "/proc/self/exe";
        errno = posix_spawn(&child, path, &actions, NULL, c->h.way == SPAWN ? cat : self, environ);
        if (errno) child = -1;
        posix_spawn_file_actions_destroy(&actions);
    }
    close_by(c->fd, c->h.ending);
    close(file);
    reap(c, child);
    finished(c);
}

static bool pass(int by, struct conn *c) {
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {c, sizeof *c};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *control = CMSG_FIRSTHDR(&m);
    *control = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &c->fd, sizeof(int));
    return sendmsg(by, &m, MSG_NOSIGNAL) >= 0;
}

static bool receive(int from, struct conn *c) {
    char space[CMSG_SPACE(sizeof(int))];
    struct iovec data = {c, sizeof *c};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) != sizeof *c || !CMSG_FIRSTHDR(&m)) return false;
    memcpy(&c->fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
    return true;
}

// A process that answers what it is passed; it ends with the server. Where it has been killed nobody is passed anything.
pid_t start_helper(void) {
    int ends[2];
    struct conn c;
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
    helper = ends[0];
    pid_t child = fork();
    if (child) { close(ends[1]); return child; }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    while (receive(ends[1], &c)) {
        answer(&c, c.fd);
        end(&c);
    }
    _exit(0);
}

static void passed(struct conn *c) {
    int ends[2], was = c->fd;
    if (c->h.way == PASS_AWAY && pass(helper, c)) {
        close_by(was, c->h.ending);
        return; // the helper counts it
    }
    if (c->h.way == PASS_AWAY) cut(c, "passing");
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
    if (!pass(ends[0], c)) wrong(c, "passing: %m");
    close_by(was, c->h.ending);
    if (!receive(ends[1], c)) { wrong(c, "passed to itself: %m"); return; }
    close(ends[0]);
    close(ends[1]);
    answer(c, c->fd);
    end(c);
}

struct blocked { struct conn c; int file; int task; int done; };

static void *one_call(void *argument) {
    struct blocked *b = argument;
    struct conn *c = &b->c;
    static _Thread_local uint8_t data[1 << 12];
    off_t at = 0;
    ssize_t k = -1;
    // A child's end, told while the main thread creates another, would cut the call short, natively as well.
    sigset_t every;
    sigfillset(&every);
    pthread_sigmask(SIG_BLOCK, &every, NULL);
    __atomic_store_n(&b->task, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    switch (c->h.way) {
    case THREAD_RECV: k = recv(c->fd, data, sizeof data, 0); break;
    case THREAD_READ: k = read(c->fd, data, sizeof data); break;
    case THREAD_SENDFILE: k = sendfile(c->fd, b->file, &at, c->h.out); break;
    }
    if (k <= 0 || (c->h.way == THREAD_SENDFILE && k != c->h.out)) cut(c, "in a call during the close");
    else if (c->h.way != THREAD_SENDFILE) compare(c, data, k);
    if (b->file >= 0) close(b->file);
    __atomic_store_n(&b->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static bool asleep(int task) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", task);
    int stat = open(path, O_RDONLY | O_CLOEXEC);
    if (stat < 0) return false;
    if (read(stat, line, sizeof line - 1) < 0) line[0] = 0;
    close(stat);
    char *state = strrchr(line, ')');
    return state && state[2] == 'S';
}

static void closed_under_a_thread(struct conn *c) {
    struct blocked b = {*c, -1, 0, 0};
    pthread_t thread;
    int small = 1 << 16;
    // Nobody sleeps in a call that does not block, nor for long in one with a timeout.
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 0}, sizeof(struct timeval));
    if (c->h.way == THREAD_SENDFILE) {
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        b.file = memory(c);
    } else answer(c, c->fd);
    if (pthread_create(&thread, NULL, one_call, &b)) { wrong(c, "no thread"); return; }
    int task;
    while (!(task = __atomic_load_n(&b.task, __ATOMIC_ACQUIRE))) sched_yield();
    while (!__atomic_load_n(&b.done, __ATOMIC_ACQUIRE) && !asleep(task)) sched_yield();
    close_by(c->fd, c->h.ending);
    pthread_join(thread, NULL);
    finished(c);
}

void by_hands(struct conn *c) {
    unwatch(c);
    switch (c->h.way) {
    case FORK_CHILD: case FORK_PARENT: forked(c); break;
    case SPAWN: case SPAWN_INHERITED: case VFORK_EXEC: programmed(c); break;
    case PASS_AWAY: case PASS_TO_ITSELF: passed(c); break;
    case THREAD_RECV: case THREAD_READ: case THREAD_SENDFILE: closed_under_a_thread(c); break;
    default: wrong(c, "no such way: %d", c->h.way); end(c);
    }
}
