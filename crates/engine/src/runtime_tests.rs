//! Whose runtime directory is used, and which are refused.

use super::*;
use crate::scratch::Scratch;

#[test]
fn the_order_of_places() {
    let some = |s: &str| Some(OsString::from(s));
    assert_eq!(choose(some("/a"), 0, some("/x")), Path::new("/a"));
    assert_eq!(choose(None, 0, some("/x")), Path::new("/run/modnet"));
    assert_eq!(choose(some(""), 7, some("/x")), Path::new("/x/modnet"));
    assert_eq!(choose(None, 7, None), Path::new("/tmp/modnet-7"));
}

#[test]
fn directories_are_made_closed_to_others() {
    let scratch = Scratch::new();
    let runtime = Runtime::at(scratch.path.join("r")).unwrap();
    assert!(!runtime.open().unwrap());
    runtime.prepare().unwrap();
    runtime.prepare().unwrap();
    assert!(runtime.open().unwrap());
    let mode = fs::metadata(runtime.processes()).unwrap().mode() & 0o777;
    assert_eq!(mode, if euid() == 0 { 0o711 } else { 0o700 });
}

#[test]
fn a_directory_that_others_could_change_is_refused() {
    let scratch = Scratch::new();
    let at = |name: &str| Runtime::at(scratch.path.join(name)).unwrap();

    std::os::unix::fs::symlink("/tmp", scratch.path.join("link")).unwrap();
    let error = at("link").prepare().unwrap_err();
    assert!(error.errno == libc::EPERM && error.message.contains("symbolic link"), "{error}");

    fs::write(scratch.path.join("file"), "").unwrap();
    assert_eq!(at("file").prepare().unwrap_err().errno, libc::ENOTDIR);

    fs::create_dir(scratch.path.join("open")).unwrap();
    fs::set_permissions(scratch.path.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let error = at("open").prepare().unwrap_err();
    assert!(error.message.contains("chmod go-w"), "{error}");
    assert_eq!(at("open").open().unwrap_err(), error);

    assert_eq!(at("no/parent").prepare().unwrap_err().errno, libc::ENOENT);
}

#[test]
fn a_path_that_leaves_no_room_for_sockets_is_refused() {
    let long = format!("/tmp/{}", "x".repeat(MAX_RUNTIME - 4));
    assert_eq!(Runtime::at(&long).unwrap_err().errno, libc::ENAMETOOLONG);
    assert!(Runtime::at(&long[..long.len() - 1]).is_ok());
    assert_eq!(Runtime::at("/tmp/a\nb").unwrap_err().errno, libc::EINVAL);
    assert_eq!(Runtime::at("").unwrap_err().errno, libc::EINVAL);
}

#[test]
fn the_parents_links_are_resolved() {
    let scratch = Scratch::new();
    let real = scratch.path.join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, scratch.path.join("way")).unwrap();
    let runtime = Runtime::at(scratch.path.join("way/r")).unwrap();
    assert_eq!(runtime.path, fs::canonicalize(&real).unwrap().join("r"));
}
