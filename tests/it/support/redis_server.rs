//! A Redis of the test's own, that it may freeze, kill and start again.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

/// A `redis-server` that dies with this value.
pub struct RedisServer {
    /// Where it listens.
    pub url: String,
    pub port: u16,
    arguments: Vec<String>,
    /// Its own.
    pub folder: PathBuf,
    child: Child,
}

impl RedisServer {
    /// One that holds everything in memory. Returns when it answers.
    pub async fn start() -> Self {
        Self::start_with(|port, folder| in_memory(port, folder, &[])).await
    }

    /// One with these arguments, made from its port and a folder of its own.
    pub async fn start_with(arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        // The port is free now; should somebody else be quicker, the next one is tried.
        for _ in 0..10 {
            let port = free_port();
            let folder = std::env::temp_dir().join(format!("payonce-redis-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            let arguments = arguments(port, &folder);
            if let Some(server) = Self::start_on(port, arguments, folder).await {
                return server;
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    /// One that also listens with TLS, on this second port, and shows the `certificate.pem` in its folder.
    pub async fn start_with_tls() -> (Self, u16) {
        let tls = free_port();
        let server = Self::start_with(|port, folder| {
            let config = folder.join("openssl.cnf");
            let text = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=localhost\n\
                        [ext]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
            std::fs::write(&config, text).expect("openssl.cnf");
            let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
            let made = Command::new("openssl")
                .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-config"])
                .args([&config, Path::new("-keyout"), &key, Path::new("-out"), &certificate])
                .stderr(Stdio::null())
                .status();
            assert!(made.expect("openssl runs").success());
            let (tls, key, certificate) =
                (tls.to_string(), key.display().to_string(), certificate.display().to_string());
            let more = ["--tls-port", &tls, "--tls-cert-file", &certificate, "--tls-key-file", &key];
            in_memory(port, folder, &[&more[..], &["--tls-auth-clients", "no"]].concat())
        });
        (server.await, tls)
    }

    async fn start_on(port: u16, arguments: Vec<String>, folder: PathBuf) -> Option<Self> {
        let child = launch(&arguments)?;
        let mut server = Self { url: format!("redis://127.0.0.1:{port}"), port, arguments, folder, child };
        let deadline = Instant::now() + Duration::from_secs(10);
        // Its own process must answer, not another server that got the port.
        while server.answering_process().await != Some(server.child.id()) {
            let ended = server.child.try_wait().expect("the child's state").is_some();
            if ended || Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(server)
    }

    async fn answering_process(&self) -> Option<u32> {
        let client = redis::Client::open(self.url.as_str()).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let info: redis::InfoDict = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
        info.get("process_id")
    }

    /// A connection of the test's own, with patience.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).expect("a URL");
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(10)))
            .set_response_timeout(Some(Duration::from_secs(10)));
        client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection to Redis")
    }

    /// Sends one command and returns what Redis said as text, or nothing when it refused.
    pub async fn text(&self, words: &str) -> String {
        let client = redis::Client::open(self.url.as_str()).expect("a URL");
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return String::new() };
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().expect("a command"));
        words.for_each(|word| _ = command.arg(word));
        command.query_async(&mut connection).await.unwrap_or_default()
    }

    /// Sends one command, given as in `redis-cli`, and returns what Redis said.
    pub async fn command(&self, words: &str) -> redis::Value {
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().expect("a command"));
        words.for_each(|word| _ = command.arg(word));
        command.query_async(&mut self.connection().await).await.expect("an answer from Redis")
    }

    /// From now on it holds its connections and answers nothing.
    pub async fn freeze(&self) {
        self.signal("-STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        // The third field is the state; the second, in brackets, has no space in it here.
        while std::fs::read_to_string(&stat).is_ok_and(|s| s.split(' ').nth(2) != Some("T")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// It goes on where it was.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Kills it: connections break, new ones are refused.
    pub fn kill(&mut self) {
        self.child.kill().expect("to kill redis-server");
        self.child.wait().expect("its end");
    }

    /// Starts it again, empty, where it was.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = launch(&self.arguments).expect("redis-server");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.answering_process().await != Some(self.child.id()) {
            assert!(Instant::now() < deadline, "redis-server starts on its old port");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(done.expect("`kill` runs").success(), "kill {signal}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Works on a frozen one as well; it may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free now, with one for a cluster's bus 10,000 above it.
fn free_port() -> u16 {
    loop {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("a local address").port();
        if port.checked_add(10_000).is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

/// The arguments of a server that writes nothing down, and some more.
pub fn in_memory(port: u16, folder: &Path, more: &[&str]) -> Vec<String> {
    let (port, folder) = (port.to_string(), folder.display().to_string());
    ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &folder]
        .iter()
        .chain(more)
        .map(|&argument| argument.to_owned())
        .collect()
}

fn launch(arguments: &[String]) -> Option<Child> {
    Command::new("redis-server")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// The URL of something that takes every command but SET, to which it says this.
pub fn server_that_says(refusal: &'static str) -> String {
    let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("redis://{}", door.local_addr().expect("a local address"));
    std::thread::spawn(move || {
        for visitor in door.incoming() {
            std::thread::spawn(move || answer(&visitor.expect("a visitor"), refusal));
        }
    });
    url
}

fn answer(mut visitor: &TcpStream, refusal: &str) {
    let mut lines = BufReader::new(visitor).lines().map_while(Result::ok);
    while let Some(count) = lines.next().and_then(|header| header.strip_prefix('*')?.parse::<usize>().ok()) {
        let words: Vec<String> = lines.by_ref().take(2 * count).skip(1).step_by(2).collect();
        let said = match (words[0].as_str(), words.get(1)) {
            ("SET", _) => refusal.to_owned(),
            ("PING", Some(word)) => format!("${}\r\n{word}", word.len()),
            _ => "+OK".to_owned(),
        };
        if write!(visitor, "{said}\r\n").is_err() {
            return;
        }
    }
}
