//! The words between a flow and its driver: sides, ways, what was seen, what is to be done.

/// A socket of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the application.
    Left,
    /// Towards the network.
    Right,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Application to network.
    Outbound = 0,
    /// Network to application.
    Inbound = 1,
}

impl Way {
    /// Both.
    pub const BOTH: [Way; 2] = [Way::Outbound, Way::Inbound];

    /// Where its bytes come from.
    #[must_use]
    pub fn source(self) -> Side {
        match self {
            Way::Outbound => Side::Left,
            Way::Inbound => Side::Right,
        }
    }

    /// Where its bytes go.
    #[must_use]
    pub fn destination(self) -> Side {
        match self {
            Way::Outbound => Side::Right,
            Way::Inbound => Side::Left,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Way::Outbound => Way::Inbound,
            Way::Inbound => Way::Outbound,
        }
    }

    /// The direction that reads from `side`.
    #[must_use]
    pub fn from(side: Side) -> Self {
        match side {
            Side::Left => Way::Outbound,
            Side::Right => Way::Inbound,
        }
    }

    /// The direction that writes to `side`.
    #[must_use]
    pub fn to(side: Side) -> Self {
        match side {
            Side::Left => Way::Inbound,
            Side::Right => Way::Outbound,
        }
    }
}

/// What the poller saw on a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There may be bytes, an end or an error to read.
    pub readable: bool,
    /// There may be room.
    pub writable: bool,
    /// The peer sends no more.
    pub half: bool,
    /// Both halves are closed.
    pub hang_up: bool,
    /// There is an error: a reset, or the peer's end of a pair was closed with unread bytes or by a module that said so.
    pub failed: bool,
    /// Among the bytes to read are urgent ones.
    pub urgent: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read at most so many bytes; then [`Flow::got`], [`Flow::drained`], [`Flow::end_of`] or [`Flow::broken`].
    Read(Way, usize),
    /// Read at most so many bytes to the end of the outlet, or move them to the destination past an empty one; then
    /// [`Flow::kept`], or as above, or [`Flow::postpone`].
    Append(Way, usize),
    /// The bytes just read go to the hook, then [`Flow::hooked`] with the length of what it returned.
    Hook(Way),
    /// Send the bytes just read (or hooked); `more`: the end follows. Then [`Flow::sent`], the rest having been
    /// pushed to the queue, or [`Flow::broken`].
    Send(Way, bool),
    /// Send from the queue, as above.
    Flush(Way, bool),
    /// Send from the outlet what the kernel should have, as above.
    Release(Way, bool),
    /// The source has ended: the hook may add last bytes to the queue; then [`Flow::hook_ended`].
    HookEnd(Way),
    /// Close the sending half of the way's destination.
    Shutdown(Way),
    /// Close both; `reset`: the network is to see a reset where the application's close would have been one.
    Close {
        /// Whether to reset.
        reset: bool,
    },
    /// Nothing until the next event, or until [`Flow::timer`].
    Wait,
}
