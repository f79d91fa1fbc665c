//! Whom a part is cut off from: one kind of peer, several of them, or everyone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::words::PEERS;

/// Whom an isolated part can't reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// Nobody at all.
    Everyone,
    /// The ZooKeeper servers.
    #[serde(rename = "zookeeper")]
    ZooKeeper,
    /// The Mesos masters.
    Masters,
    /// The schedulers.
    Frameworks,
    /// The hosts.
    Hosts,
    /// The edge, and with it every client.
    Proxy,
}

/// A set of [`Peers`]. Plans write one of them as a word, several as a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Words", into = "Words")]
pub struct PeerSet(u8);

/// As plans write it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Words {
    One(Peers),
    Several(Vec<Peers>),
}

impl From<Words> for PeerSet {
    fn from(words: Words) -> Self {
        match words {
            Words::One(peers) => peers.into(),
            Words::Several(all) => all.into_iter().collect(),
        }
    }
}

impl From<PeerSet> for Words {
    fn from(set: PeerSet) -> Self {
        let all: Vec<Peers> = set.iter().collect();
        match all.as_slice() {
            [only] => Words::One(*only),
            _ => Words::Several(all),
        }
    }
}

impl From<Peers> for PeerSet {
    fn from(peers: Peers) -> Self {
        Self(1 << peers as u8)
    }
}

impl FromIterator<Peers> for PeerSet {
    fn from_iter<I: IntoIterator<Item = Peers>>(all: I) -> Self {
        all.into_iter().fold(Self(0), |set, peers| Self(set.0 | Self::from(peers).0))
    }
}

impl PeerSet {
    /// Nobody can be reached.
    pub const EVERYONE: Self = Self(1 << Peers::Everyone as u8);

    /// These are in it, by name.
    #[must_use]
    pub fn names(self, peers: Peers) -> bool {
        self.0 & Self::from(peers).0 != 0
    }

    /// These can't be reached: they are in it, or everyone is.
    #[must_use]
    pub fn cuts(self, peers: Peers) -> bool {
        self.names(peers) || self.names(Peers::Everyone)
    }

    /// Those that are in it, in the order of [`PEERS`].
    pub fn iter(self) -> impl Iterator<Item = Peers> {
        PEERS.iter().map(|row| row.peers).filter(move |peers| self.names(*peers))
    }
}

impl fmt::Display for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(|peers| peers.row().word).collect();
        f.write_str(&words.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_written_as_a_word_and_several_as_a_list() {
        let one = PeerSet::from(Peers::Masters);
        let two: PeerSet = [Peers::Masters, Peers::ZooKeeper].into_iter().collect();
        assert_eq!(serde_json::json!([one, two]), serde_json::json!(["masters", ["zookeeper", "masters"]]));
        for set in [one, two, PeerSet::EVERYONE] {
            let text = serde_json::to_string(&set).expect("plain data");
            assert_eq!(serde_json::from_str::<PeerSet>(&text).expect("it was just written"), set);
        }
        assert_eq!(two.to_string(), "zookeeper and masters");
        assert!(two.cuts(Peers::Masters) && !two.cuts(Peers::Proxy) && PeerSet::EVERYONE.cuts(Peers::Proxy));
        assert!(!PeerSet::EVERYONE.names(Peers::Proxy));
    }
}
