//! What the compiler cannot guard: who may import whom, one word per step, sizes, names, what logs may say.

mod imports;
mod migrations;
mod names;
mod privacy;
mod sizes;
mod source;
mod tree;
