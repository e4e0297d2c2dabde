// What the files of the mixed server share: a connection, the orders that its header gives, and what is counted.
//
// | file | holds |
// | --- | --- |
// | mixed.c | the listener and its modes: a thread a connection, one epoll set, workers that are forked, and again where one dies |
// | mixed_flow.c | reading, waiting and answering, each byte compared |
// | mixed_state.c | that a new descriptor is as new, and leaving one as unlike a new one as can be |
// | mixed_ways.c | what happens between the request and the end |
// | mixed_hands.c | the ways in which somebody else answers: children, other processes, other threads |
//
// The numbers of the enums are those of mixed.py.
#pragma once
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pattern.h"

enum way {
    PLAIN, DUP_GOES_ON, DUP_GOES, DUP2, F_DUPFD_, FORK_CHILD, FORK_PARENT, SPAWN, SPAWN_INHERITED, VFORK_EXEC,
    PASS_AWAY, PASS_TO_ITSELF, SERVER_HALF, CLIENT_HALF, LINGER, UNREAD, THREAD_RECV, THREAD_READ, THREAD_SENDFILE,
    STATS = 255
};
enum ending { BY_CLOSE, BY_SYSCALL, BY_CLOSE_RANGE, BY_DUP2, BY_FCLOSE, ENDINGS };
enum wait { ALONE, BY_POLL, BY_SELECT, ONE_SET, TWO_SETS, SET_REMADE, WAITS };
enum answer { BY_SEND, BY_WRITE, BY_WRITEV, CORKED, MORE, PIECES };
// The flow may be cut; O_NONBLOCK is to be changed; a receive timeout; options that nobody resets before the end.
enum flags { MAY_BE_CUT = 1, CHANGE_NONBLOCK = 2, TIMEOUT = 4, LEAVE_DIRTY = 8 };

// `in` and `out`: bytes of each of `rounds` requests and answers; `late`: those that the client sends after the answer.
struct header {
    uint64_t magic, flow;
    uint32_t in, out, late;
    uint8_t way, ending, wait, answer, rounds, flags, unused[6];
};
_Static_assert(sizeof(struct header) == 40, "as mixed.py packs it");

// `wrong`: a byte or a state that is not this flow's. `cut`: an end that came early where none was allowed.
struct counts { uint64_t begun, finished, wrong, cut; };
extern struct counts *counts;
// Whether this process closes nothing while a child or a thread of its own holds other connections: a set that still
// tells of a closed connection is wrong then. (Where somebody holds the connection the kernel itself does so.)
extern bool alone;
// The epoll set of the mode of that name, and a second one; -1 in the others.
extern int main_sets[2];

struct conn {
    int fd;
    uint32_t number; // Of the accept: events carry it.
    struct header h;
    uint32_t have; // Bytes of the header.
    uint64_t received, sent;
    int round;
    int sets[2]; // Its own epoll sets, or -1.
    bool in_main[2];
};

void wrong(const struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cut(const struct conn *c, const char *where);
void finished(struct conn *c);

// mixed_flow.c
int feed(struct conn *c, int flags);       // 1: the request is there; 0: wait; -1: the connection has ended
int await_request(struct conn *c);         // the same, never 0
void compare(struct conn *c, const uint8_t *data, size_t n);
bool answer(struct conn *c, int fd);       // one answer
int memory(struct conn *c);                // a file that holds one answer
void drain(struct conn *c, uint64_t late); // reads to the end, which comes after `late` more bytes
void unwatch(struct conn *c);              // out of every set
void wait_for(int fd, short events);

// mixed_state.c
void check_new(struct conn *c, int flags);
void settle(struct conn *c);     // as the header's flags say
void leave_dirty(struct conn *c);
void close_by(int fd, int ending);
void end(struct conn *c);        // closes, looks whether its sets have forgotten it, counts

// mixed_ways.c and mixed_hands.c
bool live(struct conn *c);       // after a request: true where another follows
void by_hands(struct conn *c);
pid_t start_helper(void);
void copy(int to);               // the program that inherits a connection
