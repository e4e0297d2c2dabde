/* The state of a plain TCP socket, read from C: prints one JSON object with the source, cwnd and bytes acknowledged
 * before and after data has passed, and nanoseconds of reading one field.
 *
 *     plain
 */
#include <modnet.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void must(int is_well, const char *what)
{
    if (!is_well) {
        perror(what);
        exit(1);
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(listener, (void *)&address, length) == 0 && listen(listener, 1) == 0, "listen");
    getsockname(listener, (void *)&address, &length);
    must(connect(client, (void *)&address, length) == 0, "connect");
    int server = accept(listener, NULL, NULL);

    must(modnet_map_state(-1) == NULL && errno == EBADF, "a descriptor that is none");
    must(modnet_map_state(0) == NULL && errno == ENOTSOCK, "a file");
    const struct modnet_state *state = modnet_map_state(server);
    must(state != NULL, "modnet_map_state");
    const volatile struct modnet_state *live = state;
    uint64_t before = live->bytes_acked;
    char bytes[1000] = {0};
    must(write(server, bytes, sizeof bytes) == sizeof bytes, "write");
    must(recv(client, bytes, sizeof bytes, MSG_WAITALL) == sizeof bytes, "recv");
    double end = now() + 10e9;
    while (live->bytes_acked != before + sizeof bytes)
        must(now() < end, "the state did not change");
    struct modnet_state copy;
    must(modnet_read_state(state, &copy) == 0, "modnet_read_state");
    uint64_t sum = 0;
    double begun = now();
    for (int i = 0; i < 20000000; i++)
        sum += live->cwnd;
    double cost = (now() - begun) / 20000000;
    printf("{\"source\": %u, \"cwnd\": %u, \"acked\": %" PRIu64 ", \"field\": %.3f, \"sum\": %" PRIu64 "}\n", copy.source,
           copy.cwnd, copy.bytes_acked - before, cost, sum);
    must(modnet_unmap_state(state) == 0, "modnet_unmap_state");
    return 0;
}
