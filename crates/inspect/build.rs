//! Compiles the inspection programs: `crates/compile_bpf.rs`.

#[path = "../compile_bpf.rs"]
mod compile_bpf;

fn main() {
    compile_bpf::compile("sockstate");
}
