/* Makes one call and prints its answer, then errno's number. For tests: ask CALL ARGUMENT… */
#include <errno.h>
#include <modnet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int say(int answer)
{
    printf("%d %d\n", answer, answer < 0 ? errno : 0);
    return fflush(stdout);
}

/* ctl MASK EVENTS OP…: registered as "asker" */
static int ctl(char **argv)
{
    int epfd = epoll_create1(0);
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = (unsigned)strtoul(argv[3], NULL, 0);
    for (char **op = argv + 4; *op; op++)
        say(modnet_epoll_ctl(epfd, atoi(*op), atol(argv[2]), &event));
    return 0;
}

int main(int argc, char **argv)
{
    int left[4], right[4];
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "register") == 0) {
        for (int i = 2; i < argc; i++)
            say(modnet_register(argv[i]));
        say(modnet_register(NULL));
        return getchar() == EOF ? 0 : 1;
    }
    if (strcmp(argv[1], "apply") == 0)
        return say(modnet_apply((pid_t)atol(argv[2]), (const char *const *)(argv + 3), argc - 3));
    if (strcmp(argv[1], "stranger") == 0)
        return say(modnet_getsockets(left, right, 4, MODNET_ALL_CPUS));
    if (modnet_register("asker") < 0)
        return say(-1);
    if (strcmp(argv[1], "take") == 0)
        return say(modnet_getsockets(argc > 4 ? NULL : left, right, atoi(argv[2]), atol(argv[3])));
    return strcmp(argv[1], "ctl") == 0 ? ctl(argv) : 2;
}
