//! Whether pairs outlive their flows: the setting `MODNET_PAIRS`, `fresh` or `pooled`, of the process that has them.
//!
//! `fresh`: every flow has a pair of its own. `pooled`: pairs towards the next module are used again, and clients that
//! offer theirs are heard. Both understand each other: what either does not do is not done. `MODNET_INLINE`, `on` or `off`: whether
//! small writes go through shared memory (`modnet_pool::inline`).

use std::env;
use std::ffi::OsString;

use crate::error::{Error, Result};

/// The environment's name of the setting.
pub const PAIRS_ENV: &str = "MODNET_PAIRS";

/// The environment's name of the other.
pub const INLINE_ENV: &str = "MODNET_INLINE";

/// What becomes of a pair when its flow has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// It is closed.
    Fresh,
    /// It carries the next flow.
    Pooled,
}

impl Pairs {
    /// Where nothing is said: a further module of a chain then makes no pair for nine flows of ten.
    pub const DEFAULT: Self = Self::Pooled;

    /// What the environment says.
    ///
    /// # Errors
    /// EINVAL for another word.
    pub fn from_env() -> Result<Self> {
        Self::choose(env::var_os(PAIRS_ENV))
    }

    /// The word of the setting.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Pooled => "pooled",
        }
    }

    fn choose(word: Option<OsString>) -> Result<Self> {
        match word.as_deref().map(|word| word.to_str()) {
            None | Some(Some("")) => Ok(Self::DEFAULT),
            Some(Some("fresh")) => Ok(Self::Fresh),
            Some(Some("pooled")) => Ok(Self::Pooled),
            Some(_) => Err(Error::new(
                libc::EINVAL,
                format!("{PAIRS_ENV} is {:?}; set it to fresh or pooled", word.unwrap_or_default()),
            )),
        }
    }
}

/// Whether small writes go through shared memory; they do where nothing is said.
///
/// # Errors
/// EINVAL for another word.
pub fn inline_from_env() -> Result<bool> {
    choose_inline(env::var_os(INLINE_ENV))
}

fn choose_inline(word: Option<OsString>) -> Result<bool> {
    match word.as_deref().map(|word| word.to_str()) {
        None | Some(Some("" | "on")) => Ok(true),
        Some(Some("off")) => Ok(false),
        Some(_) => Err(Error::new(
            libc::EINVAL,
            format!("{INLINE_ENV} is {:?}; set it to on or off", word.unwrap_or_default()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_words_are_known_and_others_are_refused_in_one_line() {
        let choose = |word: &str| Pairs::choose(Some(word.into()));
        assert_eq!((choose("fresh"), choose("pooled")), (Ok(Pairs::Fresh), Ok(Pairs::Pooled)));
        assert_eq!((choose(""), Pairs::choose(None)), (Ok(Pairs::DEFAULT), Ok(Pairs::DEFAULT)));
        for pairs in [Pairs::Fresh, Pairs::Pooled] {
            assert_eq!(choose(pairs.name()), Ok(pairs));
        }
        let error = choose("Pooled").unwrap_err();
        assert_eq!(error.errno, libc::EINVAL);
        assert_eq!(error.message, "MODNET_PAIRS is \"Pooled\"; set it to fresh or pooled");
    }

    #[test]
    fn small_writes_are_inline_unless_that_is_off() {
        let choose = |word: &str| choose_inline(Some(word.into()));
        assert_eq!((choose("on"), choose("off")), (Ok(true), Ok(false)));
        assert_eq!((choose(""), choose_inline(None)), (Ok(true), Ok(true)));
        assert_eq!(choose("no").unwrap_err().message, "MODNET_INLINE is \"no\"; set it to on or off");
    }
}
