/* pthread_cancel of a thread that waits in accept, and of one that waits in recv on a stolen socket: both unwind. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener, conn, cleaned;
static void cleanup(void *arg) { cleaned++; }
static void *accepting(void *arg) {
    pthread_cleanup_push(cleanup, NULL);
    for (;;) accept(listener, NULL, NULL);
    pthread_cleanup_pop(1);
    return NULL;
}
static void *receiving(void *arg) {
    char c;
    pthread_cleanup_push(cleanup, NULL);
    for (;;) recv(conn, &c, 1, 0);
    pthread_cleanup_pop(1);
    return NULL;
}
int main(void) {
    pthread_t a, b;
    void *how_a, *how_b;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 8);
    getsockname(listener, (void *)&address, &len);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (void *)&address, sizeof address);
    conn = accept(listener, NULL, NULL);
    pthread_create(&a, NULL, accepting, NULL);
    pthread_create(&b, NULL, receiving, NULL);
    usleep(50000); /* Either way it is cancelled; most often while it waits. */
    pthread_cancel(a);
    pthread_cancel(b);
    pthread_join(a, &how_a);
    pthread_join(b, &how_b);
    printf("%d %d %d\n", how_a == PTHREAD_CANCELED, how_b == PTHREAD_CANCELED, cleaned);
    return 0;
}
