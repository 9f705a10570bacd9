//! What is asked for at the console is done by who follows the log, in another process; what nobody takes up waits, and what
//! was begun by who is gone is not forgotten.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use console::access::csrf;
use schema_store::rows::account::Origin;
use schema_store::rows::backup::{BackupRequest, RequestState};
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess, NewToken, Operations, PostgresStore};
use servers::Redis;

use crate::bed::{Bed, PATIENCE, fine};
use crate::node::Node;

/// Somebody who runs the product, at the console.
pub struct Operator {
    console: String,
    cookie: String,
    store: PostgresStore,
}

impl Operator {
    pub async fn at(node: &Node, store: PostgresStore) -> Self {
        let email = "sue@staff.example".to_owned();
        let user =
            store.create_admin(email, "sue".to_owned(), "none".to_owned(), AccountRole::Sre).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let (cookie, token) = NewToken::generate(now + 3_600_000);
        let new = NewConsoleSession { token, user, stage: Stage::Full, replaces: None, lock_subject: None };
        store.open_console_session(new, Origin::system()).await.unwrap();
        Self { console: node.text("console").to_owned(), cookie, store }
    }

    pub fn page(&self, path: &str) -> String {
        let url = format!("{}{path}", self.console);
        let cookie = format!("session={}", self.cookie);
        let mut answer = ureq::get(&url).header("cookie", cookie).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    }

    /// Presses the button; the page that it leads to, with what is said of it.
    fn press(&self, button: &str) -> String {
        let agent: ureq::Agent = ureq::Agent::config_builder().max_redirects(0).build().into();
        let pressed = agent
            .post(format!("{}/backups/{button}", self.console))
            .header("cookie", format!("session={}", self.cookie))
            .header("origin", self.console.clone())
            .header("sec-fetch-site", "same-origin")
            .send_form([("csrf", csrf::token(&self.cookie))])
            .unwrap();
        assert_eq!(
            (pressed.status().as_u16(), &pressed.headers()["location"]),
            (303, &"/backups".parse().unwrap())
        );
        let said = pressed.headers()["set-cookie"].to_str().unwrap().to_owned();
        said.split(';').next().unwrap().to_owned()
    }

    async fn newest(&self) -> BackupRequest {
        self.store.backup_requests(1).await.unwrap().remove(0)
    }

    /// Waits until the newest request is in such a state.
    async fn until(&self, bed: &Bed, wanted: impl Fn(&RequestState) -> bool) -> RequestState {
        let began = Instant::now();
        loop {
            let state = self.newest().await.state;
            if wanted(&state) {
                return state;
            }
            assert!(began.elapsed() < PATIENCE, "{state:?}; {}", bed.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the newest request is done; the line about it.
    async fn done(&self, bed: &Bed) -> String {
        match self.until(bed, |state| matches!(state, RequestState::Ended { .. })).await {
            RequestState::Ended { succeeded: true, detail, .. } => detail,
            other => panic!("{other:?}; {}", bed.log()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_at_the_console_is_done() {
    let (bed, redis) = (Bed::new(), Redis::start());
    let node = Node::up(&bed, &redis, &[]);
    let sue = Operator::at(&node, bed.store().await).await;
    assert!(sue.press("run").contains("backup-asked"));
    assert!(sue.press("run").contains("backup-waits"), "one is enough");
    assert!(sue.page("/backups").contains("waits"));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(sue.newest().await.state, RequestState::Waits, "nobody is there who makes backups");
    let mut streaming = bed.stream();
    let made = sue.done(&bed).await;
    let listed = fine(&bed.run(&["backup", "list"]));
    assert!(listed.contains(made.split(' ').next().unwrap()) && listed.contains("whole"), "{listed}");
    assert_eq!(bed.server().sql("SELECT kind, status FROM backups"), "MANUAL|DONE");
    sue.press("drill");
    let proven = sue.done(&bed).await;
    assert!(proven.contains("audit trail intact"), "{proven}");
    assert_eq!(bed.server().sql("SELECT status FROM restore_drills"), "PASSED");
    assert!(sue.page("/backups").contains(&proven));
    sue.press("drill");
    sue.until(&bed, |state| matches!(state, RequestState::Taken { .. })).await;
    streaming.kill();
    let streaming = bed.stream();
    let ended = sue.until(&bed, |state| matches!(state, RequestState::Ended { .. })).await;
    assert!(matches!(&ended, RequestState::Ended { succeeded: false, .. }), "{ended:?}");
    sue.press("drill");
    sue.done(&bed).await;
    assert!(!bed.path("data/backup.drill").exists(), "what the killed one left is gone");
    assert!(streaming.stop().success(), "{}", bed.log());
}
