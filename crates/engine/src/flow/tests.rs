//! The machine of a flow, tested without sockets.
//!
//! | file | holds |
//! | --- | --- |
//! | [`playbook`] | events in, expected commands out |
//! | [`ends`] | half-closes, closes, resets |
//! | [`passing`] | data, back-pressure, turns |
//! | [`hooks`] | what a module's hooks do to it |
//! | [`late`] | bytes that may be revoked |
//! | [`limits`] | buckets and timers |
//! | [`yielded`] | neighbours that change, bytes that come along |
//! | [`sim`] | sockets and epoll as the kernel has them, small |
//! | [`model`] | the machine against [`sim`], by chance |

mod ends;
mod hooks;
mod late;
mod limits;
mod model;
mod passing;
mod playbook;
mod sim;
mod yielded;
