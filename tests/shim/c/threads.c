/* Threads with a stack of argv[1] bytes accept from one listener and each answer 200 connections of their own making: every one has
   a name, carries its number there and back, and is closed. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static struct sockaddr_in address;

#define must(x) do { if (!(x)) { printf("failed: %s\n", #x); exit(1); } } while (0)

static void *client(void *arg) {
    for (int i = 0; i < 200; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), answer = -1;
        must(connect(fd, (void *)&address, sizeof address) == 0);
        must(write(fd, &i, sizeof i) == sizeof i);
        must(recv(fd, &answer, sizeof answer, MSG_WAITALL) == sizeof answer && answer == i);
        must(read(fd, &answer, 1) == 0);
        close(fd);
    }
    return NULL;
}

static void *server(void *arg) {
    for (int i = 0; i < 200; i++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), number;
        must(fd >= 0);
        must(getpeername(fd, (void *)&peer, &len) == 0 && peer.sin_family == AF_INET);
        must(recv(fd, &number, sizeof number, MSG_WAITALL) == sizeof number);
        must(recv(fd, NULL, 100000, MSG_TRUNC | MSG_DONTWAIT) == -1);
        int copy = dup(fd);
        close(fd);
        must(send(copy, &number, sizeof number, 0) == sizeof number);
        close(copy);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[8];
    pthread_attr_t attributes;
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 64);
    getsockname(listener, (void *)&address, &len);
    pthread_attr_init(&attributes);
    must(pthread_attr_setstacksize(&attributes, atoi(argv[1])) == 0);
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], &attributes, i % 2 ? client : server, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    /* The soft limit stands where it stood: 1024 is beyond it. */
    must(dup2(0, 1024) == -1);
    puts("done");
    return 0;
}
