//! Journals: whose they are, who may use them, and what is left of them.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::super::rescue::tests::place as new_place;
use super::*;

/// Another process with a journal below a folder, at phase Frozen of socket 7.
struct Keeper {
    process: Child,
    /// How many dead ones it has found there before.
    found: usize,
    _out: Lines<BufReader<ChildStdout>>,
}

impl Keeper {
    fn of(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernel::journal::tests::keeper", "--include-ignored", "--nocapture"])
            .env("MODNET_TEST_KEEPER", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap()).lines();
        let found =
            out.find_map(|line| line.unwrap().strip_prefix("found ").map(|count| count.parse().unwrap()));
        Self { process, found: found.unwrap(), _out: out }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
#[ignore = "started by the others"]
fn keeper() {
    let Some(dir) = std::env::var_os("MODNET_TEST_KEEPER").map(PathBuf::from) else { return };
    let found = Dead::all(&dir).len();
    let journal = Journal::new(Some(&dir)).unwrap();
    journal.begins(7, 8);
    println!("\nfound {found}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_folder_ends_with_its_journal() {
    let dir = new_place("folder");
    let journal = Journal::new(Some(&dir)).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert!(Dead::all(&dir).is_empty(), "its own a process leaves alone");
    drop(journal);
    fs::remove_dir(dir).unwrap();
}

#[test]
fn a_living_process_s_journal_is_its_own_and_a_killed_one_s_is_found() {
    let dir = new_place("keeper");
    let keeper = Keeper::of(&dir);
    assert!(Dead::all(&dir).is_empty() && !waits(&dir));
    keeper.kill();
    assert!(waits(&dir));
    let [dead] = Dead::all(&dir).try_into().ok().unwrap();
    assert_eq!((dead.phase(), dead.cookie(), dead.ino(), dead.taken()), (Phase::Frozen, 7, 8, 0));
    let second = Keeper::of(&dir);
    assert_eq!(second.found, 0, "one rescuer at a time");
    second.kill();
    drop(dead);
    let third = Keeper::of(&dir);
    assert_eq!(third.found, 2);
    third.kill();
    Dead::all(&dir).into_iter().for_each(Dead::remove);
    fs::remove_dir(dir).unwrap();
}

#[test]
fn without_a_folder_nothing_is_written() {
    let mut journal = Journal::new(None).unwrap();
    journal.begins(1, 2);
    journal.phase(Phase::Keeping);
    assert!(journal.path("output").is_none() && journal.page.take().is_none());
}

#[test]
fn a_folder_that_others_can_enter_is_none() {
    use std::os::unix::fs::PermissionsExt;
    let dir = new_place("open");
    assert!(is_memory(&dir).unwrap() && !is_memory(Path::new("/proc")).unwrap());
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(trusted(&dir).unwrap_err().contains("this user's alone"));
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    trusted(&dir).unwrap();
    fs::remove_dir(dir).unwrap();
}
