//! Connections that do nothing: what they cost in memory, and that they stay.

use anyhow::Result;

use super::hall::Hall;
use super::measure;
use crate::load::clock;
use crate::plan::{Outcome, Plan};

/// Time for the server to come to rest.
const REST_NS: u64 = 3_000_000_000;

/// Opens everything, waits, and holds it; pings are answered, and a connection that ends is an error.
pub fn carry_out(hall: &mut Hall<'_>, plan: &Plan) -> Result<Outcome> {
    hall.open_rooms(|_| false)?;
    hall.run_until(clock::now_ns() + REST_NS.max((plan.warm_up_s * 1e9) as u64))?;
    measure(hall, plan)?;
    let connections = hall.peers.len() as u64;
    Ok(Outcome { connections, ..hall.desk.tally.finish(&[]) })
}
