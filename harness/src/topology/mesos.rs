//! Which Mesos the topology runs: the embedded one, or an installed Apache Mesos in the same places.
//!
//! Every flag that Apache Mesos is started with is in [`master_flags`] and [`agent_flags`], and every one may be changed or left
//! out by the configuration's `[mesos]` table. They are the flags that a whole topology of real Mesos 1.12 was brought up with;
//! the times are the topology's own ([`super::config::Timing`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stormbed::config::ApacheConfig;

use super::config::Objection;
use super::plan::{AGENT_PORT, MASTER_PORT, Machine, Plan, Role, STATE_DIR};
use crate::image::MesosLayer;

/// Where Mesos lies in an `image`, when nothing else is said: what `make install` does.
const INSTALLED: &str = "/usr/local";
/// Where its daemons lie: `make install` and packages differ.
const DAEMONS: [&str; 2] = ["sbin", "bin"];
/// Where the programs lie that an agent starts.
const LAUNCHERS: &str = "libexec/mesos";
/// The search path of a container, behind Mesos's own directories.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a Mesos that was linked against Debian's libraries needs beside them. `ldd` on libmesos names another build's.
const LIBRARIES: [&str; 14] = [
    "libapr1",
    "libaprutil1",
    "libarchive13",
    "libcurl4",
    "libgrpc++1.51",
    "libgrpc29",
    "libleveldb1d",
    "libprotobuf32",
    "libre2-9",
    "libsasl2-2",
    "libsasl2-modules",
    "libsnappy1v5",
    "libsvn1",
    "libzookeeper-mt2",
];

/// Whose Mesos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "flavor")]
pub enum Flavor {
    /// `stormd master` and `stormd agent`.
    #[default]
    Embedded,
    /// `mesos-master` and `mesos-agent`.
    Apache,
}

/// A flag's value: text for `--name=text`, true and false for `--name` and `--no-name`. The empty text leaves the flag out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Flag {
    /// A switch.
    Switch(bool),
    /// Everything else; numbers too, as text.
    Text(String),
}

/// Flags by name, without dashes.
pub type Flags = BTreeMap<String, Flag>;

/// The table `[mesos]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "[mesos]")]
pub struct MesosConfig {
    /// Whose Mesos; the rest of the table is for `apache`.
    pub flavor: Flavor,
    /// Directory of an installed Mesos (`sbin` or `bin`, `libexec`, `lib`): on this machine, mounted read-only in the same place; or
    /// in the `image`, where it defaults to `/usr/local`.
    pub prefix: Option<PathBuf>,
    /// Image with an installed Mesos, which is copied into the images of masters and hosts. The engine has it or can pull it.
    pub image: Option<String>,
    /// Debian packages that its libraries need.
    pub packages: Vec<String>,
    /// Flags of every master, over the topology's own.
    pub master_flags: Flags,
    /// Flags of every agent, over the topology's own.
    pub agent_flags: Flags,
}

impl Default for MesosConfig {
    fn default() -> Self {
        Self {
            flavor: Flavor::Embedded,
            prefix: None,
            image: None,
            packages: LIBRARIES.map(str::to_owned).to_vec(),
            master_flags: Flags::new(),
            agent_flags: Flags::new(),
        }
    }
}

impl MesosConfig {
    /// What is laid over our own images; none for the embedded Mesos.
    #[must_use]
    pub fn layer(&self) -> Option<MesosLayer> {
        let copied = self.image.as_ref().map(|image| (image.clone(), self.place().display().to_string()));
        (self.flavor == Flavor::Apache).then(|| MesosLayer { packages: self.packages.clone(), copied })
    }

    /// The directory of this machine that masters and hosts mount.
    #[must_use]
    pub fn mounted(&self) -> Option<&Path> {
        let here = self.flavor == Flavor::Apache && self.image.is_none();
        self.prefix.as_deref().filter(|_| here)
    }

    /// Where Mesos lies inside the containers.
    fn place(&self) -> PathBuf {
        self.prefix.clone().unwrap_or_else(|| INSTALLED.into())
    }

    /// What doesn't fit together in the table, or with what lies under a `prefix` of this machine.
    pub(super) fn objections(&self) -> Vec<Objection> {
        let objection = |key, why: &str, help: &str| Objection { key, why: why.to_owned(), help: help.to_owned() };
        let mut all = self.wrong_flags();
        if self.flavor == Flavor::Embedded {
            let idle: [(&'static [&'static str], bool); 4] = [
                (&["mesos", "prefix"], self.prefix.is_some()),
                (&["mesos", "image"], self.image.is_some()),
                (&["mesos", "master_flags"], !self.master_flags.is_empty()),
                (&["mesos", "agent_flags"], !self.agent_flags.is_empty()),
            ];
            let given = idle.into_iter().filter(|(_, given)| *given);
            all.extend(given.map(|(key, _)| {
                objection(key, "this is for Apache Mesos", "add flavor = \"apache\", or leave it out")
            }));
            return all;
        }
        if self.prefix.is_none() && self.image.is_none() {
            let help = "give prefix = \"<directory of an installed Mesos>\" or image = \"<name>\"";
            all.push(objection(&["mesos", "flavor"], "Apache Mesos has to come from somewhere", help));
            return all;
        }
        let place = self.place();
        if !place.is_absolute() {
            let why = format!("'{}' is not an absolute path", place.display());
            all.push(objection(&["mesos", "prefix"], &why, "give the whole path, from the root"));
        } else if self.mounted().is_some() {
            all.extend(missing_program(&place));
        }
        all
    }

    fn wrong_flags(&self) -> Vec<Objection> {
        let tables: [(&'static [&'static str], &Flags); 2] =
            [(&["mesos", "master_flags"], &self.master_flags), (&["mesos", "agent_flags"], &self.agent_flags)];
        let wrong =
            |name: &&String| !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains(['=', ' ', '-']);
        let object = |(key, flags): (&'static [&'static str], &Flags)| {
            let name = flags.keys().find(wrong)?;
            let why = format!("'{name}' is no flag's name");
            Some(Objection {
                key,
                why,
                help: "write it without dashes: work_dir = \"/x\" stands for --work_dir=/x".to_owned(),
            })
        };
        tables.into_iter().filter_map(object).collect()
    }

    /// Where its libraries lie.
    fn libraries(&self) -> String {
        self.place().join("lib").display().to_string()
    }

    /// `env` becomes the program, so that the supervisor's signals reach it. The libraries are named for a Mesos that was moved since
    /// it was linked.
    fn command(&self, program: &str, mut flags: Flags, over: &Flags) -> Vec<String> {
        flags.extend(over.clone());
        let place = self.place().display().to_string();
        let path: String = DAEMONS.iter().map(|dir| format!("{place}/{dir}:")).collect();
        let start = ["env".to_owned(), format!("PATH={path}{PATH}"), format!("LD_LIBRARY_PATH={}", self.libraries())];
        let words = flags.iter().filter_map(|(name, value)| match value {
            Flag::Switch(true) => Some(format!("--{name}")),
            Flag::Switch(false) => Some(format!("--no-{name}")),
            Flag::Text(text) if text.is_empty() => None,
            Flag::Text(text) => Some(format!("--{name}={text}")),
        });
        start.into_iter().chain([program.to_owned()]).chain(words).collect()
    }
}

/// A program that a Mesos in this directory should have and hasn't.
fn missing_program(place: &Path) -> Option<Objection> {
    let programs =
        [("mesos-master", DAEMONS.as_slice()), ("mesos-agent", &DAEMONS), ("mesos-docker-executor", &[LAUNCHERS])];
    let missing = |(program, dirs): &(&str, &[&str])| !dirs.iter().any(|dir| place.join(dir).join(program).is_file());
    let (program, dirs) = programs.into_iter().find(missing)?;
    Some(Objection {
        key: &["mesos", "prefix"],
        why: format!("no {program} in {} of {}", dirs.join(" or "), place.display()),
        help: "is Mesos installed there?".to_owned(),
    })
}

fn flags<const N: usize>(list: [(&str, String); N]) -> Flags {
    list.into_iter().map(|(name, value)| (name.to_owned(), Flag::Text(value))).collect()
}

/// An agent's executors inherit nothing of its own environment: they have to be told where a Mesos that was moved has its
/// libraries. It doesn't reach the containers of their tasks.
fn executor_environment(config: &MesosConfig) -> String {
    serde_json::json!({ "LD_LIBRARY_PATH": config.libraries() }).to_string()
}

fn launcher_dir(config: &MesosConfig) -> String {
    config.place().join(LAUNCHERS).display().to_string()
}

/// What every master is started with, before the configuration's own flags.
#[must_use]
pub fn master_flags(plan: &Plan, machine: &Machine) -> Flags {
    let timing = &plan.config.timing;
    let masters = plan.of(Role::Master).count();
    flags([
        ("ip", machine.address.to_string()),
        ("hostname", machine.address.to_string()),
        ("port", MASTER_PORT.to_string()),
        ("zk", plan.election()),
        ("zk_session_timeout", format!("{}ms", timing.session_ms)),
        ("quorum", (masters / 2 + 1).to_string()),
        ("work_dir", format!("{STATE_DIR}/mesos-master")),
        ("agent_ping_timeout", format!("{}ms", timing.agent_ping_ms)),
        ("max_agent_ping_timeouts", timing.agent_pings.to_string()),
    ])
}

/// What every agent is started with, before the configuration's own flags. Every directory is named: the defaults lie in a
/// temporary directory that an agent empties at its start.
#[must_use]
pub fn agent_flags(plan: &Plan, machine: &Machine) -> Flags {
    let dir = |name: &str| format!("{STATE_DIR}/mesos-agent/{name}");
    let mut all = flags([
        ("ip", machine.address.to_string()),
        ("hostname", machine.name.clone()),
        ("port", AGENT_PORT.to_string()),
        ("master", plan.election()),
        ("work_dir", dir("work")),
        ("runtime_dir", dir("run")),
        ("fetcher_cache_dir", dir("fetch")),
        ("docker_store_dir", dir("docker-store")),
        ("appc_store_dir", dir("appc-store")),
        ("containerizers", "docker".to_owned()),
        ("launcher", "posix".to_owned()),
        ("launcher_dir", launcher_dir(&plan.config.mesos)),
        ("isolation", "posix/cpu,posix/mem".to_owned()),
        ("executor_environment_variables", executor_environment(&plan.config.mesos)),
        ("resources", plan.agent_resources()),
    ]);
    all.insert("systemd_enable_support".to_owned(), Flag::Switch(false));
    all
}

/// The master on a machine.
#[must_use]
pub fn master(plan: &Plan, machine: &Machine) -> ApacheConfig {
    let config = &plan.config.mesos;
    ApacheConfig {
        listen: SocketAddr::from((machine.address, MASTER_PORT)),
        command: config.command("mesos-master", master_flags(plan, machine), &config.master_flags),
    }
}

/// The agent on a host.
#[must_use]
pub fn agent(plan: &Plan, machine: &Machine) -> ApacheConfig {
    let config = &plan.config.mesos;
    ApacheConfig {
        listen: SocketAddr::from((machine.address, AGENT_PORT)),
        command: config.command("mesos-agent", agent_flags(plan, machine), &config.agent_flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Phase, state::tests::example};
    use crate::topology::TopologyConfig;

    fn plan(mesos: &str) -> Plan {
        let mut state = example(Phase::Starting);
        state.config.mesos = toml::from_str(mesos).expect("a table");
        Plan::new(&state).expect("in range")
    }

    fn check(mesos: &str) -> Result<(), String> {
        let config: MesosConfig = toml::from_str(mesos).expect("a table");
        config.objections().first().map_or(Ok(()), |objection| Err(objection.to_string()))
    }

    #[test]
    fn the_commands_are_those_of_the_documentation() {
        let plan = plan("flavor = 'apache'\nprefix = '/opt/mesos'");
        let on = |name: &str| plan.machine(name).expect("planned").clone();
        insta::assert_snapshot!(master(&plan, &on("master-2")).command.join("\n"));
        insta::assert_snapshot!(agent(&plan, &on("host-1")).command.join("\n"));
    }

    #[test]
    fn every_flag_may_be_changed_added_and_left_out() {
        let plan = plan(
            "flavor = 'apache'\nprefix = '/m'\n[agent_flags]\nlauncher = ''\nresources = 'cpus:9'\nsystemd_enable_support = true\ndocker_mesos_image = 'x'",
        );
        let command = agent(&plan, plan.machine("host-2").expect("planned")).command;
        let has = |word: &str| command.iter().any(|w| w == word);
        assert!(has("--resources=cpus:9") && has("--systemd_enable_support") && has("--docker_mesos_image=x"));
        assert!(!command.iter().any(|w| w.starts_with("--launcher=")), "{command:?}");
    }

    #[test]
    fn a_table_that_cannot_work_is_refused_with_what_would() {
        assert_eq!(check("flavor = 'embedded'"), Ok(()));
        assert!(check("prefix = '/m'").unwrap_err().starts_with("mesos.prefix: this is for Apache Mesos"));
        assert!(check("flavor = 'apache'").unwrap_err().contains("prefix = "));
        assert!(check("flavor = 'apache'\nprefix = 'm'").unwrap_err().contains("absolute"));
        assert_eq!(check("flavor = 'apache'\nimage = 'mesos:1.12'"), Ok(()));
        let flags = "flavor = 'apache'\nimage = 'm'\n[master_flags]\n'--work-dir' = 'x'";
        assert!(check(flags).unwrap_err().contains("without dashes"));
        let dir = tempfile::tempdir().expect("a directory");
        let table = format!("flavor = 'apache'\nprefix = '{}'", dir.path().display());
        assert!(check(&table).unwrap_err().contains("no mesos-master in sbin or bin of"));
        for place in ["bin/mesos-master", "sbin/mesos-agent"] {
            let place = dir.path().join(place);
            std::fs::create_dir_all(place.parent().expect("it has one")).expect("made");
            std::fs::write(place, "").expect("written");
        }
        assert!(check(&table).unwrap_err().contains("no mesos-docker-executor in libexec/mesos"));
    }

    #[test]
    fn the_topology_validates_its_mesos() {
        let config: TopologyConfig = toml::from_str("[mesos]\nflavor = 'apache'").expect("a table");
        assert!(config.validate().is_err_and(|e| e.to_string().starts_with("mesos.flavor: ")));
    }
}
