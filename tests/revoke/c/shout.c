/* A module with its own loop that passes in capitals and gives back what it has not passed: shout NAME. One connection.
 *
 * Its left socket's bytes are kept as they came beside what was made of them, until they have gone to the right socket. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <modnet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 32 << 20 };
static char *original, *shouted;
static size_t start, end, ended;
static int epfd, left_fd, right_fd;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int op, int fd, unsigned events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    if (modnet_epoll_ctl(epfd, op, fd, &event) < 0)
        die("modnet_epoll_ctl");
}

static void pass(void)
{
    ssize_t sent = 0;
    while (start < end && (sent = send(right_fd, shouted + start, end - start, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
        start += (size_t)sent;
    watch(EPOLL_CTL_MOD, right_fd, EPOLLIN | (start < end ? EPOLLOUT : 0));
    if (ended && start == end)
        shutdown(right_fd, SHUT_WR);
}

static void read_left(void)
{
    ssize_t got;
    while ((got = recv(left_fd, original + end, ROOM - end, MSG_DONTWAIT)) > 0)
        for (; got > 0; got--, end++)
            shouted[end] = (char)toupper((unsigned char)original[end]);
    if (got == 0) {
        ended = 1;
        watch(EPOLL_CTL_MOD, left_fd, EPOLL_YANK_REQ);
    }
}

/* What has not gone to the right comes from here; the rest, from whoever is there. */
static void give_back(void)
{
    int wanted = modnet_yank_request(left_fd);
    if (wanted < 0)
        return;
    read_left();
    size_t here = end - start < (size_t)wanted ? end - start : (size_t)wanted;
    int further = 0;
    if (here < (size_t)wanted) {
        further = modnet_yank(right_fd, shouted, wanted - (int)here, MODNET_YANK, MODNET_YANK_NONE, 0);
        if (further < 0)
            further = 0;
        start -= (size_t)further; /* they are the last before start */
        here += (size_t)further;
    }
    end -= here;
    for (size_t at = 0; at < here;) {
        int count = modnet_yankwrite(left_fd, original + end + at, (int)(here - at));
        if (count < 0)
            break;
        at += (size_t)count;
    }
    if (here < (size_t)wanted)
        modnet_yankwrite(left_fd, NULL, 0);
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLL_STEAL, .data = {.fd = -1}};
    original = malloc(ROOM);
    shouted = malloc(ROOM);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (argc != 2 || !original || !shouted || epfd < 0 || modnet_register(argv[1]) < 0)
        die("start");
    if (modnet_epoll_ctl(epfd, EPOLL_CTL_ADD, -MODNET_ALL_CPUS, &event) < 0)
        die("modnet_epoll_ctl");
    for (;;) {
        if (modnet_epoll_wait(epfd, &event, 1, -1) != 1)
            continue;
        if (event.events & EPOLL_STEAL) {
            if (modnet_getsockets(&left_fd, &right_fd, 1, MODNET_ALL_CPUS) < 0) {
                if (errno == EAGAIN)
                    continue;
                return 0;
            }
            start = end = ended = 0;
            watch(EPOLL_CTL_ADD, left_fd, EPOLLIN | EPOLL_YANK_REQ);
            watch(EPOLL_CTL_ADD, right_fd, EPOLLIN);
        } else if (event.events & EPOLL_YANK_REQ) {
            give_back();
            pass();
        } else if (event.data.fd == left_fd) {
            read_left();
            pass();
        } else if (event.events & EPOLLOUT) {
            pass();
        } else {
            char drop[4096];
            if (recv(right_fd, drop, sizeof drop, MSG_DONTWAIT) == 0 || errno != EAGAIN) {
                modnet_epoll_ctl(epfd, EPOLL_CTL_DEL, left_fd, NULL);
                close(left_fd);
                close(right_fd);
            }
        }
    }
}
