//! The account API in a process of its own.

fn main() {}
