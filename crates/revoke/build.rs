//! Compiles the guard of the kernel yank: `crates/compile_bpf.rs`.

#[path = "../compile_bpf.rs"]
mod compile_bpf;

fn main() {
    compile_bpf::compile("guard");
}
