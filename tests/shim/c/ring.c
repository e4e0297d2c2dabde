// A library that has io_uring's setup, as liburing does, and calls it; loaded late, and for its loader alone.
int io_uring_setup(unsigned entries, void *params) { return params ? -1 : 4700 + (int)entries; }
int ask(void) { return io_uring_setup(11, 0); }
