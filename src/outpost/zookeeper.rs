//! The ZooKeeper ensemble: every server's own word by its `srvr` command, and the election directories through a session
//! with one of the servers. A session is kept with each, so that one that falls silent costs a single look.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use zookeeper_client::{Client, Error};

use super::protocol::{ZooKeeperServer, ZooKeeperView};
use super::text;
use crate::mesos::zk;

/// `srvr` and reads are answered from memory; a frozen server must not cost the tick more than this.
const LOOK_MAX: Duration = Duration::from_millis(800);
/// Longer than any pause of this process on a busy machine; a server that comes back is asked again after it at the latest.
const SESSION: Duration = Duration::from_secs(4);
/// Between two attempts to get a session.
const PAUSE: Duration = Duration::from_millis(500);

/// A look at an ensemble.
#[derive(Debug)]
pub struct Ensemble {
    servers: BTreeMap<String, String>,
    masters_path: String,
    schedulers_path: String,
    /// One with each server, in the order of their names.
    sessions: Vec<watch::Receiver<Option<Client>>>,
    /// The one that elections are read through.
    asked: AtomicUsize,
    _keepers: Vec<AbortOnDropHandle<()>>,
}

impl Ensemble {
    /// Looks at these servers (name → `ip:port`) and these elections' directories. Sessions are sought from now on.
    #[must_use]
    pub fn new(servers: BTreeMap<String, String>, masters_path: String, schedulers_path: String) -> Self {
        let session = |address: &String| {
            let (sender, session) = watch::channel(None);
            let address = address.clone();
            let keeper = tokio::spawn(async move { keep_session(&address, &sender).await });
            (session, AbortOnDropHandle::new(keeper))
        };
        let (sessions, keepers) = servers.values().map(session).unzip();
        Self { servers, masters_path, schedulers_path, sessions, asked: AtomicUsize::new(0), _keepers: keepers }
    }

    /// Asks every server and reads both elections, all at the same time.
    pub async fn look(&self) -> ZooKeeperView {
        let servers = join_all(self.servers.iter().map(|(name, address)| async move {
            let answer = timeout(LOOK_MAX, srvr(address)).await;
            (name.clone(), answer.unwrap_or_else(|_| Err(late())))
        }));
        let asked = self.asked.load(Ordering::Relaxed);
        let (number, session) = self.session(asked);
        let masters = timeout(LOOK_MAX, election(session.as_ref(), &self.masters_path, address));
        let schedulers = timeout(LOOK_MAX, election(session.as_ref(), &self.schedulers_path, instance));
        let (servers, masters, schedulers) = tokio::join!(servers, masters, schedulers);
        if !matches!((&masters, &schedulers), (Ok(Ok(_)), Ok(Ok(_)))) {
            // The next look asks another server; of looks that run at the same time one says so.
            let _ = self.asked.compare_exchange(asked, number + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
        ZooKeeperView {
            servers: servers.into_iter().collect(),
            election: masters.unwrap_or_else(|_| Err(late())),
            schedulers: schedulers.unwrap_or_else(|_| Err(late())),
        }
    }

    /// The session to read through, and its number: the first that there is from the one that was last good on.
    fn session(&self, from: usize) -> (usize, Option<Client>) {
        let number = self.sessions.len();
        let all = (from..from + number).map(|at| (at, self.sessions[at % number].borrow().clone()));
        all.into_iter().find(|(_, session)| session.is_some()).unwrap_or((from, None))
    }
}

/// The candidates in a directory, smallest sequence first, with what each has written about itself.
async fn election(
    session: Option<&Client>,
    directory: &str,
    read: fn(&[u8]) -> Result<String, String>,
) -> Result<Vec<(String, String)>, String> {
    let client = session.ok_or("no session with any ZooKeeper server")?;
    let children = match client.list_children(directory).await {
        Ok(children) => children,
        // Nobody has ever been there.
        Err(Error::NoNode) => return Ok(Vec::new()),
        Err(error) => return Err(text(error)),
    };
    let mut candidates: Vec<_> =
        children.into_iter().filter_map(|child| Some((zk::sequence(&child)?, child))).collect();
    candidates.sort();
    let reads = candidates.into_iter().map(|(_, child)| {
        let path = format!("{directory}/{child}");
        async move {
            match client.get_data(&path).await {
                Ok((data, _)) => Some(read(&data).map(|read| (child, read))),
                // It resigned between the two reads.
                Err(Error::NoNode) => None,
                Err(error) => Some(Err(text(error))),
            }
        }
    });
    join_all(reads).await.into_iter().flatten().collect()
}

async fn keep_session(server: &str, sender: &watch::Sender<Option<Client>>) {
    loop {
        match Client::connector().with_session_timeout(SESSION).connect(server).await {
            Ok(client) => {
                let mut states = client.state_watcher();
                sender.send_replace(Some(client));
                // `Expired` is final: this client never connects again.
                while !states.changed().await.is_terminated() {}
                sender.send_replace(None);
            }
            Err(error) => tracing::debug!(%error, "no ZooKeeper session"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn srvr(address: &str) -> Result<ZooKeeperServer, String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"srvr").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    server(&ask.await.map_err(|error| format!("{address}: {error}"))?)
}

fn server(srvr: &str) -> Result<ZooKeeperServer, String> {
    let field = |name: &str| {
        let value = srvr.lines().find_map(|line| line.strip_prefix(name));
        value.map(str::trim).ok_or_else(|| {
            // "This ZooKeeper instance is not currently serving requests" while it looks for a leader.
            format!("srvr says '{}', no '{name}'", srvr.lines().next().unwrap_or_default())
        })
    };
    let zxid = field("Zxid: 0x")?;
    let zxid = u64::from_str_radix(zxid, 16).map_err(|e| format!("Zxid 0x{zxid}: {e}"))?;
    Ok(ZooKeeperServer { mode: field("Mode:")?.to_owned(), epoch: zxid >> 32 })
}

/// `ip:port` of a candidate's `MasterInfo` in JSON.
fn address(data: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct MasterInfo {
        address: Address,
    }
    #[derive(Deserialize)]
    struct Address {
        ip: String,
        port: u16,
    }
    let MasterInfo { address } = serde_json::from_slice(data)
        .map_err(|error| format!("a candidate's data is no MasterInfo in JSON: {error}"))?;
    Ok(format!("{}:{}", address.ip, address.port))
}

/// The machine of a candidate in the schedulers' election.
fn instance(data: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Candidate {
        instance: String,
    }
    let Candidate { instance } = serde_json::from_slice(data)
        .map_err(|error| format!("a scheduler's data names no instance in JSON: {error}"))?;
    Ok(instance)
}

fn late() -> String {
    format!("no answer within {LOOK_MAX:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_epoch_are_read_from_srvr() {
        let srvr = "Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2023-10-15 21:26 UTC\nLatency min/avg/max: 0/0.6667/9\nReceived: 38\nSent: 37\nConnections: 2\nOutstanding: 0\nZxid: 0x300000011\nMode: follower\nNode count: 7\n";
        let expected = ZooKeeperServer { mode: "follower".into(), epoch: 3 };
        assert_eq!(server(srvr), Ok(expected));
        let electing = "This ZooKeeper instance is not currently serving requests\n";
        assert!(server(electing).unwrap_err().contains("not currently serving"));
    }

    #[test]
    fn a_candidates_address_is_taken_from_its_data() {
        let data = br#"{"address":{"hostname":"m1","ip":"10.0.0.11","port":5050},"hostname":"m1","id":"5a","ip":184549386,"pid":"master@10.0.0.11:5050","port":5050,"version":"1.11.0"}"#;
        assert_eq!(address(data), Ok("10.0.0.11:5050".into()));
        assert!(address(b"master@10.0.0.11:5050").is_err());
    }

    #[test]
    fn a_scheduler_names_its_machine() {
        assert_eq!(instance(br#"{"instance":"framework-1","ip":"198.18.0.31"}"#), Ok("framework-1".into()));
        assert!(instance(br#"{"ip":"198.18.0.31"}"#).is_err());
    }

    #[tokio::test]
    async fn an_ensemble_that_is_not_there_is_told_within_the_bound() {
        let servers = BTreeMap::from([("zk-1".to_owned(), "127.0.0.1:1".to_owned())]);
        let view = Ensemble::new(servers, "/mesos".into(), "/stormbed/election".into()).look().await;
        assert!(view.servers["zk-1"].is_err() && view.election.is_err() && view.schedulers.is_err());
    }
}
