//! The one error of the engine: an errno value, as the paper's calls have it, and one line that says what to do.
//!
//! Rule: the message is for the person at the terminal. It names the thing, then the remedy. It has no line
//! break and no value of a type (`Os { code: 13, … }`).

use std::fmt;
use std::io;

/// What the functions of this crate answer.
pub type Result<T> = std::result::Result<T, Error>;

/// An errno value and one line for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// A value of `libc::E…`; the calls return it as it is, Python raises the `OSError` that belongs to it.
    pub errno: i32,
    /// One line: what is wrong with what, and what to do.
    pub message: String,
}

impl Error {
    /// An error of our own finding.
    #[must_use]
    pub fn new(errno: i32, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { errno, message: message.replace('\n', " ") }
    }

    /// The system refused: `what` was tried, on `path` say, and `cause` is its answer.
    #[must_use]
    pub fn system(what: impl fmt::Display, cause: &io::Error) -> Self {
        let errno = cause.raw_os_error().unwrap_or(libc::EIO);
        Self::new(errno, format!("{what}: {}", text(errno)))
    }

    /// As [`Error::system`], with the error that the last call of this thread left.
    #[must_use]
    pub fn last(what: impl fmt::Display) -> Self {
        Self::system(what, &io::Error::last_os_error())
    }

    /// EEXIST: the name is taken by a living module.
    #[must_use]
    pub fn taken(name: &str) -> Self {
        Self::new(
            libc::EEXIST,
            format!("a module named {name} is running already; stop it (modnet module stop {name}) or choose another name (as=NAME)"),
        )
    }

    /// ENOENT: no module of that name.
    #[must_use]
    pub fn unknown_module(name: &str) -> Self {
        Self::new(
            libc::ENOENT,
            format!("no module named {name} is running; start it with modnet module start"),
        )
    }

    /// ESRCH: no process of that number.
    #[must_use]
    pub fn no_process(pid: u32) -> Self {
        Self::new(libc::ESRCH, format!("there is no process {pid}"))
    }
}

/// The system's words for an errno value, without Rust's " (os error 13)".
#[must_use]
pub fn text(errno: i32) -> String {
    let whole = io::Error::from_raw_os_error(errno).to_string();
    match whole.rfind(" (os error") {
        Some(end) => whole[..end].to_owned(),
        None => whole,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::from_raw_os_error(error.errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_in_the_systems_words() {
        let cause = io::Error::from_raw_os_error(libc::EACCES);
        let error = Error::system("cannot write /run/modnet", &cause);
        assert_eq!(error.errno, libc::EACCES);
        assert_eq!(error.to_string(), "cannot write /run/modnet: Permission denied");
        assert_eq!(Error::new(1, "a\nb").message, "a b");
    }
}
