/* A corked header and the file after it, as one message: preloaded before the shim, for nginx alone.
 *
 * An upper bound of what the shim could gain by joining them. It leaves out all that would make it safe: a header that no
 * file follows is never sent. Small headers and files only; single-threaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 16384, HEADER = 1024, FILE_BYTES = 65536 };

static struct {
    char corked;
    size_t length;
    char header[HEADER];
} held[FDS];

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define FIND(name)                                                                                                     \
    static __typeof__(name) *next;                                                                                     \
    if (!next) next = NEXT(name)

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    FIND(setsockopt);
    if (level == IPPROTO_TCP && name == TCP_CORK && fd >= 0 && fd < FDS) held[fd].corked = *(const int *)value != 0;
    return next(fd, level, name, value, length);
}

ssize_t writev(int fd, const struct iovec *vectors, int count) {
    FIND(writev);
    size_t total = 0;
    for (int i = 0; i < count; i++) total += vectors[i].iov_len;
    if (fd < 0 || fd >= FDS || !held[fd].corked || held[fd].length || total > HEADER) return next(fd, vectors, count);
    for (int i = 0; i < count; i++) {
        memcpy(held[fd].header + held[fd].length, vectors[i].iov_base, vectors[i].iov_len);
        held[fd].length += vectors[i].iov_len;
    }
    return (ssize_t)total;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t count) {
    FIND(sendfile64);
    if (to < 0 || to >= FDS || !held[to].length) return next(to, from, offset, count);
    static char message[HEADER + FILE_BYTES];
    size_t header = held[to].length;
    held[to].length = 0;
    memcpy(message, held[to].header, header);
    ssize_t got = pread64(from, message + header, count < FILE_BYTES ? count : FILE_BYTES, *offset);
    ssize_t sent = send(to, message, header + (got > 0 ? (size_t)got : 0), 0);
    if (sent < (ssize_t)header) return -1;
    *offset += sent - (ssize_t)header;
    return sent - (ssize_t)header;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) { return sendfile64(to, from, offset, count); }

int close(int fd) {
    FIND(close);
    if (fd >= 0 && fd < FDS) held[fd].corked = 0, held[fd].length = 0;
    return next(fd);
}
