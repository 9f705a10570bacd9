//! Runs against the real relay, built beside this test, on users written straight into its store.

use std::path::PathBuf;

use drill::crowd::{Crowd, Mint, Seats};
use drill::server::{Launch, Server, work_folder};

use super::carry_out;
use crate::plan::{Carrier, Dialect, Kind, Outcome, Pace, Plan, Room};

/// A relay with one conversation, and a plan for it.
struct Stage {
    server: Option<Server>,
    folder: PathBuf,
    plan: Plan,
}

impl Stage {
    fn set(name: &str, subscribers: usize, kind: Kind, pace: Pace) -> Self {
        let folder = work_folder(name).expect("a folder");
        let program = Launch::program().expect("a messenger beside this test");
        let mut launch =
            Launch::new(program, folder.join("data"), folder.join("server.log")).expect("free ports");
        launch.shards = Some(1);
        // A closed loop never goes on when signals beyond a user's limit are dropped.
        launch.env.push(("RELAY_EPHEMERAL_PER_S".into(), "1000000".into()));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let seats = Seats { rooms: 1, subscribers, publishers: 1 };
        let crowd = runtime.block_on(Crowd::prepare(&launch.data, seats)).expect("a crowd");
        let server = launch.start().expect("a relay");
        let mint = Mint::of(&server.ready.signing_key).expect("its key");
        let (conversation, mut tokens) = crowd.tokens(&mint).expect("tokens").remove(0);
        let publishers = tokens.split_off(subscribers);
        let conversation = conversation.to_string().replace('-', "");
        let address = server.ready.wss.trim_start_matches("wss://").split('/').next().expect("an authority");
        let plan = Plan {
            carrier: Carrier::Websocket,
            dialect: Dialect::Relay,
            kind,
            pace,
            address: address.replace("localhost", "127.0.0.1").parse().expect("an address"),
            ca: server.ready.ca.clone(),
            server_pid: server.pid(),
            rooms: vec![Room { conversation, subscribers: tokens, publishers }],
            payload: 128,
            warm_up_s: 0.5,
            measure_s: 2.0,
            stopped: 0.0,
            process: 0,
            together: false,
            allow_remote: false,
        };
        Self { server: Some(server), folder, plan }
    }

    fn run(mut self) -> Outcome {
        let outcome = carry_out(&self.plan);
        self.server.take().expect("it runs").kill().expect("it ends");
        std::fs::remove_dir_all(&self.folder).expect("its folder");
        let outcome = outcome.expect("a run");
        println!("{outcome:#?}");
        assert_eq!((outcome.lost, outcome.doubled), (0, 0));
        outcome
    }
}

#[test]
fn the_relay_acks_and_delivers_what_is_durable() {
    let outcome = Stage::set("load-open", 40, Kind::Durable, Pace::Open { per_second: 100.0 }).run();
    assert!((150..=250).contains(&outcome.published), "{outcome:?}");
    let outcome = Stage::set("load-closed", 40, Kind::Durable, Pace::Closed { window: 32 }).run();
    assert!(outcome.acked > 100 && outcome.delivered > outcome.acked * 35, "{outcome:?}");
}

#[test]
fn the_relay_passes_on_what_is_ephemeral() {
    let outcome = Stage::set("load-signal", 40, Kind::Ephemeral, Pace::Closed { window: 16 }).run();
    assert!(outcome.delivered > 1_000, "{outcome:?}");
}

#[test]
fn the_relay_holds_idle_sessions_and_takes_a_storm() {
    let outcome = Stage::set("load-idle", 200, Kind::Durable, Pace::Idle).run();
    assert_eq!(outcome.connections, 201);
    let outcome = Stage::set("load-storm", 200, Kind::Durable, Pace::Storm { at_once: 16 }).run();
    assert!(outcome.connections > 100, "{outcome:?}");
}

#[test]
fn readers_that_stop_are_cut_and_recover() {
    let mut stage = Stage::set("load-stopped", 20, Kind::Durable, Pace::Open { per_second: 2_000.0 });
    (stage.plan.stopped, stage.plan.payload, stage.plan.measure_s) = (0.2, 1_000, 6.0);
    let outcome = stage.run();
    assert!(outcome.published > 8_000, "enough for pages of history: {outcome:?}");
    assert_eq!((outcome.stopped, outcome.recovered), (4, 4), "{outcome:?}");
    assert_eq!(outcome.cut + outcome.severed, 4, "{outcome:?}");
}
