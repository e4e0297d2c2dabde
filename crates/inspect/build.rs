//! Compiles `bpf/sockstate.bpf.c` with clang, for whoever asks for the feature `loader`.
//!
//! Rust cannot: it emits no CO-RE relocations, by which one object fits every kernel.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    if env::var_os("CARGO_FEATURE_LOADER").is_none() {
        return;
    }
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("sockstate.bpf.o");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "x86",
        _ => "other",
    };
    let done = Command::new(&clang)
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"])
        .arg(format!("-D__TARGET_ARCH_{arch}"))
        .args(["-c", "bpf/sockstate.bpf.c", "-o"])
        .arg(&out)
        .status();
    match done {
        Ok(status) if status.success() => {}
        Ok(status) => println!("cargo::error={clang} could not compile bpf/sockstate.bpf.c ({status})"),
        Err(error) => println!(
            "cargo::error=modnet: {clang} is needed to compile the inspection programs ({error}); install clang or set CLANG"
        ),
    }
}
