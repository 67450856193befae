//! The gateway as a child process: a config in a directory of its own, any free port, its stderr kept. What was
//! started is killed on drop, and nothing else.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trunkline::policy::api_key;

use super::{Conn, Driver, wait_for};

/// The API key of the tests' configurations.
pub const KEY: &str = "tl-live-test-key";
/// The credential that Trunkline holds in them.
pub const CREDENTIAL: &str = "sk-held-by-trunkline";

/// The line of `api_keys` for [`KEY`] with a default config.
pub fn api_keys(config: &str) -> String {
    let hash = hex::encode(api_key::hash(KEY));
    format!("api_keys:\n  - {{ name: tests, key_sha256: \"{hash}\", config: {config} }}\n")
}

/// A configuration with one virtual key of OpenAI's format, `up`, and one of Anthropic's, `claude`, at this port.
pub fn simple(port: u16) -> String {
    format!(
        "virtual_keys:\n  \
           up: {{ provider: openai, base_url: \"http://127.0.0.1:{port}/v1\", api_key: {CREDENTIAL} }}\n  \
           claude: {{ provider: anthropic, base_url: \"http://127.0.0.1:{port}/v1\", api_key: {CREDENTIAL} }}\n\
         configs:\n  \
           plain: {{ virtual_key: up }}\n  \
           anthropic: {{ virtual_key: claude }}\n\
         {}",
        api_keys("plain")
    )
}

/// How to start a gateway.
pub struct Plan {
    driver: Driver,
    config: Option<String>,
    workers: usize,
    listen: Option<String>,
    admin: String,
    log_off: bool,
    shell: Option<String>,
    dir: Option<TempDir>,
    tls: bool,
}

/// A gateway that runs.
pub struct Gateway {
    pub address: SocketAddr,
    child: Child,
    dir: Option<TempDir>,
    stderr: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Plan {
    pub fn new(driver: Driver) -> Plan {
        Plan {
            driver,
            config: None,
            workers: 1,
            listen: Some("127.0.0.1:0".into()),
            admin: "off".into(),
            log_off: false,
            shell: None,
            dir: None,
            tls: false,
        }
    }

    /// The text of the configuration file.
    pub fn config(mut self, text: impl Into<String>) -> Plan {
        self.config = Some(text.into());
        self
    }

    pub fn workers(mut self, count: usize) -> Plan {
        self.workers = count;
        self
    }

    /// No `--listen`: the file says where.
    pub fn without_flags(mut self) -> Plan {
        self.listen = None;
        self
    }

    /// The admin interface listens too, at any free port of loopback.
    pub fn admin(mut self) -> Plan {
        self.admin = "127.0.0.1:0".into();
        self
    }

    /// The client side is under TLS: nobody asks `/readyz` in the clear.
    pub fn tls(mut self) -> Plan {
        self.tls = true;
        self
    }

    pub fn without_log(mut self) -> Plan {
        self.log_off = true;
        self
    }

    /// Shell words before the program, e.g. limits on the process.
    pub fn after(mut self, shell: &str) -> Plan {
        self.shell = Some(shell.to_owned());
        self
    }

    /// Runs in the directory of a gateway that was there before.
    pub fn in_dir(mut self, dir: TempDir) -> Plan {
        self.dir = Some(dir);
        self
    }

    pub fn start(mut self) -> Gateway {
        let dir = self.dir.take().unwrap_or_else(|| tempfile::tempdir().expect("a directory"));
        if let Some(text) = &self.config {
            std::fs::write(dir.path().join("trunkline.yaml"), text).expect("a config file");
        }
        let mut child = self.command(dir.path()).spawn().expect("the binary starts");
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let reader = Some(keep_lines(child.stderr.take().expect("a pipe"), Arc::clone(&stderr)));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Gateway { address: nowhere, child, dir: Some(dir), stderr, reader };
        gateway.address = gateway.wait_for_address();
        if !self.tls {
            gateway.wait_until_ready();
        }
        gateway
    }

    fn command(&self, dir: &Path) -> Command {
        let binary = env!("CARGO_BIN_EXE_trunkline");
        let mut command = match &self.shell {
            Some(shell) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\""), binary]);
                command
            }
            None => Command::new(binary),
        };
        command.arg("serve").args(["--admin", &self.admin]);
        if let Some(listen) = &self.listen {
            command.args(["--listen", listen]);
        }
        command.args(["--driver", self.driver.flag(), "--workers", &self.workers.to_string()]);
        command.args(["--log", if self.log_off { "off" } else { "log" }]);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

impl Gateway {
    #[expect(clippy::new_ret_no_self, reason = "a gateway begins as the plan of one")]
    pub fn new(driver: Driver) -> Plan {
        Plan::new(driver)
    }

    /// A gateway with [`simple`] in front of `port`.
    pub fn in_front_of(driver: Driver, port: u16) -> Gateway {
        Plan::new(driver).config(simple(port)).start()
    }

    pub fn connect(&self) -> Conn {
        Conn::to(self.address)
    }

    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("its directory").path()
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir().join("log")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it said so far.
    pub fn said(&self) -> String {
        self.stderr.lock().expect("a lock").join("\n")
    }

    /// Waits until it has said this.
    pub fn hears(&self, text: &str) -> String {
        wait_for(&format!("`{text}` on stderr"), || {
            let lines = self.stderr.lock().expect("a lock");
            lines.iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// How often it has said this.
    pub fn count_said(&self, text: &str) -> usize {
        self.stderr.lock().expect("a lock").iter().filter(|line| line.contains(text)).count()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the gateway runs");
    }

    /// Puts a new configuration in the place of the old one, atomically.
    pub fn write_config(&self, text: &str) {
        let new = self.dir().join("trunkline.yaml.new");
        std::fs::write(&new, text).expect("a config file");
        std::fs::rename(new, self.dir().join("trunkline.yaml")).expect("a config file");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the end of the gateway", || {
            self.child.try_wait().expect("a child that can be waited for")
        });
        if let Some(reader) = self.reader.take() {
            reader.join().expect("stderr was read");
        }
        status
    }

    /// Asks it to stop and waits: it must end with code 0.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "exit code after SIGTERM; it said:\n{}", self.said());
    }

    /// Kills it, so that another can go on in its directory.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("the gateway runs");
        self.wait();
        self.dir.take().expect("its directory")
    }

    /// Stops it, so that another can go on in its directory.
    pub fn leave(mut self) -> TempDir {
        self.stop();
        self.dir.take().expect("its directory")
    }

    fn wait_for_address(&mut self) -> SocketAddr {
        wait_for("the listening line", || {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the gateway ended with {status} at its start:\n{}", self.said());
            }
            let lines = self.stderr.lock().expect("a lock");
            let line = lines.iter().find(|line| line.contains("listening on"))?;
            let (_, rest) = line.split_once("://")?;
            rest.split(',').next()?.parse().ok()
        })
    }

    fn wait_until_ready(&self) {
        wait_for("/readyz", || {
            let mut conn = Conn::try_to(self.address)?;
            conn.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n");
            (conn.answer().status == 200).then_some(())
        });
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Ended already or not: after this it is gone and reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway said:\n{}\n---", self.said());
        }
    }
}

fn keep_lines(
    pipe: impl std::io::Read + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.lock().expect("a lock").push(line);
        }
    })
}
