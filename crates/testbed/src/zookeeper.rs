//! Real ZooKeeper servers, one or an ensemble.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{PATIENCE, free_port};

/// Where Debian's package `zookeeper` puts the server. Its manifest names all it needs.
const DEBIAN_JAR: &str = "/usr/share/java/zookeeper.jar";

/// What its manifest leaves out: a part of Netty that TLS needs, and where log lines go.
const DEBIAN_MORE: &str = "/usr/share/java/netty-codec.jar:/usr/share/java/slf4j-simple.jar";

const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// The longest session time-out that a client gets.
pub const SESSION_MAX: Duration = Duration::from_secs(60);

/// For one answer to a four-letter word.
const WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// How servers are to be run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many. More than one make an ensemble.
    pub servers: usize,
    /// Of each.
    pub heap_megabytes: u32,
    /// Clients get session time-outs of at least two of these, and at most [`SESSION_MAX`].
    pub tick: Duration,
    /// Whether a server waits for its disk before it answers. Only the death of the machine makes a
    /// difference to what is kept, and the disk of a busy one may take seconds.
    pub sync: bool,
    /// Further lines of each server's `zoo.cfg`.
    pub config: Vec<String>,
    /// Further options of the Java machine, such as `-Dzookeeper.…`.
    pub java: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            servers: 1,
            heap_megabytes: 256,
            tick: Duration::from_millis(500),
            sync: false,
            config: Vec::new(),
            java: Vec::new(),
        }
    }
}

/// What a server does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the only one.
    Alone,
    /// It leads the ensemble.
    Leader,
    /// It follows.
    Follower,
}

/// One server, or several that are one ensemble.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
}

impl Ensemble {
    /// Starts so many servers and waits until they serve.
    ///
    /// `None`, with a word on the standard error, where no ZooKeeper is installed.
    ///
    /// # Panics
    /// Where none is installed although `CI` is `true` or `GANTRY_REQUIRE_ZOOKEEPER` is set.
    pub fn start(servers: usize) -> Option<Self> {
        Self::start_with(&Setup {
            servers,
            ..Setup::default()
        })
    }

    /// As [`Ensemble::start`], in a way of its own.
    ///
    /// # Panics
    /// As [`Ensemble::start`].
    pub fn start_with(setup: &Setup) -> Option<Self> {
        let classpath = classpath()?;
        let ports: Vec<[u16; 3]> = (0..setup.servers)
            .map(|_| [(); 3].map(|()| free_port()))
            .collect();
        let mut members = String::new();
        if setup.servers > 1 {
            for (index, [_, quorum, election]) in ports.iter().enumerate() {
                let _ = writeln!(
                    members,
                    "server.{}=127.0.0.1:{quorum}:{election}",
                    index + 1
                );
            }
        }
        let mut servers: Vec<Server> = ports
            .iter()
            .enumerate()
            .map(|(index, [client, ..])| {
                Server::new(setup, &classpath, index + 1, *client, &members)
            })
            .collect();
        for server in &mut servers {
            server.start();
        }
        let ensemble = Self { servers };
        ensemble.wait_until_serving();
        Some(ensemble)
    }

    /// `127.0.0.1:port` of each server.
    pub fn hosts(&self) -> Vec<String> {
        self.servers.iter().map(Server::address).collect()
    }

    /// All servers as clients want to have them, `a:1,b:2`.
    pub fn connect_string(&self) -> String {
        self.hosts().join(",")
    }

    /// One of the servers, from 0.
    pub fn server(&mut self, index: usize) -> &mut Server {
        &mut self.servers[index]
    }

    /// Which of the servers leads.
    pub fn leader(&self) -> Option<usize> {
        let leads = |server: &Server| matches!(server.role(), Some(Role::Leader | Role::Alone));
        self.servers.iter().position(leads)
    }

    /// Waits until every server that runs serves.
    ///
    /// # Panics
    /// When one does not within [`PATIENCE`].
    pub fn wait_until_serving(&self) {
        for server in &self.servers {
            if server.process.is_some() {
                server.wait_until_serving();
            }
        }
    }
}

/// A server process.
#[derive(Debug)]
pub struct Server {
    directory: TempDir,
    port: u16,
    command: Vec<String>,
    process: Option<Child>,
}

impl Server {
    fn new(setup: &Setup, classpath: &str, id: usize, port: u16, members: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("gantry-zookeeper-")
            .tempdir()
            .expect("a directory for a server");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("a directory for data");
        fs::write(data.join("myid"), id.to_string()).expect("a server's number");
        let mut config = format!(
            "tickTime={}\ninitLimit=20\nsyncLimit=4\ndataDir={}\nclientPort={port}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n\
             4lw.commands.whitelist=*\nmaxSessionTimeout={}\n{members}",
            setup.tick.as_millis(),
            data.display(),
            SESSION_MAX.as_millis(),
        );
        for line in &setup.config {
            let _ = writeln!(config, "{line}");
        }
        let file = directory.path().join("zoo.cfg");
        fs::write(&file, config).expect("a configuration");
        let mut command: Vec<String> = [
            "-cp",
            classpath,
            &format!("-Xmx{}m", setup.heap_megabytes),
            "-XX:+UseSerialGC",
            "-Djava.net.preferIPv4Stack=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            if setup.sync {
                "-Dzookeeper.forceSync=yes"
            } else {
                "-Dzookeeper.forceSync=no"
            },
        ]
        .map(str::to_owned)
        .to_vec();
        command.extend(setup.java.iter().cloned());
        command.push(MAIN.to_owned());
        command.push(file.display().to_string());
        Self {
            directory,
            port,
            command,
            process: None,
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it, with the data it had. Does not wait until it serves.
    ///
    /// # Panics
    /// When it runs.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let output = self.directory.path().join("output");
        let output = File::options()
            .create(true)
            .append(true)
            .open(output)
            .expect("a file for the server's output");
        let process = Command::new("java")
            .args(&self.command)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("a Java process");
        self.process = Some(process);
    }

    /// Ends it as kill -9 does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it from running (SIGSTOP), and waits until every thread stands still: on a busy machine
    /// some go on for a while. Its connections stay open, and nothing answers.
    ///
    /// # Panics
    /// When it goes on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let until = Instant::now() + PATIENCE;
        while !self.stands_still() {
            assert!(Instant::now() < until, "a server that was stopped goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stands_still(&self) -> bool {
        let Some(pid) = self.pid() else {
            return true;
        };
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of a child");
        threads.flatten().all(|thread| {
            // One that has just ended does nothing either.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The name, in parentheses, may hold blanks.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
            state.is_none_or(|state| state.starts_with(['T', 'Z', 'X']))
        })
    }

    /// Lets it run on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the server runs");
        kill_process(Pid::from_child(process), signal).expect("a process of ours");
    }

    /// Its answer to a four-letter word, such as `mntr`; `None` when there is none.
    pub fn ask(&self, word: &str) -> Option<String> {
        let address = ([127, 0, 0, 1], self.port).into();
        let mut stream = TcpStream::connect_timeout(&address, WORD_TIMEOUT).ok()?;
        stream.set_read_timeout(Some(WORD_TIMEOUT)).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// What it does; `None` while it does not serve.
    pub fn role(&self) -> Option<Role> {
        let answer = self.ask("srvr")?;
        let mode = answer
            .lines()
            .find_map(|line| line.strip_prefix("Mode: "))?;
        match mode {
            "standalone" => Some(Role::Alone),
            "leader" => Some(Role::Leader),
            "follower" => Some(Role::Follower),
            _ => None,
        }
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`]; with its last output.
    pub fn wait_until_serving(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.role().is_none() {
            if Instant::now() > deadline {
                let output = fs::read_to_string(self.directory.path().join("output"));
                panic!("a ZooKeeper server does not serve: {output:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn classpath() -> Option<String> {
    let home = env::var_os("ZOOKEEPER_HOME").map(PathBuf::from);
    let found = match home {
        Some(home) => Some(format!("{0}/*:{0}/lib/*", home.display())),
        None => Path::new(DEBIAN_JAR)
            .is_file()
            .then(|| format!("{DEBIAN_JAR}:{DEBIAN_MORE}")),
    };
    if found.is_none() {
        let required = env::var("CI").is_ok_and(|value| value == "true")
            || env::var_os("GANTRY_REQUIRE_ZOOKEEPER").is_some();
        assert!(!required, "no ZooKeeper on this machine: install it");
        eprintln!("no ZooKeeper on this machine (Debian: zookeeper): nothing is checked");
    }
    found
}
