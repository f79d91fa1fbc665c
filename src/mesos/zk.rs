//! ZooKeeper as Mesos uses it: `zk://` URLs, sessions, and the children of an election.
//!
//! An election is a directory of ephemeral sequential nodes. The smallest sequence number leads; the label before the
//! number doesn't matter, and children whose last part isn't a number aren't candidates (`log_replicas`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zookeeper_client::{Acls, Client, CreateMode, Error, StateWatcher};

/// Pause before an operation is tried again that failed with the connection: long enough not to spin while all servers
/// are down, short against every session timeout.
pub(crate) const RETRY_MS: u64 = 200;

/// How often in a session's timeout the servers are asked to confirm it.
const CONFIRMATIONS: u32 = 10;

/// A text that isn't `zk://host:port,…/path`.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not a ZooKeeper URL: {why}; expected zk://host:port,host:port/path")]
pub struct ZkUrlError {
    text: String,
    why: &'static str,
}

/// `zk://host:port,host:port/path`: an ensemble and a directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZkUrl {
    /// `host:port,host:port`.
    pub servers: String,
    /// `/path` without a slash at the end.
    pub path: String,
}

impl FromStr for ZkUrl {
    type Err = ZkUrlError;

    fn from_str(text: &str) -> Result<Self, ZkUrlError> {
        let bad = |why| ZkUrlError { text: text.to_owned(), why };
        let rest = text.strip_prefix("zk://").ok_or_else(|| bad("the scheme is not zk"))?;
        let (servers, path) = rest.split_once('/').ok_or_else(|| bad("it has no path"))?;
        if servers.contains('@') {
            return Err(bad("digest authentication is not supported"));
        }
        if servers.is_empty() || servers.split(',').any(str::is_empty) {
            return Err(bad("a server's name is empty"));
        }
        let path = path.trim_end_matches('/');
        if path.split('/').any(str::is_empty) {
            return Err(bad("a part of its path is empty"));
        }
        Ok(Self { servers: servers.to_owned(), path: format!("/{path}") })
    }
}

impl fmt::Display for ZkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zk://{}{}", self.servers, self.path)
    }
}

impl ZkUrl {
    /// The same ensemble, one directory deeper.
    #[must_use]
    pub fn join(&self, child: &str) -> Self {
        Self { servers: self.servers.clone(), path: format!("{}/{child}", self.path) }
    }

    /// Opens a session and makes sure that the directory exists (Mesos: every participant creates it, with an open ACL).
    ///
    /// # Errors
    /// If no server answers within about the session timeout, or the directory can't be created.
    pub async fn open(&self, session_timeout: Duration) -> Result<Client, Error> {
        let client = Client::connector().with_session_timeout(session_timeout).connect(&self.servers).await?;
        let directory = CreateMode::Persistent.with_acls(Acls::anyone_all());
        client.mkdir(&self.path, &directory).await?;
        Ok(client)
    }

    /// As [`ZkUrl::open`], tried until it succeeds: without a session none of our programs has anything else to do, so the
    /// only bound is that the caller drops the future.
    pub async fn open_patiently(&self, session_timeout: Duration) -> Client {
        loop {
            match self.open(session_timeout).await {
                Ok(client) => return client,
                Err(error) => tracing::warn!(url = %self, %error, "no ZooKeeper session yet"),
            }
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        }
    }
}

/// Returns when a session is over: ended by the servers, or not confirmed by them for its timeout. They end a session so long
/// after they last heard of it, and tell so only when they are reached again, when others may long have acted on it; so, as in
/// Mesos, nobody waits to be told. A broken connection is noticed late, too (by the client's library after two fifths of the
/// timeout), so what counts is when the last question was *sent* that was answered: the servers have heard of us since then.
pub async fn ended(client: &Client, path: &str) {
    tokio::select! {
        () = terminated(client.state_watcher()) => {}
        () = unconfirmed(client, path) => {}
    }
}

/// Returns when the session is known to have ended.
pub(super) async fn terminated(mut states: StateWatcher) {
    while !states.state().is_terminated() {
        states.changed().await;
    }
}

/// Asks again and again; returns when no answer counts any more.
async fn unconfirmed(client: &Client, path: &str) {
    let timeout = client.session_timeout();
    let mut asked = Instant::now();
    let mut until = asked + timeout;
    while Instant::now() < until {
        // Only the leader of the servers answers it: one that was cut off from the others can't confirm a session.
        if let Ok(Ok(())) = tokio::time::timeout_at(until, client.sync(path)).await {
            until = asked + timeout;
        }
        sleep_until(until.min(asked + timeout / CONFIRMATIONS)).await;
        asked = Instant::now();
    }
}

/// The sequence number of a candidate: the last part of `label_0000000007`, which must be a signed 32-bit number.
#[must_use]
pub fn sequence(child: &str) -> Option<i32> {
    child.rsplit('_').next()?.parse().ok()
}

/// The child that leads: the one with the smallest sequence number.
#[must_use]
pub fn leading(children: &[String]) -> Option<&str> {
    let candidates = children.iter().filter_map(|child| Some((sequence(child)?, child.as_str())));
    candidates.min().map(|(_, child)| child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_ensemble_and_a_path() {
        let url: ZkUrl = "zk://a:2181,b:2181/mesos/x/".parse().unwrap();
        assert_eq!(url.servers, "a:2181,b:2181");
        assert_eq!(url.path, "/mesos/x");
        assert_eq!(url.to_string(), "zk://a:2181,b:2181/mesos/x");
        assert_eq!(url.join("y").path, "/mesos/x/y");
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, why) in [
            ("http://a/mesos", "scheme"),
            ("zk://a:2181", "no path"),
            ("zk://a:2181/", "empty"),
            ("zk://a:2181//x", "empty"),
            ("zk:///mesos", "server"),
            ("zk://a,,b/mesos", "server"),
            ("zk://u:p@a/mesos", "authentication"),
        ] {
            let error = text.parse::<ZkUrl>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
    }

    /// The znodes of the recording `masters-znodes`, and the older labels.
    #[test]
    fn the_smallest_number_leads_whatever_its_label() {
        let children =
            ["log_replicas", "json.info_0000000003", "info_0000000002", "json.info_0000000010"].map(str::to_owned);
        assert_eq!(leading(&children), Some("info_0000000002"));
        assert_eq!(sequence("0000000001"), Some(1));
        assert_eq!(sequence("json.info_2147483648"), None);
        assert_eq!(leading(&["log_replicas".to_owned()]), None);
    }
}
