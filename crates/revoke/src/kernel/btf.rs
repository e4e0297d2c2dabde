//! What the running kernel says of its structs (BTF): numbers of types, places of members. Pure.
//!
//! aya has a reader of this, whose members are its own.

use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;

/// A struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// The type's number.
    pub id: u32,
    /// Its bytes.
    pub size: u32,
    members: Vec<(String, u32)>,
}

impl Struct {
    /// (which member this is, at which byte)
    #[must_use]
    pub fn member(&self, name: &str) -> Option<(u32, u32)> {
        let at = self.members.iter().position(|(member, _)| member == name)?;
        Some((at as u32, self.members[at].1))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Bytes that follow a type of this kind, with so many parts.
fn rest(kind: u32, parts: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        STRUCT | 5 | 15 | 19 => 12 * parts,
        // ENUM, FUNC_PROTO
        6 | 13 => 8 * parts,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

/// Finds structs by name; `None` where one is missing, or the bytes are of no kind that is known here.
#[must_use]
pub fn find<const N: usize>(btf: &[u8], names: [&str; N]) -> Option<[Struct; N]> {
    if btf.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let header = u32_at(btf, 4)? as usize;
    let part = |at: usize| -> Option<Range<usize>> {
        let from = header + u32_at(btf, at)? as usize;
        Some(from..from + u32_at(btf, at + 4)? as usize)
    };
    let (types, strings) = (btf.get(part(8)?)?, btf.get(part(16)?)?);
    let name = |at: usize| -> Option<&str> {
        let rest = strings.get(u32_at(types, at)? as usize..)?;
        std::str::from_utf8(rest.split(|b| *b == 0).next()?).ok()
    };
    let mut found = [const { None }; N];
    let (mut at, mut id) = (0, 1);
    while at < types.len() {
        let info = u32_at(types, at + 4)?;
        let (kind, parts) = (info >> 24 & 31, (info & 0xffff) as usize);
        if kind == STRUCT {
            if let Some(which) = names.iter().position(|wanted| name(at) == Some(wanted)) {
                // With bit fields about, a member's place has its width in the upper byte.
                let mask = if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
                let member = |number: usize| {
                    let at = at + 12 + 12 * number;
                    Some((name(at)?.to_owned(), (u32_at(types, at + 8)? & mask) / 8))
                };
                let members = (0..parts).map(member).collect::<Option<_>>()?;
                found[which] = Some(Struct { id, size: u32_at(types, at + 8)?, members });
            }
        }
        at += 12 + rest(kind, parts)?;
        id += 1;
    }
    let all: Option<Vec<Struct>> = found.into_iter().collect();
    all?.try_into().ok()
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
