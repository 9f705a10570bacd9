//! Moderators decide through the pages of the real program while it, and the processes of the server that it works with
//! if there is one, are killed at random moments. Afterwards every action has its entry in the audit trail and every entry its action.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::access::csrf;
use schema_store::audit_chain::Verified;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess, NewToken};
use schema_wire::UserId;
use servers::Port;

use crate::ground::Ground;
use crate::support::{fresh_folder, shared_key};

/// Who decides, each on a connection of their own.
const MODERATORS: u64 = 4;
/// About whom.
const SUBJECTS: u64 = 60;
/// Kills that every run of the tests goes through, and those of a long run.
const ROUNDS: u64 = 16;
const ROUNDS_LONG: u64 = 300;
/// How long a start, or what is waited for at the end, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers without order, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The program with a folder of its own and nothing else from this environment.
pub fn program(url: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_console"));
    command.env_clear().env("API_ADDRESS", "127.0.0.1:0").env("DATA_DIR", data);
    command.env("JWT_PRIVATE_KEY_FILE", shared_key()).env("DATABASE_URL", url);
    command
}

/// The store, the program, and who uses it.
struct Scene {
    ground: Ground,
    pages: Port,
    data: PathBuf,
    cookies: Vec<String>,
    subjects: Vec<UserId>,
}

/// What the moderators saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    failed: AtomicU64,
    decided: std::sync::Mutex<Vec<String>>,
}

impl Scene {
    async fn set() -> Self {
        let ground = Ground::lay().await;
        let store = ground.store().await;
        let (mut cookies, mut subjects) = (Vec::new(), Vec::new());
        for n in 0..MODERATORS {
            let email = format!("moderator{n}@staff.example");
            let made = store.create_admin(email, "m".into(), "none".into(), AccountRole::Moderator).await;
            let (secret, token) = NewToken::generate(u64::MAX >> 12);
            let user = made.unwrap();
            let new =
                NewConsoleSession { token, user, stage: Stage::Full, replaces: None, lock_subject: None };
            store.open_console_session(new, Origin::system()).await.unwrap();
            cookies.push(secret);
        }
        for n in 0..SUBJECTS {
            let new = Registration {
                email: format!("subject{n}@home.example"),
                name: format!("subject {n}"),
                password_hash: "none".into(),
                invite: None,
                activation: Activation::Immediate,
            };
            subjects.push(store.register(new, Origin::system()).await.unwrap());
        }
        Self { ground, pages: Port::free(), data: fresh_folder(), cookies, subjects }
    }

    /// The program, once it answers. While the server is away it ends, and is started again.
    fn start(&self) -> Child {
        let began = Instant::now();
        loop {
            let mut command = program(&self.ground.url(), &self.data);
            command.env("CONSOLE_ADDRESS", self.pages.address().to_string()).env("RATE_LIMIT_MAX", "1000000");
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(self.pages.address()).is_ok() {
                    return child;
                }
                assert!(began.elapsed() < PATIENCE, "the program does not start");
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(began.elapsed() < PATIENCE, "the program ends again and again");
        }
    }

    /// One moderator, until told to stop: decides, and takes back some of it.
    fn moderate(&self, cookie: &str, mut dice: Dice, seen: &Seen) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .into();
        let origin = format!("http://{}", self.pages.address());
        let csrf = csrf::token(cookie);
        let send = |path: &str, fields: &str| {
            let request = agent.post(format!("{origin}{path}")).header("cookie", format!("session={cookie}"));
            let request = request.header("origin", &origin).header("sec-fetch-site", "same-origin");
            let request = request.content_type("application/x-www-form-urlencoded");
            let answer = request.send(format!("csrf={csrf}&{fields}")).ok()?;
            let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).map(str::to_owned);
            (answer.status() == 303).then_some(to).flatten()
        };
        for n in 0.. {
            if seen.stop.load(Ordering::Relaxed) {
                return;
            }
            let subject = self.subjects[dice.below(SUBJECTS) as usize];
            let measure = ["WARN", "SUSPEND", "SUSPEND", "DISMISS"][dice.below(4) as usize];
            let reason = format!("{}-{n}", &cookie[..12]);
            let fields = format!("measure={measure}&days=7&reason={reason}&notify=yes&also-warn=yes");
            match send(&format!("/moderation/{subject}/decide"), &fields) {
                None => {
                    seen.failed.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Some(to) => {
                    // Otherwise somebody else had decided already.
                    let Some((_, decision)) = to.split_once("?undo=") else { continue };
                    seen.decided.lock().unwrap().push(decision.to_owned());
                    if dice.below(3) == 0 {
                        send(&format!("/moderation/decisions/{decision}/undo"), "");
                    }
                }
            }
        }
    }

    /// Kills the program, or one of the server's processes, after which the server begins anew.
    fn kill(&self, child: &mut Child, dice: &mut Dice) {
        if dice.below(2) == 0 && self.ground.kill_a_process() {
            return;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        *child = self.start();
    }

    /// Time goes on: what was decided takes effect soon.
    fn hasten(&self) {
        let now = Ground::NOW;
        self.ground
            .try_sql(&format!("UPDATE moderation_decisions SET due_at = {now} WHERE state = 'PENDING'"));
    }

    fn count(&self, from: &str) -> u64 {
        self.ground.sql(&format!("SELECT count(*) FROM {from}")).parse().unwrap()
    }

    async fn judge(&self, seen: &Seen) {
        let shown = seen.decided.lock().unwrap().clone();
        let kept = format!(
            "moderation_decisions WHERE {} IN ('{}')",
            Ground::HEX_ID,
            shown.join("', '").replace("-", "")
        );
        assert_eq!(self.count(&kept), shown.len() as u64, "what was shown is kept");
        let entry = |event: &str, detail: &str| {
            format!(
                "(SELECT count(*) FROM audit_logs a WHERE a.event_type = '{event}' AND a.user_id = x.user_id
                  AND a.actor_id = x.moderator_id AND a.detail = {detail})"
            )
        };
        // Actions, their condition, and the entry that each has.
        for (actions, event, detail) in [
            ("moderation_decisions x WHERE true", "DECISION_MADE", "x.actions || ': ' || x.reason"),
            ("moderation_decisions x WHERE x.state = 'UNDONE'", "DECISION_UNDONE", "x.reason"),
            (
                "moderation_decisions x WHERE x.state = 'DONE'",
                "DECISION_APPLIED",
                "'DONE' AND a.created_at = x.ended_at",
            ),
            ("moderation_actions x WHERE x.action = 'WARN'", "USER_WARNED", "x.reason"),
            ("moderation_actions x WHERE x.action = 'SUSPEND'", "USER_SUSPENDED", "x.reason"),
        ] {
            let without = self.count(&format!("{actions} AND {} <> 1", entry(event, detail)));
            assert_eq!(without, 0, "actions without the one entry {event}");
            let (actions, entries) =
                (self.count(actions), self.count(&format!("audit_logs WHERE event_type = '{event}'")));
            assert_eq!(actions, entries, "{event}: as many entries as actions");
            assert!(actions > 0, "{event} never happened");
        }
        // What took effect, took effect whole: the accounts that are out are those of the decisions that put them out.
        let out = "users u WHERE status = 'SUSPENDED'";
        let by = "EXISTS (SELECT 1 FROM moderation_decisions d WHERE d.user_id = u.id AND d.state = 'DONE' AND d.actions LIKE '%SUSPEND%')";
        assert_eq!(self.count(&format!("{out} AND NOT {by}")), 0);
        assert_eq!(self.count(&format!("users u WHERE status = 'ACTIVE' AND {by}")), 0);
        self.verify_chain().await;
    }

    async fn verify_chain(&self) {
        let store = self.ground.store().await;
        let mut after = None;
        loop {
            match store.audit_verify(after, 10_000).await.unwrap() {
                Verified::Broken { id } => panic!("the chain is broken at {id}"),
                Verified::Intact { head, more: true } => after = Some(head),
                Verified::Intact { head, more: false } => {
                    assert_eq!(head.id, self.count("audit_logs"), "without a gap");
                    return;
                }
            }
        }
    }
}

async fn survive(rounds: u64, seed: u64) {
    let scene = Scene::set().await;
    let seen = Seen::default();
    let mut dice = Dice(seed);
    let mut child = scene.start();
    std::thread::scope(|scope| {
        for (n, cookie) in scene.cookies.iter().enumerate() {
            let (scene, seen, dice) = (&scene, &seen, Dice(seed + 1 + n as u64));
            scope.spawn(move || scene.moderate(cookie, dice, seen));
        }
        for _ in 0..rounds {
            std::thread::sleep(Duration::from_millis(50 + dice.below(500)));
            scene.hasten();
            std::thread::sleep(Duration::from_millis(dice.below(300)));
            scene.kill(&mut child, &mut dice);
        }
        seen.stop.store(true, Ordering::Relaxed);
    });
    scene.hasten();
    scene.ground.until("SELECT count(*) FROM moderation_decisions WHERE state = 'PENDING'", "0");
    child.kill().unwrap();
    child.wait().unwrap();
    scene.judge(&seen).await;
    let (decided, failed) = (seen.decided.lock().unwrap().len(), seen.failed.load(Ordering::Relaxed));
    println!("seed {seed}: {rounds} kills, {decided} decisions shown, {failed} requests cut or refused");
    assert!(failed > 0, "no kill met a request");
    std::fs::remove_dir_all(&scene.data).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn action_and_entry_stand_and_fall_together_when_processes_are_killed() {
    survive(ROUNDS, 20_270_115).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five minutes"]
async fn action_and_entry_stand_and_fall_together_over_many_kills() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    survive(ROUNDS_LONG, u64::from(now.subsec_nanos()) + 1).await;
}
