/* A library that a program opens by dlopen: its accept is the shim's too. Built as the program that opens it with -DMAIN. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#ifndef MAIN
int take(int listener) { return accept(listener, NULL, NULL); }
#else
int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (void *)&address, sizeof address);
    listen(listener, 8);
    getsockname(listener, (void *)&address, &len);
    connect(client, (void *)&address, sizeof address);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    int (*take)(int) = (int (*)(int))dlsym(library, "take");
    int conn = take(listener);
    len = sizeof address;
    printf("%d %d\n", conn, getpeername(conn, (void *)&address, &len));
    return 0;
}
#endif
