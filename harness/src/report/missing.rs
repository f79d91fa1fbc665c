//! An acknowledged item of the ledger that wasn't there at the end, and where it was looked for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::outpost::traces::FileTrace;

/// An acknowledged item that wasn't there at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// `etcd`, `file`, `notebook`.
    pub kind: String,
    /// Its name.
    pub item: String,
    /// The machine through which it was written; none through the proxy.
    pub through: Option<String>,
    /// Begin of the write, on the run's clock.
    pub began: Millis,
    /// When it was acknowledged.
    pub ended: Millis,
    /// Of a file: what each host knows of it.
    pub hosts: BTreeMap<String, Result<Trace, String>>,
}

/// What one host knows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// When the host's client of the volume started, on the run's clock; none while it doesn't run, or before the run.
    pub mount_began: Option<Millis>,
    /// On its brick and through its mount.
    pub file: FileTrace,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (acknowledged at {}", self.item, self.ended)?;
        if let Some(machine) = &self.through {
            write!(f, " through {machine}")?;
            if let Some(Ok(Trace { mount_began: Some(mounted), .. })) = self.hosts.get(machine) {
                write!(f, " whose client of the volume started at {mounted}")?;
            }
        }
        if !self.hosts.is_empty() {
            let brick = self.hosts_where(|file| matches!(file.brick, Ok(Some(_))));
            let nameless = self.hosts_where(|file| !file.nameless.is_empty());
            let shown = self.hosts_where(|file| file.mounted == Ok(true));
            write!(
                f,
                "; on the brick of {brick}, without its name on that of {nameless}, shown by the mount of {shown}"
            )?;
        }
        for (host, why) in self.hosts.iter().filter_map(|(host, known)| Some((host, known.as_ref().err()?))) {
            write!(f, "; {host} doesn't tell: {why}")?;
        }
        write!(f, ")")
    }
}

impl Missing {
    fn hosts_where(&self, has: impl Fn(&FileTrace) -> bool) -> String {
        let known = self.hosts.iter().filter(|(_, known)| known.as_ref().is_ok_and(|trace| has(&trace.file)));
        let names: Vec<&str> = known.map(|(host, _)| host.as_str()).collect();
        if names.is_empty() { "no host".to_owned() } else { names.join(" and ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_was_looked_for_is_told() {
        let file = |brick: Option<BTreeMap<String, String>>| FileTrace {
            brick: Ok(brick),
            directory: Ok(BTreeMap::new()),
            nameless: vec![],
            mounted: Ok(false),
        };
        let trace = |file| Ok(Trace { mount_began: Some(Millis(59_000)), file });
        let hosts = [
            ("host-1", trace(file(None))),
            ("host-2", trace(file(Some(BTreeMap::new())))),
            ("host-3", Err("no outpost".to_owned())),
        ];
        let missing = Missing {
            kind: "file".into(),
            item: "f000046".into(),
            through: Some("host-1".into()),
            began: Millis(61_000),
            ended: Millis(61_200),
            hosts: hosts.into_iter().map(|(host, known)| (host.to_owned(), known)).collect(),
        };
        insta::assert_snapshot!(missing);
        let put = Missing { kind: "etcd".into(), through: None, hosts: BTreeMap::new(), ..missing };
        assert_eq!(put.to_string(), "f000046 (acknowledged at 61.200s)");
    }
}
