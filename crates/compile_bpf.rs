//! For build scripts of crates that have programs for the kernel: compiles one with clang, for whoever asks for the feature
//! `loader`.
//!
//! Rust cannot: it emits no CO-RE relocations, by which one object fits every kernel.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Compiles `bpf/NAME.bpf.c` of the crate to `NAME.bpf.o`; where that is, if it was asked for and could be made.
pub fn compile(name: &str) -> Option<PathBuf> {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=../bpf.h");
    println!("cargo::rerun-if-env-changed=CLANG");
    env::var_os("CARGO_FEATURE_LOADER")?;
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let source = format!("bpf/{name}.bpf.c");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(format!("{name}.bpf.o"));
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "x86",
        _ => "other",
    };
    let done = Command::new(&clang)
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"])
        .arg(format!("-D__TARGET_ARCH_{arch}"))
        .args(["-I", ".."])
        .args(["-c", &source, "-o"])
        .arg(&out)
        .status();
    match done {
        Ok(status) if status.success() => return Some(out),
        Ok(status) => println!("cargo::error={clang} could not compile {source} ({status})"),
        Err(error) => println!(
            "cargo::error=modnet: {clang} is needed to compile {source} ({error}); install clang or set CLANG"
        ),
    }
    None
}
