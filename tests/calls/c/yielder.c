/* As yielder.py, in C: a module that yields each flow when it has read a line of the network's. */
#include <dirent.h>
#include <errno.h>
#include <modnet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t get(int fd, void *buffer, size_t size)
{
    for (;;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        ssize_t count = recv(fd, buffer, size, MSG_DONTWAIT);
        if (count >= 0 || errno != EAGAIN)
            return count;
        poll(&one, 1, -1);
    }
}

static void put(int fd, const char *data, size_t size)
{
    while (size > 0) {
        struct pollfd one = {.fd = fd, .events = POLLOUT};
        ssize_t count = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN)
            return;
        if (count < 0)
            poll(&one, 1, -1);
        else
            data += count, size -= count;
    }
}

struct way {
    int from, to;
};

static void *forward(void *given)
{
    struct way way = *(struct way *)given;
    char buffer[65536];
    ssize_t count;
    free(given);
    while ((count = get(way.from, buffer, sizeof buffer)) > 0)
        put(way.to, buffer, count);
    shutdown(way.to, SHUT_WR);
    return NULL;
}

static void start(int from, int to)
{
    pthread_t thread;
    struct way *way = malloc(sizeof *way);
    way->from = from;
    way->to = to;
    pthread_create(&thread, NULL, forward, way);
    pthread_detach(thread);
}

static void choose(int left, int right, int operation, const char *const *names, int count)
{
    char line[256];
    size_t length = 0;
    while ((length == 0 || line[length - 1] != '\n') && get(right, line + length, 1) == 1)
        length++;
    struct modnet_held held = {0};
    if (operation != MODNET_APPLY_LEFT)
        held.inbound = line, held.inbound_length = length;
    int failed = modnet_yield(left, right, names, count, operation, &held);
    printf("%d\n", failed ? errno : 0);
    if (!failed && operation == MODNET_REPLACE)
        return;
    if (failed || operation == MODNET_APPLY_LEFT)
        put(left, line, length);
    start(left, right);
    start(right, left);
}

static int sockets(void)
{
    int found = 0;
    char path[300], link[64] = "";
    struct dirent *entry;
    DIR *directory = opendir("/proc/self/fd");
    while ((entry = readdir(directory))) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, link, sizeof link - 1);
        found += length > 7 && memcmp(link, "socket:", 7) == 0;
    }
    closedir(directory);
    return found;
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLL_STEAL};
    int epfd = epoll_create1(0);
    if (argc < 4 || modnet_register(argv[1]) || modnet_epoll_ctl(epfd, EPOLL_CTL_ADD, -MODNET_ALL_CPUS, &event))
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int left[8], right[8];
        modnet_epoll_wait(epfd, &event, 1, -1);
        int count = modnet_getsockets(left, right, 8, MODNET_ALL_CPUS);
        for (int i = 0; i < count; i++) {
            choose(left[i], right[i], atoi(argv[2]), (const char *const *)argv + 3, argc - 3);
            printf("%d\n", sockets());
            fflush(stdout);
        }
    }
}
