//! Waiting for each part to come up: bounded, by looking from outside, with errors that name the part and show its log.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::plan::{MASTER_PORT, ZOOKEEPER_PORT};
use super::{Role, Topology, TopologyError};
use crate::engine::LABEL_RUN;

/// How far a start goes. Each stage includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// All containers run.
    Machines,
    /// ZooKeeper has one leader and all servers serve.
    Zookeeper,
    /// The volume is mounted on every host.
    Storage,
    /// A master leads and every agent is active.
    Mesos,
    /// Every node's task runs.
    Nodes,
    /// Jupyter answers through the proxy.
    Jupyter,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Machines => "the machines",
            Self::Zookeeper => "ZooKeeper",
            Self::Storage => "the shared volume",
            Self::Mesos => "Mesos",
            Self::Nodes => "the nodes",
            Self::Jupyter => "Jupyter",
        })
    }
}

/// What is missing, and on which machine to look.
struct Missing {
    machine: String,
    why: String,
}

fn missing(machine: &str, why: impl Into<String>) -> Missing {
    Missing { machine: machine.to_owned(), why: why.into() }
}

/// Time between looks: each costs a command in a container, some 100 ms of one core.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// One look; a machine under load may take seconds.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Sends one request over a plain socket and prints the answer: the images have bash, and no HTTP client.
const HTTP_GET: &str = r#"exec 3<>"/dev/tcp/$0/$1" && printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 && timeout 5 cat <&3"#;
/// Asks each ZooKeeper server for its mode.
const ZOOKEEPER_MODES: &str = r#"port=$0; for a; do ( exec 3<>"/dev/tcp/$a/$port" && printf srvr >&3 && timeout 2 cat <&3 ) 2>/dev/null | grep '^Mode:' || echo "Mode: none"; done"#;

/// A FUSE mount shows before its servers answer: ask it something.
const MOUNTED: &str = r#"mountpoint -q "$0" && timeout 5 stat -f "$0" >/dev/null"#;

impl Topology {
    /// Waits for one stage.
    ///
    /// # Errors
    /// [`TopologyError::NotReady`] or [`TopologyError::Died`].
    pub async fn wait_for(&self, stage: Stage) -> Result<(), TopologyError> {
        let patience = &self.plan().config.patience;
        let seconds = match stage {
            Stage::Machines => 0,
            Stage::Zookeeper => patience.zookeeper_s,
            Stage::Storage => patience.storage_s,
            Stage::Mesos => patience.mesos_s,
            Stage::Nodes => patience.nodes_s,
            Stage::Jupyter => patience.jupyter_s,
        };
        let end = Instant::now() + Duration::from_secs(seconds);
        for look in 0u32.. {
            // A dead machine is told at once, not when the time is over.
            if look.is_multiple_of(4) {
                self.all_run().await?;
            }
            let Err(missing) = self.look(stage).await else {
                return Ok(());
            };
            if Instant::now() >= end {
                return Err(TopologyError::NotReady {
                    stage,
                    seconds,
                    why: missing.why,
                    log: self.log_tail(&missing.machine).await,
                    machine: missing.machine,
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Every machine's container runs.
    ///
    /// # Errors
    /// [`TopologyError::Died`] for the first that doesn't.
    pub async fn all_run(&self) -> Result<(), TopologyError> {
        let listed = self.engine().containers(LABEL_RUN, Some(self.id())).await?;
        for machine in &self.plan().machines {
            let name = self.plan().container_name(&machine.name);
            let ended = listed.iter().find(|c| c.name == name && matches!(c.state.as_str(), "exited" | "dead"));
            if let Some(container) = ended {
                return Err(TopologyError::Died {
                    machine: machine.name.clone(),
                    status: container.status.clone(),
                    log: self.log_tail(&machine.name).await,
                });
            }
        }
        Ok(())
    }

    async fn look(&self, stage: Stage) -> Result<(), Missing> {
        match stage {
            Stage::Machines => Ok(()),
            Stage::Zookeeper => self.look_at_zookeeper().await,
            Stage::Storage => self.look_at_storage().await,
            Stage::Mesos => self.look_at_mesos(false).await,
            Stage::Nodes => self.look_at_mesos(true).await,
            Stage::Jupyter => self.look_at_jupyter().await,
        }
    }

    /// Runs a script on a machine and returns what it printed.
    async fn ask(&self, machine: &str, script: &str, arguments: &[&str]) -> Result<String, Missing> {
        let container = self.container(machine).map_err(|e| missing(machine, e.to_string()))?;
        let mut command = vec!["bash", "-c", script];
        command.extend(arguments);
        let output = self.engine().exec(container, &command, b"", LOOK_MAX).await;
        let output = output.map_err(|e| missing(machine, e.to_string()))?;
        if output.code == 0 {
            Ok(output.stdout)
        } else {
            let said = output.stderr.lines().last().unwrap_or("no answer").to_owned();
            Err(missing(machine, said))
        }
    }

    async fn look_at_zookeeper(&self) -> Result<(), Missing> {
        let port = ZOOKEEPER_PORT.to_string();
        let addresses: Vec<String> = self.plan().of(Role::ZooKeeper).map(|m| m.address.to_string()).collect();
        let mut arguments = vec![port.as_str()];
        arguments.extend(addresses.iter().map(String::as_str));
        let said = self.ask("zk-1", ZOOKEEPER_MODES, &arguments).await?;
        zookeeper_serves(&said, addresses.len()).map_err(|why| missing("zk-1", why))
    }

    async fn look_at_storage(&self) -> Result<(), Missing> {
        let mount = self.plan().cluster().shared_on_host.display().to_string();
        for host in self.plan().of(Role::Host) {
            self.ask(&host.name, MOUNTED, &[&mount])
                .await
                .map_err(|_| missing(&host.name, format!("{mount} doesn't answer on {}", host.name)))?;
        }
        Ok(())
    }

    async fn look_at_mesos(&self, with_tasks: bool) -> Result<(), Missing> {
        let plan = self.plan();
        let mut last = missing("master-1", "no master answers");
        for master in plan.of(Role::Master) {
            let (address, port) = (master.address.to_string(), MASTER_PORT.to_string());
            match self.ask("edge", HTTP_GET, &[&address, &port, "/state"]).await {
                Err(other) => last = missing(&master.name, other.why),
                Ok(answer) => {
                    let tasks = if with_tasks { plan.config.nodes as usize } else { 0 };
                    match mesos_works(&answer, plan.config.hosts.into(), tasks) {
                        Ok(()) => return Ok(()),
                        // A standby answers with a redirect: that says nothing about what is missing.
                        Err(Some(why)) if with_tasks => last = missing(&self.active_scheduler(&answer), why),
                        Err(Some(why)) => last = missing(&master.name, why),
                        Err(None) => {}
                    }
                }
            }
        }
        Err(last)
    }

    /// The machine of the subscribed scheduler, by a leading master's answer; the first one while none is.
    fn active_scheduler(&self, answer: &str) -> String {
        let address = scheduler_address(answer);
        let mut machines = self.plan().of(Role::Framework);
        let active = machines.clone().find(|m| Some(m.address.to_string()) == address).or_else(|| machines.next());
        active.map_or_else(|| "framework".to_owned(), |machine| machine.name.clone())
    }

    async fn look_at_jupyter(&self) -> Result<(), Missing> {
        let url = format!("{}/api/status", self.proxy_url());
        let said = |e: reqwest::Error| missing("edge", format!("{url}: {e}"));
        let client = reqwest::Client::builder().no_proxy().timeout(LOOK_MAX).build().map_err(said)?;
        let authorization = format!("token {}", self.secrets().jupyter_token());
        let answer = client.get(&url).header("Authorization", authorization).send().await.map_err(said)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(missing("edge", format!("{url} answers {}", answer.status())))
        }
    }
}

/// One leader and nobody silent, in lines of `Mode: …`.
fn zookeeper_serves(said: &str, servers: usize) -> Result<(), String> {
    let modes: Vec<&str> = said.lines().filter_map(|l| l.strip_prefix("Mode: ")).collect();
    let count = |mode: &str| modes.iter().filter(|m| **m == mode).count();
    let alone = servers == 1 && count("standalone") == 1;
    if alone || (count("leader") == 1 && count("follower") == servers - 1) {
        return Ok(());
    }
    Err(format!("expected one leader and {} followers, found: {}", servers - 1, modes.join(", ")))
}

/// The host name that a scheduler announced when it subscribed: our schedulers give their address.
fn scheduler_address(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let state: Value = serde_json::from_str(body).ok()?;
    let frameworks = state["frameworks"].as_array()?;
    frameworks.iter().find(|f| f["active"] == true)?["hostname"].as_str().map(str::to_owned)
}

/// A leading master's `/state` as a whole HTTP answer: all agents active, and so many tasks running.
/// `Err(None)` for a master that doesn't lead.
fn mesos_works(answer: &str, agents: usize, tasks: usize) -> Result<(), Option<String>> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(None)?;
    let status = head.split_whitespace().nth(1).ok_or(None)?;
    if status != "200" {
        return Err(None);
    }
    let state: Value = serde_json::from_str(body).map_err(|e| Some(format!("/state: {e}")))?;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let active = list(&state, "slaves").iter().filter(|a| a["active"] == true).count();
    if active < agents {
        return Err(Some(format!("{active} of {agents} agents are active")));
    }
    let all: Vec<Value> = list(&state, "frameworks").iter().flat_map(|f| list(f, "tasks")).collect();
    let running = all.iter().filter(|t| t["state"] == "TASK_RUNNING").count();
    if running < tasks {
        return Err(Some(format!("{running} of {tasks} tasks run")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zookeeper_needs_exactly_one_leader() {
        assert!(zookeeper_serves("Mode: follower\nMode: leader\nMode: follower\n", 3).is_ok());
        assert!(zookeeper_serves("Mode: leader\nMode: leader\nMode: follower\n", 3).is_err());
        assert!(zookeeper_serves("Mode: none\nMode: leader\nMode: follower\n", 3).is_err());
        assert!(zookeeper_serves("Mode: standalone\n", 1).is_ok());
        assert!(zookeeper_serves("", 3).is_err());
    }

    #[test]
    fn mesos_is_judged_by_the_leaders_state() {
        let answer = |body: &str| format!("HTTP/1.0 200 OK\r\nx: y\r\n\r\n{body}");
        let state = r#"{"slaves":[{"active":true},{"active":false}],
            "frameworks":[{"tasks":[{"state":"TASK_RUNNING"},{"state":"TASK_STAGING"}]}]}"#;
        assert_eq!(mesos_works(&answer(state), 1, 1), Ok(()));
        assert_eq!(mesos_works(&answer(state), 2, 0), Err(Some("1 of 2 agents are active".into())));
        assert_eq!(mesos_works(&answer(state), 1, 2), Err(Some("1 of 2 tasks run".into())));
        assert_eq!(mesos_works("HTTP/1.0 307 Temporary Redirect\r\n\r\n", 0, 0), Err(None));
        assert_eq!(mesos_works("", 0, 0), Err(None));
    }

    #[test]
    fn the_active_scheduler_is_the_one_that_is_subscribed() {
        let answer = |body: &str| format!("HTTP/1.0 200 OK\r\n\r\n{body}");
        let one = |active| format!(r#"{{"active":{active},"hostname":"198.18.3.32"}}"#);
        let state = answer(&format!(r#"{{"frameworks":[{}]}}"#, one(true)));
        assert_eq!(scheduler_address(&state).as_deref(), Some("198.18.3.32"));
        assert_eq!(scheduler_address(&state.replace("true", "false")), None);
        assert_eq!(scheduler_address("HTTP/1.0 307 Temporary Redirect\r\n\r\n"), None);
    }
}
