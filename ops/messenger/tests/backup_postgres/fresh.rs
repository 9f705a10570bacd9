//! What the console and the alerts make of a server whose base backup is old and whose log is followed: it is safe as long as
//! that goes on. Nothing here waits for time to pass: recorded moments are moved.

use std::time::{Duration, Instant};

use servers::Redis;

use crate::bed::{Bed, PATIENCE, fine};
use crate::node::Node;
use crate::requests::Operator;

/// What is looked at from outside.
struct Watched<'a> {
    bed: &'a Bed,
    node: Node,
    operator: Operator,
}

impl Watched<'_> {
    /// A figure as Prometheus reads it.
    fn figure(&self, name: &str) -> Option<f64> {
        let mut answer = ureq::get(format!("{}/metrics", self.node.text("internal"))).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until the figure is like that: the tables are read every few seconds.
    fn until(&self, name: &str, wanted: impl Fn(f64) -> bool) {
        let began = Instant::now();
        loop {
            let figure = self.figure(name);
            if figure.is_some_and(&wanted) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{name} is {figure:?}; {}", self.bed.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The colour of the newest moment's age on both pages.
    fn colour(&self) -> String {
        let of = |path: &str| {
            let page = self.operator.page(path);
            let (_, after) = page.split_once("newest restorable moment’s age").expect("it is on the page");
            let (_, after) = after.split_once("class=\"badge ").expect("it has a colour");
            after.split('"').next().unwrap().to_owned()
        };
        let (backups, overview) = (of("/backups"), of("/overview"));
        assert_eq!(backups, overview);
        backups
    }

    fn sql(&self, text: &str) -> String {
        self.bed.server().sql(text)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_is_fresh_as_long_as_its_log_is_followed() {
    let (bed, redis) = (Bed::new(), Redis::start());
    let node = Node::up(&bed, &redis, &[]);
    let operator = Operator::at(&node, bed.store().await).await;
    let watched = Watched { bed: &bed, node, operator };
    bed.back_up();
    watched.sql("UPDATE backups SET started_at = started_at - interval '20 h', finished_at = finished_at - interval '20 h'");
    watched.until("backup_age_seconds", |age| age > 70_000.0);
    assert_eq!(watched.colour(), "bad");
    assert!(!watched.operator.page("/backups").contains("unbroken since"));
    let streaming = bed.stream();
    watched.until("backup_age_seconds", |age| age < 60.0);
    watched.until("backup_base_last_success_timestamp_seconds", |at| at > 0.0);
    watched.until("backup_log_unbroken_since_timestamp_seconds", |at| at > 0.0);
    assert_eq!(watched.colour(), "good");
    assert!(watched.operator.page("/backups").contains("unbroken since"));
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    for (minutes, colour) in [(10, "warn"), (60, "bad")] {
        watched.sql(&format!("UPDATE backup_log SET safe_at = now() - interval '{minutes} min'"));
        assert_eq!(watched.colour(), colour, "{minutes}");
    }
    watched.until("backup_age_seconds", |age| age > 3_000.0);
    // A log that goes on from nothing makes nothing any safer.
    watched.sql("UPDATE backup_log SET safe_at = now(), continues = false");
    assert_eq!(watched.colour(), "bad");
    watched.until("backup_age_seconds", |age| age > 70_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_are_shown_with_what_they_found() {
    let (bed, redis) = (Bed::new(), Redis::start());
    let node = Node::up(&bed, &redis, &[]);
    let operator = Operator::at(&node, bed.store().await).await;
    let watched = Watched { bed: &bed, node, operator };
    let name = bed.back_up();
    fine(&bed.run(&["backup", "verify"]));
    watched.until("backup_check_last_success_timestamp_seconds", |at| at > 0.0);
    assert!(watched.operator.page("/backups").contains(&format!("{name}: whole and authentic")));
    fine(&bed.run(&["backup", "drill"]));
    let is_within = "SELECT took_ms BETWEEN 1 AND extract(epoch FROM finished_at - started_at) * 1000 FROM restore_drills";
    assert_eq!(watched.sql(is_within), "t", "the checks after it are not part of it");
    watched.sql("UPDATE restore_drills SET took_ms = 10800000");
    watched.until("restore_drill_last_duration_seconds", |took| took == 10_800.0);
    assert!(watched.operator.page("/backups").contains("3 h"), "and not what all of it took");
    let place = bed.seen.join("database").join(&name);
    let object =
        crate::bed::files(&place).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    assert!(!bed.run(&["backup", "verify"]).status.success());
    watched.until("backup_check_last_failure_timestamp_seconds", |at| at > 0.0);
    assert_eq!(watched.sql("SELECT passed FROM backup_checks ORDER BY started_at DESC LIMIT 1"), "f");
}
