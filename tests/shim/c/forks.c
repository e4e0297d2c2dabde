/* Forks while other threads accept: each child sees its own limits, has a stolen socket of its own, and leaves the parent's alone. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define must(x) do { if (!(x)) { printf("failed: %s\n", #x); fflush(stdout); _exit(1); } } while (0)

static volatile int stop;

/* Accepts a connection of its own making, and asks it all that is the real socket's. */
static void once(int listener) {
    struct sockaddr_in address, peer;
    socklen_t len = sizeof address;
    char c;
    must(getsockname(listener, (void *)&address, &len) == 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(client, (void *)&address, sizeof address) == 0);
    int fd = accept(listener, NULL, NULL);
    len = sizeof peer;
    must(fd >= 0 && getpeername(fd, (void *)&peer, &len) == 0 && peer.sin_family == AF_INET);
    must(write(fd, "x", 1) == 1 && read(client, &c, 1) == 1 && c == 'x');
    close(fd);
    close(client);
}

static int bound(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
    return listener;
}

static void *accepting(void *arg) {
    int listener = bound();
    while (!stop)
        once(listener);
    return NULL;
}

static void check_limit(void) {
    struct rlimit now;
    must(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == 1024);
}

int main(void) {
    pthread_t threads[2];
    int listener = bound();
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, accepting, NULL);
    for (int i = 0; i < 100; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            check_limit();
            once(listener);
            check_limit();
            /* Not only what we show: the kernel's word for it. */
            must(dup2(0, 1024) == -1);
            _exit(0);
        }
        must(waitpid(pid, &status, 0) == pid && status == 0);
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    check_limit();
    must(dup2(0, 1024) == -1);
    puts("done");
    return 0;
}
