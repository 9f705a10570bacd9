//! The `process_*` numbers, from `/proc/self`. Read on the internal listener's thread.

/// What the system knows about this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time of all threads, in seconds.
    pub cpu_s: f64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many may be open.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// Unix seconds at which the process began.
    pub start_unix_s: f64,
}

impl ProcessStats {
    /// Reads the numbers as they are now; what cannot be read is zero.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let boot_unix_s = boot_time(&text("/proc/stat")).unwrap_or(0);
        let units =
            Units { ticks_per_s: sysconf(libc::_SC_CLK_TCK), page_bytes: sysconf(libc::_SC_PAGESIZE) };
        let stats = parse(&text("/proc/self/stat"), boot_unix_s, units).unwrap_or_default();
        let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Self { open_fds, max_fds: max_fds(&text("/proc/self/limits")).unwrap_or(0), ..stats }
    }

    pub(super) fn each(&self) -> [(&'static str, &'static str, &'static str, f64); 7] {
        [
            ("process_cpu_seconds_total", "counter", "User and system CPU time.", self.cpu_s),
            ("process_resident_memory_bytes", "gauge", "Resident memory.", self.resident_bytes as f64),
            ("process_virtual_memory_bytes", "gauge", "Virtual memory.", self.virtual_bytes as f64),
            ("process_open_fds", "gauge", "Open file descriptors.", self.open_fds as f64),
            ("process_max_fds", "gauge", "Limit of open file descriptors.", self.max_fds as f64),
            ("process_threads", "gauge", "Threads.", self.threads as f64),
            ("process_start_time_seconds", "gauge", "Start of the process, Unix time.", self.start_unix_s),
        ]
    }
}

#[derive(Clone, Copy)]
struct Units {
    ticks_per_s: u64,
    page_bytes: u64,
}

fn sysconf(name: libc::c_int) -> u64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(0).max(1)
}

/// Fields of `/proc/PID/stat` (proc(5)), counted after the command, which may hold anything.
fn parse(stat: &str, boot_unix_s: u64, units: Units) -> Option<ProcessStats> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / units.ticks_per_s as f64;
    Some(ProcessStats {
        cpu_s: seconds(field(14)? + field(15)?),
        resident_bytes: field(24)? * units.page_bytes,
        virtual_bytes: field(23)?,
        threads: field(20)?,
        start_unix_s: boot_unix_s as f64 + seconds(field(22)?),
        ..ProcessStats::default()
    })
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_a_hostile_command() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 9 0 0 0 150 50 0 0 20 0 3 0 1000 8192 5 1 0";
        let units = Units { ticks_per_s: 100, page_bytes: 4_096 };
        let stats = parse(stat, 1_000_000, units).unwrap();
        assert_eq!((stats.cpu_s, stats.resident_bytes), (2.0, 20_480));
        assert_eq!((stats.threads, stats.virtual_bytes), (3, 8_192));
        assert_eq!(stats.start_unix_s, 1_000_010.0);
        assert_eq!(parse("7 (x) S 1", 0, units), None);
    }

    #[test]
    fn this_process_has_numbers() {
        let stats = ProcessStats::read();
        assert!(stats.resident_bytes > 0 && stats.open_fds > 0 && stats.max_fds >= stats.open_fds);
        assert!(stats.start_unix_s > 1.6e9 && stats.threads > 0);
    }
}
