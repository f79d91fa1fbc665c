//! Routes and BGP sessions of this machine, without starting a process: the kernel's table from `/proc/net/route`, BIRD's
//! sessions over its control socket.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{Route, RoutesView};
use crate::config::parse_cidr;

/// Debian's place of BIRD's control socket.
pub const BIRD_SOCKET: &str = "/run/bird/bird.ctl";
/// BIRD answers from memory.
const BIRD_MAX: Duration = Duration::from_millis(500);
/// `RTF_UP`, `RTF_GATEWAY`, `RTF_REJECT` of `linux/route.h`.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;

/// Routes to addresses of the pool, and BGP sessions.
///
/// # Errors
/// If the table can't be read or BIRD doesn't answer.
pub async fn look(pool: &str) -> Result<RoutesView, String> {
    let table =
        std::fs::read_to_string("/proc/net/route").map_err(|error| format!("cannot read /proc/net/route: {error}"))?;
    let routes = pool_routes(&table, pool)?;
    let protocols = timeout(BIRD_MAX, ask_bird(Path::new(BIRD_SOCKET), "show protocols"))
        .await
        .map_err(|_| format!("BIRD did not answer within {BIRD_MAX:?}"))?
        .map_err(|error| format!("cannot ask BIRD at {BIRD_SOCKET}: {error}; does it run?"))?;
    Ok(RoutesView { routes, bgp: sessions(&protocols) })
}

/// The /32 routes to addresses of the pool in the text of `/proc/net/route`: numbers in hexadecimal, as the machine stores them.
fn pool_routes(table: &str, pool: &str) -> Result<Vec<Route>, String> {
    let (base, bits) = parse_cidr(pool)?;
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    let address = |hex: &str| u32::from_str_radix(hex, 16).map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    let route = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[dev, to, via, flags, _, _, _, netmask, ..] = columns.as_slice() else {
            return None;
        };
        let (to, via) = (address(to).ok()?, address(via).ok()?);
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let in_pool = u32::from(to) & mask == u32::from(base);
        let usable = flags & UP != 0 && flags & REJECT == 0;
        (in_pool && usable && netmask == "FFFFFFFF").then(|| Route {
            to,
            via: (flags & GATEWAY != 0).then_some(via),
            dev: dev.to_owned(),
        })
    };
    let mut routes: Vec<Route> = table.lines().skip(1).filter_map(route).collect();
    routes.sort_by_key(|route| route.to);
    Ok(routes)
}

/// One command over BIRD's control socket. Lines of an answer begin with a code and `-` (more follow), a code and a blank (the
/// last one), or a blank (the code before goes on).
async fn ask_bird(socket: &Path, command: &str) -> std::io::Result<Vec<String>> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    let mut line = String::new();
    // The greeting: `0001 BIRD 2.0.12 ready.`
    stream.read_line(&mut line).await?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let coded = line.starts_with(|c: char| c.is_ascii_digit());
        if coded && line.as_bytes().get(4) == Some(&b' ') {
            return Ok(answer);
        }
        let text = line.get(if coded { 5 } else { 1 }..).unwrap_or_default();
        answer.push(text.trim_end().to_owned());
    }
}

/// BGP sessions in the answer to `show protocols`: name → what the session is doing, or BIRD's own state where it tells no more.
fn sessions(protocols: &[String]) -> BTreeMap<String, String> {
    let session = |line: &String| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[name, "BGP", _, state, ref rest @ ..] = columns.as_slice() else {
            return None;
        };
        // After the state comes its time, in one word or two, then the info.
        let info = rest.iter().find(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
        Some((name.to_owned(), (*info.unwrap_or(&state)).to_owned()))
    };
    protocols.iter().filter_map(session).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixListener;

    use super::*;

    /// `198.19.0.10` and `.12` local and by way of `198.18.0.33`, a default route, the underlay, a blackhole in the pool.
    const TABLE: &str = "Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010012C6	0003	0	0	0	00000000	0	0	0
eth0	000012C6	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	0C0013C6	210012C6	0007	0	0	32	FFFFFFFF	0	0	0
cali0a1b2c3d4e5	0A0013C6	00000000	0005	0	0	0	FFFFFFFF	0	0	0
*	0F0013C6	00000000	0205	0	0	0	FFFFFFFF	0	0	0
eth0	0C0113C6	210012C6	0007	0	0	32	FFFFFFFF	0	0	0
";

    #[test]
    fn only_usable_routes_to_the_pool_count() {
        let routes = pool_routes(TABLE, "198.19.0.0/24").unwrap();
        let local = Route { to: Ipv4Addr::new(198, 19, 0, 10), via: None, dev: "cali0a1b2c3d4e5".into() };
        let remote =
            Route { to: Ipv4Addr::new(198, 19, 0, 12), via: Some(Ipv4Addr::new(198, 18, 0, 33)), dev: "eth0".into() };
        assert_eq!(routes, [local, remote]);
        assert!(pool_routes(TABLE, "nonsense").is_err());
    }

    const ANSWER: &str = "2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     13:54:12.123  
 kernel1    Kernel     master4    up     13:54:12.123  
 host_2     BGP        ---        up     2026-11-20 13:54:14  Established   
 host_3     BGP        ---        start  13:54:12.123  Active        Socket: Connection refused
 edge       BGP        ---        down   13:54:12.123  
0000 
";

    #[tokio::test]
    async fn sessions_are_read_over_the_control_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("bird.ctl");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"0001 BIRD 2.0.12 ready.\n").await.unwrap();
            let mut command = [0; 15];
            stream.read_exact(&mut command).await.unwrap();
            assert_eq!(&command, b"show protocols\n");
            stream.write_all(ANSWER.as_bytes()).await.unwrap();
        });
        let lines = ask_bird(&socket, "show protocols").await.unwrap();
        let expected = [("edge", "down"), ("host_2", "Established"), ("host_3", "Active")];
        let expected = expected.map(|(name, state)| (name.to_owned(), state.to_owned()));
        assert_eq!(sessions(&lines), BTreeMap::from(expected));
    }
}
