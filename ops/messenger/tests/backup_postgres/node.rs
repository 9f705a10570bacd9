//! A node of the product on the server and a Redis, as the account, on ports that its neighbours know.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use servers::{Port, Redis};

use crate::bed::{Bed, fine};

/// A running node; ends with the value.
pub struct Node {
    child: Child,
    pub ready: serde_json::Value,
    variables: Vec<(&'static str, String)>,
    _ports: [Port; 4],
}

impl Node {
    /// Starts it and waits until clients can connect.
    pub fn up(bed: &Bed, redis: &Redis, more: &[&str]) -> Self {
        let ports: [Port; 4] = std::array::from_fn(|_| Port::free());
        let names = ["RELAY_LISTEN", "API_ADDRESS", "RELAY_INTERNAL_LISTEN", "CONSOLE_ADDRESS"];
        let addresses = names.into_iter().zip(&ports).map(|(name, port)| (name, port.address().to_string()));
        let variables: Vec<_> = addresses.chain([("REDIS_URL", redis.url())]).collect();
        let mut command = bed.command(&["up", "--json", "--shards", "1"]);
        command.args(more).envs(variables.iter().cloned());
        let mut child = command.stderr(log(bed)).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it starts: {}", bed.log()));
        Self { child, ready, variables, _ports: ports }
    }

    /// What a program beside it needs to know of it.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.variables.clone().into_iter()
    }

    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// Nobody says goodbye.
    pub fn kill(&mut self) {
        // It may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log(bed: &Bed) -> Stdio {
    std::fs::File::options().create(true).append(true).open(bed.path("log")).unwrap().into()
}

/// A subcommand of one of the demo's people, who were made by the node that said `demo`.
fn client(bed: &Bed, node: &Node, demo: &serde_json::Value, name: &str, person: usize) -> Command {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let user = &demo["users"][person];
    let mut command = bed.command(&[name, "--relay", node.text("relay_quic"), "--api", node.text("api")]);
    command.args(["--ca", node.text("ca"), "--email", &text(&user["email"])]);
    command.env("MESSENGER_CONVERSATION", text(&demo["conversation"]));
    command.env("MESSENGER_PASSWORD", text(&user["password"]));
    command
}

/// The first of them says something.
pub fn say(bed: &Bed, node: &Node, demo: &serde_json::Value, text: &str) {
    fine(&client(bed, node, demo, "send", 0).args(["--text", text]).output().unwrap());
}

/// What the second of them hears from the beginning on.
pub fn heard(bed: &Bed, node: &Node, demo: &serde_json::Value, count: usize) -> Vec<String> {
    let mut command = client(bed, node, demo, "listen", 1);
    command.args(["--json", "--after", "0", "--count", &count.to_string()]);
    let said = fine(&command.output().unwrap());
    let text = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].clone();
    said.lines().map(|line| text(line).as_str().unwrap().to_owned()).collect()
}
