//! What a module may be called: it becomes a directory's name, a part of messages and a word on a terminal.

/// Bytes that a name takes in a struct: up to 31 of the name, then NUL (a UNIX socket's path has 108 bytes in all).
pub const NAME_BYTES: usize = 32;

/// A name as it stands in a struct, padded with NUL.
pub type Name = [u8; NAME_BYTES];

/// Why a string is not a module's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No character at all.
    Empty,
    /// More than 31 bytes.
    TooLong,
    /// Something else than `a-z A-Z 0-9 _ - .`, or a first character that is not a letter or digit
    /// (which keeps `.`, `..`, hidden files and options out).
    Character,
}

/// Checks and pads a name.
///
/// # Errors
/// Says which rule the name breaks.
pub fn pack(name: &[u8]) -> Result<Name, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() >= NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let inner = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    if !name[0].is_ascii_alphanumeric() || !name.iter().all(inner) {
        return Err(NameError::Character);
    }
    let mut packed = [0; NAME_BYTES];
    packed[..name.len()].copy_from_slice(name);
    Ok(packed)
}

/// The bytes before the padding; checked as strictly as [`pack`], since the struct came from another process.
///
/// # Errors
/// As [`pack`].
pub fn unpack(name: &Name) -> Result<&str, NameError> {
    let len = name.iter().position(|c| *c == 0).ok_or(NameError::TooLong)?;
    pack(&name[..len])?;
    core::str::from_utf8(&name[..len]).map_err(|_| NameError::Character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        for name in ["a", "forwarder", "Shout2", "a.b-c_d", &"x".repeat(31)] {
            assert_eq!(unpack(&pack(name.as_bytes()).unwrap()), Ok(name));
        }
    }

    #[test]
    fn path_tricks_and_odd_characters_are_refused() {
        for name in [".", "..", "../x", "a/b", "-m", ".hidden", "a b", "a\n", "ä", "a\0b", "_x"] {
            assert_eq!(pack(name.as_bytes()), Err(NameError::Character), "{name:?}");
        }
        assert_eq!(pack(b""), Err(NameError::Empty));
        assert_eq!(pack(&[b'x'; 32]), Err(NameError::TooLong));
    }

    #[test]
    fn a_struct_without_terminator_is_refused() {
        assert_eq!(unpack(&[b'x'; 32]), Err(NameError::TooLong));
        assert_eq!(unpack(&[0; 32]), Err(NameError::Empty));
    }
}
