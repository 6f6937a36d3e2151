//! Builds the crate anew when a shipped workflow, prompt or skill is added: the compiler itself only follows files it knows.

fn main() {
    println!("cargo::rerun-if-changed=../workflows");
}
