//! The six calls in C.
