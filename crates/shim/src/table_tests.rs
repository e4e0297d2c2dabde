//! The table and what is made from it.

use super::*;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/transparency.md");
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/shim");

fn words(goes: Goes) -> String {
    match goes {
        Goes::Real => "the real socket".into(),
        Goes::Intermediate => "the intermediate socket".into(),
        Goes::Both => "both".into(),
        Goes::Sum => "both, added".into(),
        Goes::Either => "the intermediate socket, else the real one".into(),
        Goes::Remembered(_) => "remembered".into(),
        Goes::Declined(libc::EOPNOTSUPP) => "fails: EOPNOTSUPP".into(),
        Goes::Declined(libc::ENOENT) => "fails: ENOENT".into(),
        Goes::Declined(libc::EPERM) => "fails: EPERM".into(),
        Goes::Declined(libc::EISCONN) => "fails: EISCONN".into(),
        Goes::Declined(libc::ENOPROTOOPT) => "fails: ENOPROTOOPT".into(),
        Goes::Declined(errno) => panic!("no word for errno {errno}"),
        Goes::Follows => "the hidden duplicate follows".into(),
        Goes::Special => "see there".into(),
    }
}

fn document() -> String {
    let mut text = String::from(include_str!("transparency_head.md"));
    text.push_str("\n| calls on a stolen socket | go to | why | tests |\n| --- | --- | --- | --- |\n");
    for row in ROWS {
        let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            row.calls,
            words(row.goes),
            row.why,
            tests.join(", ")
        ));
    }
    text.push('\n');
    text.push_str(include_str!("transparency_tail.md"));
    text
}

#[test]
fn the_document_is_up_to_date() {
    let made = document();
    if std::env::var_os("MODNET_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &made).unwrap();
    }
    let found = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        found == made,
        "docs/transparency.md is out of date: MODNET_WRITE_DOCS=1 cargo test -p modnet-shim"
    );
}

#[test]
fn every_row_names_tests_that_exist() {
    let mut code = String::new();
    for file in std::fs::read_dir(TESTS).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "py") {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    for row in ROWS {
        assert!(!row.tests.is_empty(), "no test: {}", row.calls);
        for test in row.tests {
            assert!(code.contains(&format!("\ndef {test}(")), "no such test in tests/shim: {test}");
        }
    }
}

#[test]
fn the_narrow_rows_stand_before_the_wide_ones() {
    for (place, row) in ROWS.iter().enumerate() {
        let (set, get, level, names) = match row.keys {
            Keys::Option(level, names) => (true, true, level, names),
            Keys::Set(level, names) => (true, false, level, names),
            Keys::Get(level, names) => (false, true, level, names),
            _ => continue,
        };
        for name in names {
            for asked in [true, false].into_iter().filter(|asked| if *asked { set } else { get }) {
                assert_eq!(option(asked, level, *name), row.goes, "row {place} is hidden by an earlier one");
            }
        }
    }
    assert_eq!(option(true, libc::SOL_SOCKET, libc::SO_KEEPALIVE), Goes::Real);
    assert_eq!(option(false, libc::SOL_SOCKET, libc::SO_SNDBUF), Goes::Real);
    assert_eq!(option(false, libc::IPPROTO_TCP, libc::TCP_REPAIR), Goes::Real);
    assert_eq!(ioctl(libc::FIONREAD), Goes::Intermediate);
    assert_eq!(ioctl(0x8905), Goes::Real);
    assert_eq!(ioctl(libc::TCGETS), Goes::Intermediate);
}
