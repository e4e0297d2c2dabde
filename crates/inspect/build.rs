//! Compiles the inspection programs: `crates/compile_bpf.rs`.

#[path = "../compile_bpf.rs"]
mod compile_bpf;

use std::{fs, io};

/// The typedef of `bpf/kernel.h` that is to be a tag.
const TAG: &[u8] = b"\0kptr_untrusted\0";
/// How the types of a BPF object (BTF) begin, and the word behind a type's name that says what it is.
const BEGIN: u32 = if cfg!(target_endian = "little") { 0x0001_eb9f } else { 0xeb9f_0100 };
const TYPEDEF: u32 = 8 << 24;
const TYPE_TAG: u32 = 18 << 24;

fn main() {
    let Some(object) = compile_bpf::compile("sockstate") else { return };
    if let Err(error) = fs::read(&object).and_then(|bytes| fs::write(&object, tagged(bytes)?)) {
        println!("cargo::error={}: {error}", object.display());
    }
}

fn tagged(mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    tag(&mut bytes).map(|()| bytes).ok_or_else(|| io::Error::other("it has no typedef kptr_untrusted"))
}

/// Makes the typedef a tag of the type: they are written alike. Clang has an attribute for it since version 15; Debian 12 has 14.
fn tag(bytes: &mut [u8]) -> Option<()> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let begin = find(bytes, &BEGIN.to_ne_bytes())?;
    // Header: magic, its own length, then offset and length of types and of names, from the header's end on.
    let [header, types, length, names] = [4, 8, 12, 16].map(|at| word(bytes, begin + at));
    let start = begin + header? as usize;
    let (types, names) = (start + types? as usize, start + names? as usize);
    let name = u32::try_from(find(bytes.get(names..)?, TAG)? + 1).ok()?;
    let mut wanted = name.to_ne_bytes().to_vec();
    wanted.extend(TYPEDEF.to_ne_bytes());
    let at = types + find(bytes.get(types..types + length? as usize)?, &wanted)?;
    bytes.get_mut(at + 4..at + 8)?.copy_from_slice(&TYPE_TAG.to_ne_bytes());
    Some(())
}
