//! How long every page of a full product takes, and what it costs: a table for `tests/RESULTS.md`.

use std::time::Duration;

use super::{Full, Page, agent};

/// How often each address is asked for, after some times that do not count.
const TIMES: usize = 100;
const WARM_UP: usize = 10;
/// Most time for one address: what takes seconds is asked for less often.
const LONGEST: Duration = Duration::from_secs(20);

/// What a page may take: 99 of 100 times, and of the processor.
const P99_MAX: Duration = Duration::from_millis(100);
const CPU_MAX: Duration = Duration::from_millis(5);
/// No pages: files as large as what they hold, and a walk along the whole trail.
const NO_PAGES: [&str; 5] =
    ["/statistics.csv", "/audit.csv", "/audit/verify", "/metrics.csv", "/metrics.hlog"];

/// What one address takes.
struct Measured {
    page: Page,
    status: u16,
    /// Nothing was ready for it.
    first: Duration,
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
    let (mut status, first) = full.ask(agent, &page);
    for _ in 1..WARM_UP {
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
    Measured { page, status, first, times, cpu }
}

impl Measured {
    /// The longest of so many of a hundred.
    fn at(&self, part: usize) -> Duration {
        self.times[(self.times.len() - 1) * part / 100]
    }

    /// What is missed, in words.
    fn missed(&self) -> Option<String> {
        let (p99, cpu) = (self.at(99), self.cpu);
        let is_page = !NO_PAGES.contains(&self.page.route);
        (is_page && (p99 >= P99_MAX || cpu >= CPU_MAX))
            .then(|| format!("{}: p99 {} ms, CPU {} ms", self.page.address, ms(p99), ms(cpu)))
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn print(measured: &[Measured]) {
    println!(
        "| page | times | first ms | p50 ms | p99 ms | max ms | CPU ms |\n|---|---|---|---|---|---|---|"
    );
    for one in measured {
        println!(
            "| `{}` {} | {} | {} | {} | {} | {} | {} |",
            one.page.address,
            if one.status == 200 { String::new() } else { one.status.to_string() },
            one.times.len(),
            ms(one.first),
            ms(one.at(50)),
            ms(one.at(99)),
            ms(one.at(100)),
            ms(one.cpu)
        );
    }
}

/// Asks for every page many times, prints the table, and holds it against the goals. For a program built for release:
/// others are slower.
pub fn look(full: &Full) {
    let (size, agent) = (full.server.sql("SELECT pg_size_pretty(pg_database_size('postgres'))"), agent());
    println!("{:?}, {size} in the database", full.shape);
    let measured: Vec<Measured> = full.pages().into_iter().map(|page| measure(full, &agent, page)).collect();
    print(&measured);
    let missed: Vec<String> = measured.iter().filter_map(Measured::missed).collect();
    assert!(missed.is_empty(), "over the goals: {missed:#?}");
}

#[test]
fn the_goals_are_held_against_pages() {
    let measured = |route, p99, cpu| Measured {
        page: Page { route, address: route.to_owned() },
        status: 200,
        first: Duration::ZERO,
        times: vec![Duration::from_millis(p99); 100],
        cpu: Duration::from_millis(cpu),
    };
    assert_eq!(measured("/users", 99, 4).missed(), None);
    assert!(measured("/users", 100, 4).missed().is_some(), "too slow");
    assert!(measured("/users", 9, 5).missed().is_some(), "too dear");
    assert_eq!(measured("/audit.csv", 900, 50).missed(), None, "no page");
}
