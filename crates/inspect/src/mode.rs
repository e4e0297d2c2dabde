//! `MODNET_INSPECT`: which way is wanted. Read once, as a process begins to inspect.

use std::env;
use std::sync::OnceLock;

/// Environment variable.
pub const MODE_ENV: &str = "MODNET_INSPECT";

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// eBPF where it is to be had, else sampled. Where nothing is set.
    Auto,
    /// eBPF or an error.
    Bpf,
    /// `TCP_INFO`.
    Sampled,
    /// None: every reading is an error.
    Off,
}

impl Mode {
    /// What a value means; None: nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "auto" => Some(Self::Auto),
            "bpf" => Some(Self::Bpf),
            "sampled" => Some(Self::Sampled),
            "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// What the environment says.
    ///
    /// # Errors
    /// The line for whoever has set it to something else.
    pub fn from_env() -> Result<Self, String> {
        let text = env::var_os(MODE_ENV).unwrap_or_default();
        text.to_str()
            .and_then(Self::parse)
            .ok_or_else(|| format!("{MODE_ENV} is auto, bpf, sampled or off, not {}", text.to_string_lossy()))
    }

    /// The process' mode. A value that means nothing is refused where modules start, hence `auto` here.
    #[must_use]
    pub fn of_process() -> Self {
        static MODE: OnceLock<Mode> = OnceLock::new();
        *MODE.get_or_init(|| Self::from_env().unwrap_or(Self::Auto))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_means_nothing_is_not_a_mode() {
        assert_eq!(Mode::parse("sampled"), Some(Mode::Sampled));
        assert_eq!(Mode::parse(""), Some(Mode::Auto));
        assert_eq!(Mode::parse("ebpf"), None);
    }
}
