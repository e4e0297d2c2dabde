/* Somebody else's preloaded library: counts accepts and closes, and looks at the environment in its constructor. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static int accepts, closes;
int accept(int fd, struct sockaddr *address, socklen_t *len) {
    accepts++;
    return ((int (*)(int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "accept"))(fd, address, len);
}
int close(int fd) {
    closes++;
    return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}
/* Hooks called before anybody's main, perhaps before the shim's constructor. */
__attribute__((constructor)) static void start(void) {
    int fd = dup(1);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    getsockname(fd, (void *)&address, &len);
    close(fd);
}
__attribute__((destructor)) static void report(void) { dprintf(1, "accepts %d\n", accepts); }
