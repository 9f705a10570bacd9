//! What a command costs: its time, the processor time of it and all its children, the largest memory of a process of its
//! program, what a server spent on it, and what others did on the machine meanwhile.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// Between two looks at memory; the mark that is read only rises.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Between two looks at whether a server is ready.
const READY_EVERY: Duration = Duration::from_millis(5);
/// Longest wait for a server.
const PATIENCE: Duration = Duration::from_secs(600);

/// One run of a command.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Cost {
    pub wall_s: f64,
    /// Of the command and all its children.
    pub cpu_s: f64,
    /// Of the server meanwhile.
    pub server_cpu_s: f64,
    /// Of the largest process of the program.
    pub memory_mib: f64,
}

impl Cost {
    /// Everything that was spent.
    pub fn all_cpu_s(&self) -> f64 {
        self.cpu_s + self.server_cpu_s
    }

    /// Both, one after the other.
    pub fn and(self, next: Self) -> Self {
        Self {
            wall_s: self.wall_s + next.wall_s,
            cpu_s: self.cpu_s + next.cpu_s,
            server_cpu_s: self.server_cpu_s + next.server_cpu_s,
            memory_mib: self.memory_mib.max(next.memory_mib),
        }
    }
}

/// Runs a command to its end; what it says goes to `said`. `name` is its program's, `server` the id of the server's first
/// process.
pub fn of(command: &mut Command, name: &str, said: &Path, server: Option<u32>) -> Result<Cost> {
    let before = server.map_or(0.0, tree_cpu_s);
    let began = Instant::now();
    let child = spawn(command, said)?;
    let is_over = AtomicBool::new(false);
    let ((status, cpu_s, wall_s), memory_mib) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| memory_mib(child.id(), name, &is_over));
        let ended = wait(&child).map(|(status, cpu_s)| (status, cpu_s, began.elapsed().as_secs_f64()));
        is_over.store(true, Relaxed);
        Ok::<_, anyhow::Error>((ended?, watching.join().unwrap_or(0.0)))
    })?;
    let server_cpu_s = server.map_or(0.0, tree_cpu_s) - before;
    if !status.success() {
        bail!("{name} {status}: {}", std::fs::read_to_string(said).unwrap_or_default());
    }
    Ok(Cost { wall_s, cpu_s, server_cpu_s, memory_mib })
}

/// Starts a server and waits until it is ready, which is its time; then ends it, since its children are counted then.
pub fn until(command: &mut Command, said: &Path, ready: impl Fn() -> bool) -> Result<Cost> {
    let began = Instant::now();
    let mut child = spawn(command, said)?;
    while !ready() {
        if began.elapsed() > PATIENCE || child.try_wait()?.is_some() {
            bail!("the restored server: {}", std::fs::read_to_string(said).unwrap_or_default());
        }
        std::thread::sleep(READY_EVERY);
    }
    let wall_s = began.elapsed().as_secs_f64();
    // SAFETY: two numbers; the child is ours and not waited for yet.
    unsafe { libc::kill(i32::try_from(child.id())?, libc::SIGINT) };
    let (status, cpu_s) = wait(&child)?;
    ensure!(status.success(), "the restored server did not end well: {status}");
    Ok(Cost { wall_s, cpu_s, ..Cost::default() })
}

fn spawn(command: &mut Command, said: &Path) -> Result<Child> {
    let out = File::create(said)?;
    Ok(command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?)
}

/// Waits for its end; gives the processor time of it and of all its children that were waited for.
fn wait(child: &Child) -> Result<(ExitStatus, f64)> {
    let mut status = 0;
    // SAFETY: all zeros is a value of the type, which is filled in by the call below.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let id = i32::try_from(child.id())?;
    // SAFETY: the child is ours and not waited for yet; both pointers are to values of this frame.
    let waited = unsafe { libc::wait4(id, &mut status, 0, &mut used) };
    ensure!(waited == id, "wait4: {}", std::io::Error::last_os_error());
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((ExitStatus::from_raw(status), seconds(used.ru_utime) + seconds(used.ru_stime)))
}

/// The largest memory that a process of that name had at or below `root`.
fn memory_mib(root: u32, name: &str, is_over: &AtomicBool) -> f64 {
    let mut most = 0.0_f64;
    while !is_over.load(Relaxed) {
        for id in family(root) {
            most = most.max(high_water_mib(id, name).unwrap_or(0.0));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    most
}

/// A process and everything below it.
fn family(root: u32) -> Vec<u32> {
    let (mut found, mut next) = (vec![root], 0);
    while next < found.len() {
        let threads = std::fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

fn high_water_mib(id: u32, name: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
    if field("Name:")? != name {
        return None;
    }
    let kib: f64 = field("VmHWM:")?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// Processor time of a server: of its first process, of its children that ended, and of those that live.
fn tree_cpu_s(root: u32) -> f64 {
    let own = stat(root).map_or(0, |stat| stat[11..=14].iter().sum::<u64>());
    let below = family(root).into_iter().skip(1).filter_map(stat);
    let ticks = own + below.map(|stat| stat[11] + stat[12]).sum::<u64>();
    // SAFETY: the call has no preconditions.
    ticks as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}

/// Fields of a process from its state on; what is no number counts as 0.
fn stat(id: u32) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields = text.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0));
    let fields: Vec<u64> = fields.collect();
    (fields.len() > 14).then_some(fields)
}

/// How busy the machine was over all turns, the comparison included.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Load {
    #[serde(skip)]
    ticks: (u64, u64, u64),
    /// Processes that wanted a core, over the last minute.
    pub before: f64,
    pub after: f64,
    /// Share of the cores in use.
    pub busy: f64,
    /// Share that the host gave to others.
    pub stolen: f64,
}

impl Load {
    pub fn begin() -> Self {
        Self { ticks: ticks(), before: wanting(), after: 0.0, busy: 0.0, stolen: 0.0 }
    }

    pub fn end(self) -> Self {
        let now = ticks();
        let all = (now.0 - self.ticks.0).max(1) as f64;
        let busy = (now.1 - self.ticks.1) as f64 / all;
        Self { after: wanting(), busy, stolen: (now.2 - self.ticks.2) as f64 / all, ..self }
    }
}

fn wanting() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Of all cores since the start: all, in use, stolen.
fn ticks() -> (u64, u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let at = |field: usize| ticks.get(field).copied().unwrap_or(0);
    let all = (0..8).map(at).sum();
    // Without what was idle, waited for a disk, or was stolen.
    (all, all - at(3) - at(4) - at(7), at(7))
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_costs_what_it_and_its_children_take() {
        let said = tempfile::NamedTempFile::new().unwrap();
        let shell = |text: &str| of(Command::new("sh").args(["-c", text]), "sh", said.path(), None);
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let own = shell(spin).unwrap();
        assert!(own.cpu_s > 0.01 && own.wall_s > 0.01 && own.memory_mib > 0.1, "{own:?}");
        let of_child = shell(&format!("sh -c '{spin}'; true")).unwrap();
        assert!(of_child.cpu_s > own.cpu_s / 4.0, "{of_child:?} like {own:?}");
        let failed = shell("echo why; exit 3").unwrap_err().to_string();
        assert!(failed.contains("why") && failed.contains('3'), "{failed}");
    }

    #[test]
    fn a_server_is_counted_with_its_children() {
        let before = tree_cpu_s(std::process::id());
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(family(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree_cpu_s(std::process::id()) > before);
    }

    #[test]
    fn the_middle_one_counts() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
