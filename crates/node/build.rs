//! Has the binary built again when the pages of the dashboard were.

fn main() {
    println!("cargo:rerun-if-changed=../../web/dist");
}
