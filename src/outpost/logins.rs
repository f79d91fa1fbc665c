//! Fresh logins as a user makes them: from outside to a node with the operator's key, and from there to other nodes by
//! host name, with keys only and strict host-key checking. Nothing is kept between two calls.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ssh2::{Channel, Session};
use tokio::task::spawn_blocking;

use super::protocol::LoginView;
use super::{own_time, text};
use crate::registry::SSH_PORT;

/// A live node accepts within a millisecond.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Logins over one first hop: sshd allows ten channels (`MaxSessions`).
const NAMES_PER_SESSION: usize = 8;
/// The user of both hops; nodes have no other.
const USER: &str = "root";
/// What a login prints: who it is, and its addresses.
const QUESTION: &str = "hostname; ip -4 -o addr show";
/// Options of the second hop. What a login promises is asked for here, not left to the node's own configuration; no
/// connection is shared with an earlier login.
const OPTIONS: &str = "-n -T -o BatchMode=yes -o PreferredAuthentications=publickey -o StrictHostKeyChecking=yes -o ControlPath=none -o ConnectTimeout=5";

type Login = Result<LoginView, String>;

/// Logs in to `from`, and from there to every name, all names at the same time.
///
/// # Errors
/// If the first hop fails.
pub async fn look(
    key: Arc<str>,
    from: Ipv4Addr,
    names: Vec<String>,
    within: Duration,
) -> Result<BTreeMap<String, Login>, String> {
    let sessions = names.chunks(NAMES_PER_SESSION).map(|names| {
        let (key, names) = (Arc::clone(&key), names.to_vec());
        spawn_blocking(move || logins(&key, from, &names, within))
    });
    let mut all = BTreeMap::new();
    for logins in join_all(sessions).await {
        all.extend(logins.map_err(text)??);
    }
    Ok(all)
}

fn logins(key: &str, from: Ipv4Addr, names: &[String], within: Duration) -> Result<Vec<(String, Login)>, String> {
    // Who doesn't let us in in time has refused: the answer must not be lost in the request's own end.
    let end_by = Instant::now() + own_time(within);
    let session = first_hop(key, from, own_time(within)).map_err(|e| format!("first hop to {from}: {e}"))?;
    // All second hops are under way before the first is read.
    let hurry = || session.set_timeout(timeout_ms(end_by.saturating_duration_since(Instant::now())));
    let begun = names.iter().map(|name| {
        hurry();
        (name, begin(&session, name))
    });
    let begun: Vec<_> = begun.collect();
    let ended = begun.into_iter().map(|(name, channel)| {
        hurry();
        (name.clone(), channel.and_then(end))
    });
    Ok(ended.collect())
}

fn first_hop(key: &str, from: Ipv4Addr, within: Duration) -> Result<Session, String> {
    let address = SocketAddr::from((from, SSH_PORT));
    let stream = TcpStream::connect_timeout(&address, CONNECT_MAX).map_err(text)?;
    let mut session = Session::new().map_err(text)?;
    // Per blocking step: a frozen node ends the thread, if later than the request.
    session.set_timeout(timeout_ms(within));
    session.set_tcp_stream(stream);
    session.handshake().map_err(text)?;
    session
        .userauth_pubkey_memory(USER, None, key, None)
        .map_err(|error| format!("the operator's key isn't taken: {}", text(error)))?;
    Ok(session)
}

/// As the session takes it: zero would mean for ever.
fn timeout_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn begin(session: &Session, name: &str) -> Result<Channel, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
        return Err(format!("'{name}' is no host name"));
    }
    let mut channel = session.channel_session().map_err(text)?;
    // Timed there, because here the channels are read one after another.
    let command = format!(
        "begin=$(date +%s%N); ssh {OPTIONS} {name} '{QUESTION}'; code=$?; echo took $(( ($(date +%s%N) - begin) / 1000000 )); exit $code"
    );
    channel.exec(&command).map_err(text)?;
    Ok(channel)
}

fn end(mut channel: Channel) -> Login {
    let (mut output, mut errors) = (String::new(), String::new());
    channel.read_to_string(&mut output).map_err(text)?;
    channel.stderr().read_to_string(&mut errors).map_err(text)?;
    channel.wait_close().map_err(text)?;
    match channel.exit_status().map_err(text)? {
        0 => login(&output),
        code => Err(format!("ssh exited with {code}: {}", errors.trim())),
    }
}

fn login(output: &str) -> Login {
    let bad = || format!("expected a host name, addresses and a time, got '{output}'");
    let mut lines = output.lines();
    let hostname = lines.next().ok_or_else(bad)?.trim().to_owned();
    let (mut addresses, mut took_ms) = (Vec::new(), None);
    for line in lines {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["took", ms] => took_ms = ms.parse().ok(),
            [_, "lo", ..] => {}
            [_, _, "inet", cidr, ..] => {
                let address = cidr.split('/').next().and_then(|a| a.parse().ok());
                addresses.push(address.ok_or_else(bad)?);
            }
            _ => {}
        }
    }
    Ok(LoginView { hostname, addresses, took_ms: took_ms.ok_or_else(bad)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_tells_where_it_landed() {
        let output = "storm-s3\n1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n61: cali0    inet 198.19.0.13/32 scope global cali0\\       valid_lft forever preferred_lft forever\ntook 214\n";
        let expected =
            LoginView { hostname: "storm-s3".into(), addresses: vec![Ipv4Addr::new(198, 19, 0, 13)], took_ms: 214 };
        assert_eq!(login(output), Ok(expected));
        assert!(login("").is_err());
        assert!(login("storm-s3\n").is_err());
    }

    #[tokio::test]
    async fn a_first_hop_that_fails_is_named() {
        let look = look("".into(), Ipv4Addr::new(127, 0, 9, 9), vec!["a".into()], CONNECT_MAX);
        assert!(look.await.unwrap_err().contains("127.0.9.9"));
    }
}
