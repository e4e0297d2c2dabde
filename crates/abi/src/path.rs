//! Where the registry's files are.
//!
//! ```text
//! <runtime>/modules/<name>/control        status, users, stop: a SEQPACKET socket, its owner's alone
//! <runtime>/modules/<name>/steal.<cpu>    one queue per core: a SEQPACKET socket
//! <runtime>/modules/<name>/full.<cpu>     the same, while the module has no descriptors for more flows
//! <runtime>/modules/.lock                 held for the moment of registering or leaving
//! <runtime>/processes/<pid>               a record
//! ```
//! The runtime directory is `$MODNET_RUNTIME_DIR`, else `/run/modnet` for root, else `$XDG_RUNTIME_DIR/modnet`,
//! else `/tmp/modnet-<uid>`; directories that root makes are 0711, so that a worker that has dropped its privileges
//! reaches the queues (0666) by name, and the token decides; others' are 0700.

use crate::name::{unpack, Name};

/// Environment variable that overrides the runtime directory.
pub const RUNTIME_ENV: &str = "MODNET_RUNTIME_DIR";
/// Directory of the modules.
pub const MODULES: &str = "modules";
/// Directory of the records.
pub const PROCESSES: &str = "processes";
/// The control socket's name.
pub const CONTROL: &str = "control";
/// What a steal queue's name begins with.
pub const STEAL_PREFIX: &str = "steal.";
/// What its name begins with while the module can take no more: who finds it passes without this module.
pub const FULL_PREFIX: &str = "full.";
/// Size of `sockaddr_un.sun_path`.
pub const SUN_PATH: usize = 108;
/// The longest runtime directory: what remains of a socket's path beside `/modules/<name>/steal.<cpu>`.
pub const MAX_RUNTIME: usize = SUN_PATH - 1 - "/modules/".len() - 31 - "/steal.".len() - 4;

/// A NUL-terminated path in a fixed buffer, made without allocation.
#[derive(Clone, Debug)]
pub struct SocketPath {
    bytes: [u8; SUN_PATH],
    len: usize,
}

impl SocketPath {
    /// The path of the steal queue of module `name` on core `cpu`, below `runtime`.
    /// None where it does not fit or the name breaks the rules.
    #[must_use]
    pub fn steal(runtime: &[u8], name: &Name, cpu: u32) -> Option<Self> {
        Self::queue(runtime, name, STEAL_PREFIX, cpu)
    }

    /// Where that queue stands while the module is full; None as for [`Self::steal`].
    #[must_use]
    pub fn full(runtime: &[u8], name: &Name, cpu: u32) -> Option<Self> {
        Self::queue(runtime, name, FULL_PREFIX, cpu)
    }

    fn queue(runtime: &[u8], name: &Name, prefix: &str, cpu: u32) -> Option<Self> {
        let mut path = Self { bytes: [0; SUN_PATH], len: 0 };
        path.push(runtime)?;
        path.push(b"/modules/")?;
        path.push(unpack(name).ok()?.as_bytes())?;
        path.push(b"/")?;
        path.push(prefix.as_bytes())?;
        let mut digits = [0u8; 10];
        let mut at = digits.len();
        let mut rest = cpu;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).ok()?;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        path.push(&digits[at..])?;
        Some(path)
    }

    /// The bytes, without the final NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The bytes with the final NUL.
    #[must_use]
    pub fn with_nul(&self) -> &[u8] {
        &self.bytes[..=self.len]
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len + part.len();
        // One byte is kept for the NUL.
        self.bytes.get_mut(self.len..end).filter(|_| end < SUN_PATH)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::pack;

    #[test]
    fn a_queue_has_its_path() {
        let path = SocketPath::steal(b"/run/modnet", &pack(b"gzip").unwrap(), 107).unwrap();
        assert_eq!(path.as_bytes(), b"/run/modnet/modules/gzip/steal.107");
        let full = SocketPath::full(b"/run/modnet", &pack(b"gzip").unwrap(), 107).unwrap();
        assert_eq!(full.as_bytes(), b"/run/modnet/modules/gzip/full.107");
        let zero = SocketPath::steal(b"/r", &pack(b"g").unwrap(), 0).unwrap();
        assert_eq!(zero.as_bytes(), b"/r/modules/g/steal.0");
    }

    #[test]
    fn the_longest_runtime_directory_leaves_room_for_any_name_and_core() {
        let name = pack(&[b'x'; 31]).unwrap();
        assert!(SocketPath::steal(&[b'r'; MAX_RUNTIME], &name, 9999).is_some());
        assert!(SocketPath::steal(&[b'r'; MAX_RUNTIME + 1], &name, 9999).is_none());
    }
}
