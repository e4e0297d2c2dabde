//! The error that ended a connection: met by the module, told by the shim to the application.
//!
//! No error can be put on a UNIX socket, so it is left on the real one, which both sides hold, in a place that nobody else
//! uses: its send timeout. The real socket never waits; the application's own timeouts stand on the intermediate one.
//! The other way, through a chain, a pair's end is given a name before it is closed: its peer can ask for that still.

/// Some 34 years: no application waits so long.
const NONE: i64 = 1 << 30;
/// The kernel's errors are the last page of numbers.
const ERRORS: i64 = 4096;

/// The timeout that says `errno`, in whole seconds.
#[must_use]
pub fn seconds(errno: i32) -> i64 {
    NONE + errno as i64
}

/// The error that a timeout says, if it says one.
#[must_use]
pub fn errno(seconds: i64) -> Option<i32> {
    let errno = seconds.checked_sub(NONE)?;
    (1..ERRORS).contains(&errno).then_some(errno as i32)
}

/// How the name of a pair's end begins whose close is a reset: a module's word for the next one. What follows, its cookie,
/// makes it nobody else's.
pub const RESET: [u8; 14] = *b"\0modnet-reset:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_and_a_timeout_is_none() {
        assert_eq!(errno(seconds(104)), Some(104));
        for timeout in [0, 1, 3600, NONE, NONE + ERRORS, i64::MAX, i64::MIN] {
            assert_eq!(errno(timeout), None, "{timeout}");
        }
    }
}
