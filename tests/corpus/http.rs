//! Requests as they were sent, on bare connections: what a client library would tidy up is what is compared.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::case::Request;

/// A server that says nothing for so long says nothing at all.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Larger heads are nobody's.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection to a master.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// What was read and not yet used.
    rest: Vec<u8>,
}

/// First lines of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// Status.
    pub status: u16,
    /// The words behind it.
    pub reason: String,
    /// Names as they were written, and values.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether the body comes in chunks.
    pub fn is_chunked(&self) -> bool {
        self.header("Transfer-Encoding") == Some("chunked")
    }
}

/// What comes next of a chunked body.
#[derive(Debug)]
pub enum Chunk {
    /// Data.
    Data(Vec<u8>),
    /// The end, as the recordings call it.
    End(&'static str),
}

/// The bytes of a request.
pub fn bytes(request: &Request, address: &str) -> Vec<u8> {
    let body = match (&request.body, &request.body_base64) {
        (_, Some(text)) => BASE64_STANDARD.decode(text).unwrap_or_default(),
        (Value::Null, None) => Vec::new(),
        (Value::String(text), None) => text.clone().into_bytes(),
        (json, None) => json.to_string().into_bytes(),
    };
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    let given = |name: &str| request.headers.keys().any(|given| given.eq_ignore_ascii_case(name));
    if !given("Host") {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    if !given("Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.into_bytes(), body].concat()
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub async fn open(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, rest: Vec::new() })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As the system says.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.socket.read_buf(&mut self.rest).await? > 0)
    }

    /// Reads up to and with a mark.
    async fn until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.rest.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.rest.drain(..at + mark.len()).collect());
            }
            if self.rest.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("an endless line"));
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// As the system says.
    pub async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.rest.len() < length {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// Reads the first lines of an answer.
    ///
    /// # Errors
    /// As the system says; also if they aren't HTTP.
    pub async fn head(&mut self) -> io::Result<Head> {
        let text = tokio::time::timeout(ANSWER_MAX, self.until(b"\r\n\r\n"))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_MAX:?}")))??;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let no_http = || io::Error::other(format!("not HTTP: {text}"));
        let first = lines.next().ok_or_else(no_http)?;
        let mut words = first.splitn(3, ' ').skip(1);
        let status = words.next().and_then(|status| status.parse().ok()).ok_or_else(no_http)?;
        let reason = words.next().unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Head { status, reason, headers: lines.filter_map(header).collect() })
    }

    /// Reads the whole body that belongs to a head.
    ///
    /// # Errors
    /// As the system says; also if it ends too early.
    pub async fn body(&mut self, head: &Head, method: &str) -> io::Result<Vec<u8>> {
        if method == "HEAD" || head.status == 204 {
            return Ok(Vec::new());
        }
        if !head.is_chunked() {
            let length = head.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
            return self.exactly(length).await;
        }
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Chunk::Data(data) => body.extend(data),
                Chunk::End("last-chunk") => return Ok(body),
                Chunk::End(how) => return Err(io::Error::other(how)),
            }
        }
    }

    /// Reads the next chunk.
    pub async fn chunk(&mut self) -> Chunk {
        match self.chunk_or_end().await {
            Ok(data) if data.is_empty() => Chunk::End("last-chunk"),
            Ok(data) => Chunk::Data(data),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Chunk::End("eof"),
            Err(_) => Chunk::End("reset"),
        }
    }

    async fn chunk_or_end(&mut self) -> io::Result<Vec<u8>> {
        let line = self.until(b"\r\n").await?;
        let length = String::from_utf8_lossy(&line);
        let length = usize::from_str_radix(length.trim(), 16).map_err(io::Error::other)?;
        let mut data = self.exactly(length + 2).await?;
        data.truncate(length);
        Ok(data)
    }

    /// Whether the other side closes within a moment.
    pub async fn is_closed_soon(&mut self) -> bool {
        let closed = async { matches!(self.more().await, Ok(false)) };
        tokio::time::timeout(Duration::from_secs(1), closed).await.unwrap_or(false)
    }

    /// Ends with a reset instead of an orderly close.
    ///
    /// # Errors
    /// As the system says.
    pub fn reset(self) -> io::Result<()> {
        self.socket.set_zero_linger()
    }
}
