/* Late news: a server that sends the lines of its input to one client, and takes back a line that has not been sent when a
 * newer one comes. A client that reads slowly gets the news, not the history.
 *
 *     export PKG_CONFIG_PATH=python/modnet/lib/pkgconfig        # in a clone; else as modnet.h says
 *     cc -o yank examples/yank.c $(pkg-config --cflags --libs modnet)
 *     tail -f ticker | modnet run -m forwarder,revocable=yes -- ./yank 8000
 */
#include <arpa/inet.h>
#include <modnet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The last whole line that is unsent goes; what is before it stays. */
static void replace(int client, const char *line)
{
    char unsent[8192];
    int count = modnet_yank(client, unsent, sizeof unsent, MODNET_PEEK, MODNET_YANK_LOCK, 0);
    if (count < 0)
        die("modnet_yank");
    int start = count - 1; /* of the last byte, a line's end */
    while (start > 0 && unsent[start - 1] != '\n')
        start--;
    if (start > 0 && modnet_yank(client, unsent, count - start, MODNET_YANK, MODNET_YANK_NONE, 0) < 0)
        die("modnet_yank");
    if (write(client, line, strlen(line)) < 0)
        die("write");
    if (modnet_yank(client, NULL, 0, MODNET_YANK, MODNET_YANK_UNLOCK, 0) < 0)
        die("modnet_yank");
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char line[4096];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        die("listen");
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        die("accept");
    while (fgets(line, sizeof line, stdin))
        replace(client, line);
    return close(client);
}
