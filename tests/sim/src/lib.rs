//! Whole nodes, their clients, the bus and the store on one thread, from one seed, judged by a reference model.
//! What a seed decides is in `plan`, what happens in `world`, what must hold in `model`.

pub mod client;
pub mod clock;
pub mod id;
pub mod model;
pub mod plan;
pub mod prng;
pub mod queue;
pub mod run;
pub mod store;
pub mod trace;
pub mod world;
