//! `libmodnet_shim.so`: preloaded into an application, it steals the TCP sockets that `accept` returns and keeps
//! every other call true.
//!
//! | file | job |
//! | --- | --- |
//! | `hooks`, `hooks_data`, `hooks_waits`, `hooks_forks`, `hooks_exec` | the exported functions, three lines each |
//! | `answer` | what a safe function tells its hook: *native*, *done* or *failed* |
//! | `sys` | raw system calls for the shim's own use: they never re-enter a hook and never touch errno |
//! | `real` | the functions behind the hooks, found by `RTLD_NEXT` |
//! | `record` | the mapped record: chain, counters, numbers |
//! | `process` | whose memory is this: the owner's, a fork's child's, a vfork's child's |
//! | `fds` | what is known about each descriptor |
//! | `hidden`, `limits`, `numbers` | hidden duplicates, the limits they hide behind, the shim's own numbers |
//! | `listener`, `pair`, `connection`, `queue`, `steal` | accept: listener, pair, to whom, message, the whole |
//! | `pool`, `forks`, `watched` | pairs that outlive a flow, and what ends a pair with its flow |
//! | `inline` | small writes by shared memory |
//! | `burst` | begins of one accept burst in one message |
//! | `descriptors`, `ranges` | close, dup, fcntl; close_range and its like |
//! | `table`, `rows`, `options`, `names`, `control`, `data` | where each call on a stolen socket goes, and why |
//! | `fault` | errors of the network, told by a read that finds the end |
//! | `passed` | stolen sockets passed to another process, and received from one |
//! | `yielded` | sockets that the application yields to modules itself |
//! | `adopt` | hidden duplicates found again after exec |
//! | `start` | the constructor |
//!
//! Rules: no lock, no allocation, no thread-local, nothing that may not be called from a signal handler (but for the
//! constructor, and a hook called before it). Without `MODNET_RECORD` nothing happens at all. Anything wrong
//! leaves the application alone. It must not write to standard output or error, keep a thread, or unwind.
#![cfg_attr(not(test), no_std)]

// The test harness is a process of its own: hooks that it exported would be hooks on itself.
#[cfg(not(test))]
mod adopt;
#[cfg(not(test))]
mod answer;
#[cfg(not(test))]
mod burst;
#[cfg(not(test))]
mod connection;
#[cfg(not(test))]
mod control;
#[cfg(not(test))]
mod data;
#[cfg(not(test))]
mod descriptors;
#[cfg(not(test))]
mod fault;
#[cfg(not(test))]
mod fds;
#[cfg(not(test))]
mod forks;
#[cfg(not(test))]
mod hidden;
#[cfg(not(test))]
mod hooks;
#[cfg(not(test))]
mod hooks_data;
#[cfg(not(test))]
mod hooks_exec;
#[cfg(not(test))]
mod hooks_forks;
#[cfg(not(test))]
mod hooks_waits;
#[cfg(not(test))]
mod inline;
#[cfg(not(test))]
mod limits;
#[cfg(not(test))]
mod listener;
#[cfg(not(test))]
mod names;
#[cfg(not(test))]
mod numbers;
#[cfg(not(test))]
mod options;
#[cfg(not(test))]
mod pair;
#[cfg(not(test))]
mod passed;
#[cfg(not(test))]
mod pool;
#[cfg(not(test))]
mod process;
#[cfg(not(test))]
mod queue;
#[cfg(not(test))]
mod ranges;
#[cfg(not(test))]
mod real;
#[cfg(not(test))]
mod record;
mod rows;
#[cfg(not(test))]
mod start;
#[cfg(not(test))]
mod steal;
#[cfg(not(test))]
mod sys;
mod table;
#[cfg(not(test))]
mod watched;
#[cfg(not(test))]
mod yielded;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: abort takes no argument and does not return. Nothing is printed: the terminal is the application's.
    unsafe { libc::abort() }
}
