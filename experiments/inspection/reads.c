/* What it costs in C to know a connection's state: one field of the mapping, getsockopt(TCP_INFO), netlink's sock_diag.
 * Prints one JSON object of nanoseconds, of the fastest batch each: what another process took of the core is in the
 * others.
 *
 *     reads
 *
 * Must not: judge. */
#include <modnet.h>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 200 };

static const volatile struct modnet_state *live;
static int server, netlink;
static struct {
    struct nlmsghdr head;
    struct inet_diag_req_v2 ask;
} question;
static volatile unsigned sum;

static void must(int is_well, const char *what)
{
    if (!is_well) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Each reads the congestion window `count` times. */
static void fields(int count)
{
    unsigned found = 0;
    for (int i = 0; i < count; i++)
        found += live->cwnd;
    sum = found;
}

static void snapshots(int count)
{
    struct modnet_state copy;
    for (int i = 0; i < count; i++)
        must(modnet_read_state((const struct modnet_state *)live, &copy) == 0, "modnet_read_state");
    sum = copy.cwnd;
}

static void infos(int count)
{
    struct tcp_info info;
    for (int i = 0; i < count; i++) {
        socklen_t length = sizeof info;
        must(getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &length) == 0, "getsockopt");
    }
    sum = info.tcpi_snd_cwnd;
}

static void questions(int count)
{
    char answer[4096];
    for (int i = 0; i < count; i++) {
        must(send(netlink, &question, sizeof question, 0) == sizeof question, "send to netlink");
        must(recv(netlink, answer, sizeof answer, 0) > (ssize_t)sizeof(struct inet_diag_msg), "recv from netlink");
        must(((struct nlmsghdr *)answer)->nlmsg_type == SOCK_DIAG_BY_FAMILY, "sock_diag");
    }
}

static double fastest(void (*batch)(int), int count)
{
    double best = 1e18;
    for (int i = 0; i < BATCHES; i++) {
        double begun = now();
        batch(count);
        double took = (now() - begun) / count;
        best = took < best ? took : best;
    }
    return best;
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer;
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(listener, (void *)&address, length) == 0 && listen(listener, 1) == 0, "listen");
    getsockname(listener, (void *)&address, &length);
    must(connect(client, (void *)&address, length) == 0, "connect");
    server = accept(listener, NULL, NULL);
    getsockname(client, (void *)&peer, &length);

    live = modnet_map_state(server);
    must(live != NULL, "modnet_map_state");
    must(live->source == MODNET_SOURCE_BPF, "the kernel does not write this socket's state");

    netlink = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
    must(netlink >= 0, "socket(AF_NETLINK)");
    question.head = (struct nlmsghdr){
        .nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST};
    question.ask = (struct inet_diag_req_v2){
        .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_ext = 1 << (INET_DIAG_INFO - 1)};
    question.ask.id = (struct inet_diag_sockid){.idiag_sport = address.sin_port,
                                                .idiag_dport = peer.sin_port,
                                                .idiag_src = {address.sin_addr.s_addr},
                                                .idiag_dst = {peer.sin_addr.s_addr},
                                                .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}};

    printf("{\"field\": %.3f, \"snapshot\": %.2f, \"tcp_info\": %.1f, \"sock_diag\": %.1f}\n",
           fastest(fields, 2000000), fastest(snapshots, 50000), fastest(infos, 2000), fastest(questions, 500));
    return 0;
}
