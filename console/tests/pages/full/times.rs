//! How long every page of a full product takes, and what it costs: a table for `tests/RESULTS.md`.

use std::time::Duration;

use super::{Full, Page, agent};

/// How often each address is asked for, after some times that do not count.
const TIMES: usize = 100;
const WARM_UP: usize = 10;
/// Most time for one address: what takes seconds is asked for less often.
const LONGEST: Duration = Duration::from_secs(20);

/// What one address takes.
struct Measured {
    page: Page,
    status: u16,
    times: Vec<Duration>,
    /// The program's own, for one request.
    cpu: Duration,
}

/// User and system time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // A hundred ticks are a second on every Linux.
    Duration::from_millis(ticks * 10)
}

fn measure(full: &Full, agent: &ureq::Agent, page: Page) -> Measured {
    let began = std::time::Instant::now();
    let mut status = 0;
    for _ in 0..WARM_UP {
        status = full.ask(agent, &page).0;
        if began.elapsed() > LONGEST / 4 {
            break;
        }
    }
    let (before, mut times) = (cpu(full.pid()), Vec::new());
    let began = std::time::Instant::now();
    while times.len() < TIMES && began.elapsed() < LONGEST {
        times.push(full.ask(agent, &page).1);
    }
    let cpu = (cpu(full.pid()) - before) / times.len() as u32;
    times.sort();
    Measured { page, status, times, cpu }
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn print(measured: &[Measured]) {
    println!("| page | times | p50 ms | p99 ms | max ms | CPU ms |\n|---|---|---|---|---|---|");
    for one in measured {
        let at = |part: usize| one.times[(one.times.len() - 1) * part / 100];
        println!(
            "| `{}` {} | {} | {} | {} | {} | {} |",
            one.page.address,
            if one.status == 200 { String::new() } else { one.status.to_string() },
            one.times.len(),
            ms(at(50)),
            ms(at(99)),
            ms(at(100)),
            ms(one.cpu)
        );
    }
}

/// Asks for every page many times, and prints the table.
pub fn look(full: &Full) {
    let (size, agent) = (full.server.sql("SELECT pg_size_pretty(pg_database_size('postgres'))"), agent());
    println!("{:?}, {size} in the database", full.shape);
    let measured: Vec<Measured> = full.pages().into_iter().map(|page| measure(full, &agent, page)).collect();
    print(&measured);
}
