/* A timer's handler accepts, asks, duplicates and closes while the program does the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int listener, inside;
static struct sockaddr_in address;

#define must(x) do { if (!(x)) { printf("failed: %s (%d)\n", #x, errno); _exit(1); } } while (0)

static void once(void) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    int client = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    while (connect(client, (void *)&address, sizeof address) != 0 && errno != EISCONN)
        must(errno == EINTR || errno == EALREADY);
    int fd;
    while ((fd = accept4(listener, (void *)&peer, &len, SOCK_NONBLOCK)) < 0)
        must(errno == EINTR || errno == EAGAIN);
    len = sizeof peer;
    /* Which of two clients it is depends on who came first. */
    must(getpeername(fd, (void *)&peer, &len) == 0 && peer.sin_family == AF_INET);
    must(setsockopt(fd, IPPROTO_TCP, 1, &one, sizeof one) == 0);
    int copy = dup2(fd, 100 + fd);
    must(copy == 100 + fd && getpeername(copy, (void *)&peer, &len) == 0);
    close(fd);
    close(copy);
    close(client);
}

static void handler(int signal) {
    int saved = errno;
    once();
    inside++;
    errno = saved;
}

int main(void) {
    struct itimerval every = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct rlimit limit;
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 64);
    getsockname(listener, (void *)&address, &len);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    while (inside < 300)
        once();
    setitimer(ITIMER_REAL, &never, NULL);
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    printf("done %d\n", (int)limit.rlim_cur);
    return 0;
}
