//! Delegation inside a module's process.
//!
//! | module | job |
//! | --- | --- |
//! | [`engine`] | a whole module process: name, workers, control socket |
//! | [`worker`] | one core's loop: arrivals, flows, timers |
//! | [`flow`] | the life of a flow without sockets: events in, commands out |
//! | [`hooks`] | what a module does, in whatever language |
//! | [`steal`] | stolen sockets arriving, and going on to the next module |
//! | [`pairs`] | whether pairs outlive their flows |
//! | [`sock`], [`poll`], [`cores`] | the owners of the system calls on sockets, epoll, cores |
//! | [`revocable`] | late binding for sockets of this very process, which nobody has stolen |
//! | [`registry`], [`runtime`], [`record`], [`apply`] | names, where they are, chains |
//! | [`calls`] | a module that has its own loop, in C or Python |
//! | [`revoke`] | bytes that were not sent, taken back through a chain |
//! | [`control`], [`users`], [`census`], [`janitor`], [`procs`] | who asks, who uses, who is left, cleaning up |
//! | [`stats`], [`error`] | what is counted, what is told |
pub mod apply;
pub mod calls;
pub mod census;
pub mod control;
pub mod cores;
pub mod engine;
pub mod error;
pub mod flow;
pub mod hooks;
pub mod janitor;
pub mod pairs;
mod pidfd;
pub mod poll;
pub mod procs;
pub mod record;
pub mod registry;
pub mod revocable;
pub mod revoke;
pub mod runtime;
#[cfg(test)]
mod scratch;
pub mod sock;
pub mod stats;
pub mod steal;
pub mod users;
pub mod worker;
