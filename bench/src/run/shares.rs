//! How a load is spread over load generators: one process as a rule, several where one may not open so many connections
//! or is too slow for a server of several shards.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::pin::Pin;
use super::row;
use crate::load::READY;
use crate::plan::{Carrier, Outcome, Pace, Plan, Room};

/// Load generators on one server at most: each has source addresses of its own.
const PROCESSES_MAX: usize = 16;

/// Descriptors of a load generator that are no connections.
const SPARE: u64 = 256;

/// Connections that one load generator may open here.
pub fn connections_max() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct it is given.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let most = if got == 0 { limit.rlim_max.saturating_sub(SPARE) } else { u64::MAX };
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Carries a plan out with so many processes that publish, and at most so many connections from each process. With
/// several of them all connections stand before the first publishes and until the last has measured.
pub fn load(plan: &Plan, generators: usize, connections_max: usize) -> Result<Outcome> {
    let shares = if generators > 1 { by_rooms(plan, generators)? } else { split(plan, connections_max)? };
    let mut running = shares.iter().map(Generator::start).collect::<Result<Vec<_>>>()?;
    if generators > 1 {
        running.iter_mut().try_for_each(Generator::ready)?;
        running.iter_mut().try_for_each(Generator::begin)?;
    }
    let outcomes = running.iter_mut().map(Generator::outcome).collect::<Result<Vec<_>>>()?;
    for generator in running {
        generator.end()?;
    }
    let mut outcomes = outcomes.into_iter();
    let first = outcomes.next().expect("at least one share");
    outcomes.try_fold(first, together)
}

/// Whole conversations for each process, since only one process can tell that a publication reached everybody.
fn by_rooms(plan: &Plan, generators: usize) -> Result<Vec<Plan>> {
    ensure!(generators <= PROCESSES_MAX, "{generators} load generators are too many");
    ensure!(plan.rooms.len() >= generators, "{generators} load generators need a conversation each");
    let rooms = plan.rooms.chunks(plan.rooms.len().div_ceil(generators));
    let share = |(rooms, process): (&[Room], u8)| Plan {
        rooms: rooms.to_vec(),
        process,
        together: true,
        pace: match plan.pace {
            Pace::Open { per_second } => {
                Pace::Open { per_second: per_second * rooms.len() as f64 / plan.rooms.len() as f64 }
            }
            other => other,
        },
        ..plan.clone()
    };
    Ok(rooms.zip(0..).map(share).collect())
}

/// The plan of each process, none with more than `most` connections.
fn split(plan: &Plan, most: usize) -> Result<Vec<Plan>> {
    let seats = |room: &Room| room.subscribers.len() + room.publishers.len();
    let connections: usize = plan.rooms.iter().map(seats).sum();
    // A storm has few connections at once, and QUIC many on each socket.
    if connections <= most || plan.carrier == Carrier::Quic || matches!(plan.pace, Pace::Storm { .. }) {
        return Ok(vec![plan.clone()]);
    }
    ensure!(
        plan.pace == Pace::Idle,
        "{connections} connections that publish or receive belong to one load generator, which may open {most} here; \
         raise the limit: ulimit -n {}",
        connections as u64 + SPARE
    );
    let processes = connections.div_ceil(most);
    ensure!(processes <= PROCESSES_MAX, "{connections} connections need {processes} load generators");
    let share = connections.div_ceil(processes);
    let everybody = plan.rooms.iter().flat_map(|room| {
        room.subscribers.iter().map(move |token| (room.conversation.clone(), token.clone()))
    });
    let everybody: Vec<_> = everybody.collect();
    let rooms = everybody.chunks(share).map(rooms_of);
    Ok(rooms.zip(0..).map(|(rooms, process)| Plan { rooms, process, ..plan.clone() }).collect())
}

/// Seats next to each other in one conversation share a room again.
fn rooms_of(seats: &[(String, String)]) -> Vec<Room> {
    let of_one = |seats: &[(String, String)]| Room {
        conversation: seats[0].0.clone(),
        subscribers: seats.iter().map(|(_, token)| token.clone()).collect(),
        publishers: Vec::new(),
    };
    seats.chunk_by(|a, b| a.0 == b.0).map(of_one).collect()
}

/// What several processes saw of one server. Each looked at the whole server, the last ones at all connections.
fn together(a: Outcome, b: Outcome) -> Result<Outcome> {
    Ok(Outcome {
        connections: a.connections + b.connections,
        published: a.published + b.published,
        delivered: a.delivered + b.delivered,
        lost: a.lost + b.lost,
        doubled: a.doubled + b.doubled,
        acked: a.acked + b.acked,
        delivery_ns: row::joined(&a.delivery_ns, &b.delivery_ns)?,
        ack_ns: row::joined(&a.ack_ns, &b.ack_ns)?,
        stopped: a.stopped + b.stopped,
        cut: a.cut + b.cut,
        severed: a.severed + b.severed,
        recovered: a.recovered + b.recovered,
        seconds: a.seconds.max(b.seconds),
        server_cpu_s: a.server_cpu_s.max(b.server_cpu_s),
        client_cpu_s: a.client_cpu_s + b.client_cpu_s,
        rss_before_kib: a.rss_before_kib.min(b.rss_before_kib),
        rss_after_kib: a.rss_after_kib.max(b.rss_after_kib),
        rss_peak_kib: a.rss_peak_kib.max(b.rss_peak_kib),
    })
}

/// A running load generator; killed when dropped.
struct Generator {
    child: Child,
    /// Its connections stand until this is closed.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Generator {
    fn start(plan: &Plan) -> Result<Self> {
        let mut command = Pin::client(plan.kind, if plan.together { plan.process } else { 0 })
            .command(&std::env::current_exe()?);
        command.arg("load").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("the load generator could not be started")?;
        let mut input = child.stdin.take().context("its standard input")?;
        let output = BufReader::new(child.stdout.take().context("its standard output")?);
        // One that ended already says why when it is asked.
        let _ = input.write_all(&serde_json::to_vec(plan)?);
        Ok(Self { child, input: Some(input), output })
    }

    /// Waits until all its connections stand.
    fn ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.trim() == READY { Ok(()) } else { self.fail() }
    }

    /// Lets it publish.
    fn begin(&mut self) -> Result<()> {
        Ok(self.input.as_mut().context("its standard input")?.write_all(b"\n")?)
    }

    fn outcome(&mut self) -> Result<Outcome> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            self.fail()?;
        }
        serde_json::from_str(&line).context("the load generator's outcome")
    }

    fn end(mut self) -> Result<()> {
        self.input = None;
        if self.child.wait()?.success() { Ok(()) } else { self.fail() }
    }

    fn fail(&mut self) -> Result<()> {
        self.input = None;
        self.child.wait()?;
        let mut said = String::new();
        self.child.stderr.take().context("its standard error")?.read_to_string(&mut said)?;
        bail!("the load generator failed: {}", said.trim())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It has ended already, unless another one failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Dialect, Kind};

    fn plan(rooms: &[usize], carrier: Carrier, pace: Pace) -> Plan {
        let tokens = |room: usize, n: usize| (0..n).map(|i| format!("{room}.{i}")).collect();
        let room = |(number, subscribers): (usize, &usize)| Room {
            conversation: number.to_string(),
            subscribers: tokens(number, *subscribers),
            publishers: Vec::new(),
        };
        Plan {
            carrier,
            dialect: Dialect::Relay,
            kind: Kind::Ephemeral,
            pace,
            address: ([127, 0, 0, 1], 1).into(),
            ca: "ca.pem".into(),
            server_pid: 1,
            rooms: rooms.iter().enumerate().map(room).collect(),
            payload: 128,
            warm_up_s: 1.0,
            measure_s: 1.0,
            stopped: 0.0,
            process: 0,
            together: false,
            allow_remote: false,
        }
    }

    fn seats(plan: &Plan) -> Vec<(&str, usize)> {
        plan.rooms.iter().map(|room| (room.conversation.as_str(), room.subscribers.len())).collect()
    }

    #[test]
    fn nobody_is_left_out_and_nobody_comes_twice() {
        let whole = plan(&[5, 3], Carrier::Websocket, Pace::Idle);
        let shares = split(&whole, 3).unwrap();
        assert_eq!(
            shares.iter().map(seats).collect::<Vec<_>>(),
            [vec![("0", 3)], vec![("0", 2), ("1", 1)], vec![("1", 2)]]
        );
        assert_eq!(shares.iter().map(|plan| plan.process).collect::<Vec<_>>(), [0, 1, 2]);
        let mut tokens: Vec<_> =
            shares.iter().flat_map(|p| p.rooms.iter().flat_map(|r| r.subscribers.clone())).collect();
        tokens.sort();
        assert_eq!(tokens, ["0.0", "0.1", "0.2", "0.3", "0.4", "1.0", "1.1", "1.2"]);
    }

    #[test]
    fn conversations_stay_whole_when_several_publish() {
        let whole = plan(&[5, 3, 2], Carrier::Websocket, Pace::Open { per_second: 6.0 });
        let shares = by_rooms(&whole, 2).unwrap();
        assert_eq!(shares.iter().map(seats).collect::<Vec<_>>(), [vec![("0", 5), ("1", 3)], vec![("2", 2)]]);
        assert!(shares.iter().all(|share| share.together));
        let paces: Vec<_> = shares.iter().map(|share| share.pace).collect();
        assert_eq!(paces, [Pace::Open { per_second: 4.0 }, Pace::Open { per_second: 2.0 }]);
        assert!(by_rooms(&whole, 4).is_err());
    }

    #[test]
    fn what_several_saw_is_added_up() {
        let saw = |delivered, lost| Outcome { delivered, lost, seconds: 1.0, ..Outcome::default() };
        let both = together(saw(3, 0), saw(4, 1)).unwrap();
        assert_eq!((both.delivered, both.lost, both.seconds), (7, 1, 1.0));
    }

    #[test]
    fn what_fits_stays_whole() {
        for (most, carrier, pace) in [
            (8, Carrier::Websocket, Pace::Idle),
            (3, Carrier::Quic, Pace::Idle),
            (3, Carrier::Websocket, Pace::Storm { at_once: 2 }),
        ] {
            assert_eq!(split(&plan(&[5, 3], carrier, pace), most).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_load_that_cannot_be_shared_is_refused_with_what_to_do() {
        let pace = Pace::Open { per_second: 1.0 };
        let refused = split(&plan(&[5, 3], Carrier::Websocket, pace), 3).unwrap_err().to_string();
        assert!(refused.contains("ulimit -n 264"), "{refused}");
        assert!(split(&plan(&[100], Carrier::Websocket, Pace::Idle), 3).is_err(), "too many processes");
    }
}
