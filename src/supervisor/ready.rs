//! Looks for a part's sign of readiness.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::plan::Sign;
use crate::mounts::{TABLE, is_mounted};

/// Between two looks; a look costs a system call or two.
const LOOK: Duration = Duration::from_millis(50);
/// An answer that takes longer is none.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Inode of a FUSE file system's root.
const ROOT_INODE: u64 = 1;

/// Returns when the sign shows. Unbounded: the caller drops it when the part ends.
pub async fn shown(sign: &Sign) {
    while !matches!(tokio::time::timeout(ANSWER_MAX, look(sign)).await, Ok(true)) {
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(sign: &Sign) -> bool {
    match sign {
        Sign::Started => true,
        Sign::Sockets(paths) => {
            for path in paths {
                if UnixStream::connect(path).await.is_err() {
                    return false;
                }
            }
            true
        }
        Sign::Port(address) => TcpStream::connect(address).await.is_ok(),
        Sign::Engine(socket) => engine_answers(socket).await.unwrap_or(false),
        Sign::Mounted(point, kind) => {
            std::fs::read_to_string(TABLE).is_ok_and(|table| is_mounted(&table, point, kind))
                && root_inode(point).await == Some(ROOT_INODE)
        }
    }
}

async fn engine_answers(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}

/// A FUSE client mounts before it knows whether its server has the volume; only one that answers has a root. Asked by a program of its own,
/// because a question to a server that hangs can be taken back only by killing who asks.
async fn root_inode(point: &Path) -> Option<u64> {
    let answer = tokio::process::Command::new("stat")
        .args(["--format", "%i"])
        .arg(point)
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    String::from_utf8_lossy(&answer.stdout).trim().parse().ok()
}
