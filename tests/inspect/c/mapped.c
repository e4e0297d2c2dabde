/* A module in C that forwards one flow, and says at each pause what its state is: one line with cookie, updated_ns, cwnd,
 * snd_una, rcv_nxt and source.
 *
 *     mapped NAME
 */
#include <modnet.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int is_well, const char *what)
{
    if (!is_well) {
        perror(what);
        exit(1);
    }
}

/* Whether there is more to come. */
static int pass(int from, int to)
{
    char bytes[65536];
    ssize_t count = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0)
        return errno == EAGAIN;
    for (ssize_t sent = 0; sent < count;) {
        ssize_t some = send(to, bytes + sent, (size_t)(count - sent), MSG_NOSIGNAL);
        must(some >= 0 || errno == EAGAIN, "send");
        sent += some > 0 ? some : 0;
    }
    return count > 0;
}

static void tell(const struct modnet_state *state)
{
    struct modnet_state copy;
    if (modnet_read_state(state, &copy) == 0)
        printf("%" PRIu64 " %" PRIu64 " %u %u %u %u\n", copy.cookie, copy.updated_ns, copy.cwnd, copy.snd_una,
               copy.rcv_nxt, copy.source);
    fflush(stdout);
}

int main(int count, char **words)
{
    must(count == 2 && modnet_register(words[1]) == 0, "modnet_register");
    puts("ready");
    fflush(stdout);
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLL_STEAL};
    must(modnet_epoll_ctl(set, EPOLL_CTL_ADD, -MODNET_ALL_CPUS, &event) == 0, "modnet_epoll_ctl");
    int left, right;
    int taken;
    do {
        must(modnet_epoll_wait(set, &event, 1, 30000) == 1, "modnet_epoll_wait");
        taken = modnet_getsockets(&left, &right, 1, MODNET_ALL_CPUS);
    } while (taken < 0 && errno == EAGAIN);
    must(taken == 1, "modnet_getsockets");
    const struct modnet_state *state = modnet_map_state(right);
    must(state != NULL, "modnet_map_state");
    struct pollfd ends[2] = {{.fd = left, .events = POLLIN}, {.fd = right, .events = POLLIN}};
    for (;;) {
        if (poll(ends, 2, 50) == 0)
            tell(state);
        if ((ends[0].revents && !pass(left, right)) || (ends[1].revents && !pass(right, left)))
            break;
    }
    must(modnet_unmap_state(state) == 0, "modnet_unmap_state");
    must(modnet_unmap_state(state) == -1 && errno == EINVAL, "modnet_unmap_state of nothing");
    shutdown(right, SHUT_WR);
    close(right);
    close(left);
    return 0;
}
