//! What each level of each coding costs and brings for a file: `cargo run --release -p modnet-transform --example levels FILE`.
//!
//! One line a level: nanoseconds a byte, and bytes out a byte in. The tables of `modnet/modules/_levels.py` are from it.

use std::time::Instant;

use modnet_transform::encode::{make, HIGHEST, NAMES};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in std::env::args().skip(1) {
        let input = std::fs::read(&file)?;
        println!("{file}: {} bytes", input.len());
        for name in NAMES {
            for level in 0..=HIGHEST {
                let mut best = f64::INFINITY;
                let mut out = Vec::new();
                for _ in 0..5 {
                    out.clear();
                    let begun = Instant::now();
                    if let Some(stream) = make(name, level) {
                        let mut stream = stream?;
                        for piece in input.chunks(64 * 1024) {
                            stream.write(piece, &mut out)?;
                        }
                        stream.finish(&mut out)?;
                    }
                    best = best.min(begun.elapsed().as_secs_f64());
                }
                #[allow(clippy::cast_precision_loss)] // sizes of files
                let (length, made) = (input.len() as f64, out.len() as f64);
                println!("{name} {level}: {:6.2} ns/B {:.4}", best / length * 1e9, made / length);
            }
        }
    }
    Ok(())
}
