//! The program itself, on a topology that stands: what it shows, where it logs in, what it plays again.
//!
//! Needs Docker; `make test` has built the images.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A place of its own: its topology is nobody else's.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        place.write("small.toml", "nodes = 3\n");
        place.write(
            "kill.toml",
            "name = \"kill\"\nabout = \"Any node dies.\"\n[[step]]\nfault = \"kill\"\ntarget = { node = \"any\" }\nexpect = [\"slot-replaced\"]\n",
        );
        place.write("watch.toml", "name = \"watch\"\nabout = \"Watches for long.\"\n[[step]]\nwatch = \"10m\"\n");
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stormbed"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("XDG_STATE_HOME", self.folder.path().join("state"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the program is built");
        let told = String::from_utf8_lossy(&output.stderr);
        eprintln!("--- stormbed {}: {}\n{told}", arguments.join(" "), output.status);
        output
    }

    /// What a command printed; it must have exited with this code.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} said: {said}");
        said
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.expect(0, arguments);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["down", "--all"]);
    }
}

/// Names of the victims of a run's only fault.
fn victims(run: &Value) -> Vec<String> {
    let victims = run["report"]["scenarios"][0]["faults"][0]["victims"].as_array().cloned().unwrap_or_default();
    victims.iter().filter_map(|victim| victim["name"].as_str().map(str::to_owned)).collect()
}

fn shows(place: &Place) -> String {
    let status = &place.json(&["status", "--json"])[0];
    assert_eq!(status["phase"], "stands");
    let view = &status["view"];
    let lacking: Vec<&Value> =
        view["health"].as_array().into_iter().flatten().filter(|h| h["holds"] == false).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    assert_eq!(view["slots"].as_array().map(Vec::len), Some(3));
    assert_eq!(view["machines"].as_object().map(serde_json::Map::len), Some(12));
    let leader = format!("storm-s{}", view["leaders"]["etcd"]);
    let screen = place.expect(0, &["status"]);
    assert!(screen.contains("etcd leader, jupyter") && !screen.contains('\x1b'), "{screen}");
    leader
}

fn leads_into_nodes(place: &Place, leader: &str) {
    let name = |said: String| said.trim().to_owned();
    assert_eq!(name(place.expect(0, &["exec", "storm-0", "--", "hostname"])), leader);
    assert_eq!(name(place.expect(0, &["ssh", "storm-0", "--", "hostname"])), leader);
    place.expect(7, &["exec", "storm-0", "--", "sh", "-c", "exit 7"]);
    place.expect(64, &["exec", "slot-77", "--", "true"]);
    place.expect(64, &["ssh", "host-1"]);
    for (part, host) in [("host-1", "host-1"), ("storm-0", leader)] {
        let mut shell = place.command(&["attach-shell", part]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let shell = shell.as_mut().expect("the program is built");
        let mut input = shell.stdin.take().expect("it is piped");
        input.write_all(b"hostname; echo $((6 * 7)); exit 3\n").expect("it reads");
        drop(input);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut shell.stdout.take().expect("it is piped"), &mut said).expect("text");
        assert_eq!(shell.wait().expect("it ends").code(), Some(3));
        assert_eq!(said, format!("{host}\n42\n"));
    }
}

fn tells_logs(place: &Place) {
    assert!(place.expect(0, &["logs", "storm-0"]).contains("etcd"));
    let agent = place.expect(0, &["logs", "host-1/agent", "--json", "--lines", "3"]);
    assert!(agent.lines().count() >= 1 && agent.lines().count() <= 3, "{agent}");
    for line in agent.lines() {
        let line: Value = serde_json::from_str(line).expect("a document per line");
        assert_eq!(line["log"], "host-1/agent");
    }
    assert!(place.expect(0, &["logs", "zk-1/output"]).contains("--- zk-1/output"));
    let output = place.run(&["logs", "host-1/nonsense"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("host-1/agent"), "it names the logs that there are");
}

/// Two topologies at the same time: each has networks, a port and a folder of its own, and nothing of either stays.
#[test]
fn two_topologies_play_side_by_side() {
    let place = Place::new();
    let arguments = ["run", "kill.toml", "kill.toml", "--config", "small.toml", "--fresh", "--parallel", "2", "--json"];
    let output = place.run(&arguments);
    // How long each takes on a machine that carries both isn't judged here.
    let run: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let scenarios = run["report"]["scenarios"].as_array().expect("a list");
    assert_eq!(scenarios.len(), 2);
    for scenario in scenarios {
        let fault = &scenario["faults"][0];
        assert_eq!(fault["effect_seen"], true, "{}", scenario["why"]);
        assert!(fault["expected"][0]["seen_at"].is_number(), "{}", scenario["why"]);
    }
    let folder = place.folder.path().join(run["folder"].as_str().expect("a text"));
    for file in
        ["report.json", "junit.xml", "coverage.json", "lane-1/logs/host-1/agent.log", "lane-2/logs/host-1/agent.log"]
    {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.lines().all(|line| line.starts_with("[1] ") || line.starts_with("[2] ")), "{told}");
    assert!(place.expect(0, &["status"]).contains("no topology"));
}

#[test]
fn a_topology_is_shown_entered_and_broken_again() {
    let place = Place::new();
    place.expect(0, &["up", "--config", "small.toml"]);
    let leader = shows(&place);
    leads_into_nodes(&place, &leader);
    tells_logs(&place);

    let first = place.json(&["run", "kill.toml", "--reuse", "--json"]);
    let again = place.json(&["replay", "latest", "--pin", "--reuse", "--json", "--redact"]);
    assert_eq!(victims(&first).len(), 1);
    assert_eq!(victims(&first), victims(&again));
    let folder = Path::new(again["folder"].as_str().expect("a text")).to_owned();
    let report = std::fs::read_to_string(place.folder.path().join(folder).join("report.json")).expect("it is there");
    assert!(!report.contains("198.1"), "addresses of the topology are gone");

    let begin = std::time::Instant::now();
    place.expect(2, &["run", "watch.toml", "--reuse", "--deadline", "70s"]);
    assert!(begin.elapsed().as_secs() < 70, "{:?}", begin.elapsed());
    assert!(place.expect(0, &["why"]).contains("deadline of 70s"));
    place.expect(0, &["down"]);
    place.expect(64, &["exec", "storm-0", "--", "true"]);
}
