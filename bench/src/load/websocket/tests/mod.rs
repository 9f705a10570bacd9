//! Whole runs against a small floor in this process, and against the real relay where its binary is at hand.

mod relay;
mod server;

use std::path::PathBuf;

use anyhow::{Context, Result};

use self::server::{Behaviour, Server};
use crate::load::Said;
use crate::plan::{Carrier, Dialect, Kind, Outcome, Pace, Plan, Room};

fn plan(server: &Server, pace: Pace, rooms: usize, subscribers: usize) -> Plan {
    let room = Room {
        conversation: String::new(),
        subscribers: vec![String::new(); subscribers],
        publishers: vec![String::new()],
    };
    Plan {
        carrier: if server.tls { Carrier::Websocket } else { Carrier::Plain },
        dialect: Dialect::Floor,
        kind: Kind::Ephemeral,
        pace,
        address: server.address,
        ca: server.ca.clone(),
        server_pid: std::process::id(),
        rooms: vec![room; rooms],
        payload: 128,
        warm_up_s: 0.1,
        measure_s: 0.5,
        stopped: 0.0,
        process: 0,
        together: false,
        allow_remote: false,
    }
}

fn carry_out(plan: &Plan) -> Result<Outcome> {
    let mut seen = None;
    super::carry_out(plan, &mut |said| {
        match said {
            Said::Ready => assert!(plan.together && seen.is_none(), "nobody asked"),
            Said::Outcome(outcome) => seen = Some(outcome),
        }
        Ok(())
    })?;
    seen.context("no outcome")
}

fn failure(result: Result<Outcome>) -> String {
    match result {
        Ok(outcome) => panic!("an outcome where an error was due: {outcome:?}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn an_open_loop_delivers_everything_at_its_rate() {
    for tls in [false, true] {
        let server = Server::start(tls, Behaviour::default());
        let plan = plan(&server, Pace::Open { per_second: 400.0 }, 3, 5);
        let outcome = carry_out(&plan).expect("a run");
        assert_eq!((outcome.lost, outcome.doubled, outcome.connections), (0, 0, 18));
        // A busy machine moves some over the edges of the measured part.
        assert!((150..=250).contains(&outcome.published), "{outcome:?}");
        assert!((750..=1_250).contains(&outcome.delivered), "{outcome:?}");
        assert!(outcome.rss_before_kib > 0 && outcome.rss_peak_kib >= outcome.rss_after_kib, "{outcome:?}");
    }
}

#[test]
fn one_of_several_waits_with_all_its_connections_until_it_may_publish() {
    let server = Server::start(true, Behaviour::default());
    let plan = Plan { together: true, ..plan(&server, Pace::Open { per_second: 400.0 }, 2, 3) };
    let mut heard = Vec::new();
    super::carry_out(&plan, &mut |said| {
        heard.push(match said {
            Said::Ready => {
                // Whatever came due meanwhile would be published at once, were it due already.
                std::thread::sleep(std::time::Duration::from_millis(300));
                None
            }
            Said::Outcome(outcome) => Some(outcome),
        });
        Ok(())
    })
    .expect("a run");
    let [None, Some(outcome)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((outcome.connections, outcome.lost), (8, 0));
    assert!((150..=250).contains(&outcome.published), "{outcome:?}");
}

#[test]
fn a_closed_loop_keeps_its_window_full() {
    for tls in [false, true] {
        let server = Server::start(tls, Behaviour::default());
        let mut plan = plan(&server, Pace::Closed { window: 64 }, 1, 10);
        // Bursts of these need several records, so that frames cross them.
        plan.payload = 2_000;
        let outcome = carry_out(&plan).expect("a run");
        assert_eq!((outcome.lost, outcome.doubled), (0, 0));
        assert!(outcome.delivered > 1_000, "{outcome:?}");
    }
}

#[test]
fn idle_connections_answer_pings_and_stay() {
    let server = Server::start(true, Behaviour { pings: true, ..Behaviour::default() });
    let outcome = carry_out(&plan(&server, Pace::Idle, 1, 200)).expect("a run");
    assert_eq!((outcome.connections, outcome.delivered), (201, 0));
    assert!(server.pongs() >= 201, "{} pongs", server.pongs());
}

#[test]
fn a_storm_counts_sessions() {
    let server = Server::start(true, Behaviour::default());
    let outcome = carry_out(&plan(&server, Pace::Storm { at_once: 8 }, 1, 8)).expect("a run");
    assert!(outcome.connections > 20, "{outcome:?}");
}

#[test]
fn a_refused_connection_is_said() {
    let server = Server::start(true, Behaviour::default());
    let mut plan = plan(&server, Pace::Open { per_second: 10.0 }, 1, 1);
    plan.address.set_port(1);
    let said = failure(carry_out(&plan));
    assert!(said.contains("cannot connect") && said.contains("refused"), "{said}");
}

#[test]
fn a_missing_or_foreign_authority_is_said() {
    let (server, other) =
        (Server::start(true, Behaviour::default()), Server::start(true, Behaviour::default()));
    let mut plan = plan(&server, Pace::Open { per_second: 10.0 }, 1, 1);
    plan.ca = PathBuf::from("/nowhere/ca.pem");
    assert!(failure(carry_out(&plan)).contains("/nowhere/ca.pem"));
    plan.ca = other.ca.clone();
    let said = failure(carry_out(&plan));
    assert!(said.contains("TLS handshake failed") && said.contains("authority"), "{said}");
}

#[test]
fn a_close_that_nobody_asked_for_is_said_with_its_code() {
    let server = Server::start(true, Behaviour { closes_after: Some(20), ..Behaviour::default() });
    let said = failure(carry_out(&plan(&server, Pace::Open { per_second: 200.0 }, 1, 3)));
    assert!(said.contains("4005"), "{said}");
}

#[test]
fn a_server_that_dies_is_said() {
    let server = Server::start(false, Behaviour { dies_after: Some(20), ..Behaviour::default() });
    let said = failure(carry_out(&plan(&server, Pace::Open { per_second: 200.0 }, 1, 3)));
    assert!(said.contains("ended") || said.contains("writing"), "{said}");
}

#[test]
fn what_is_lost_or_comes_twice_is_counted() {
    let server = Server::start(true, Behaviour { loses: Some(30), ..Behaviour::default() });
    let outcome = carry_out(&plan(&server, Pace::Open { per_second: 200.0 }, 1, 1)).expect("a run");
    assert_eq!((outcome.lost, outcome.doubled), (1, 0));
    let server = Server::start(true, Behaviour { doubles: Some(30), ..Behaviour::default() });
    let outcome = carry_out(&plan(&server, Pace::Open { per_second: 200.0 }, 1, 1)).expect("a run");
    assert_eq!((outcome.lost, outcome.doubled), (0, 1));
}

#[test]
fn tls_towards_a_server_without_it_is_said() {
    let server = Server::start(false, Behaviour::default());
    let mut plan = plan(&server, Pace::Open { per_second: 10.0 }, 1, 1);
    plan.carrier = Carrier::Websocket;
    let other = Server::start(true, Behaviour::default());
    plan.ca = other.ca.clone();
    let said = failure(carry_out(&plan));
    assert!(said.contains("TLS"), "{said}");
}
