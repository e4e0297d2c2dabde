/* vfork: the child closes a stolen socket, duplicates it and moves limits, in its own table and its parent's memory. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer;
    socklen_t len = sizeof address;
    if (argc > 1) { /* The program that the child becomes. */
        len = sizeof peer;
        int result = getpeername(0, (void *)&peer, &len);
        printf("child %d %d\n", result, peer.sin_family);
        return 0;
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 8);
    getsockname(listener, (void *)&address, &len);
    connect(client, (void *)&address, sizeof address);
    int conn = accept(listener, NULL, NULL), status;
    pid_t pid = vfork();
    if (pid == 0) {
        struct rlimit low = {256, 256};
        dup2(conn, 0);
        close(conn);
        setrlimit(RLIMIT_NOFILE, &low);
        execl(argv[0], argv[0], "child", NULL);
        _exit(9);
    }
    waitpid(pid, &status, 0);
    struct rlimit now;
    getrlimit(RLIMIT_NOFILE, &now);
    len = sizeof peer;
    int result = getpeername(conn, (void *)&peer, &len);
    printf("parent %d %d %d %d\n", status, result, peer.sin_family, (int)now.rlim_cur);
    return 0;
}
