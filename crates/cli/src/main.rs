//! The sinew binary.
fn main() {}
