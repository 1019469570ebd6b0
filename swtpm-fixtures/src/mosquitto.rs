//! A private MQTT broker (Eclipse Mosquitto): on a Unix socket, and with TLS or a password on a
//! loopback port.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ports::PortPair;
use crate::process::Guard;
use crate::{Error, Result};

const PACKAGE: &str = "mosquitto";
/// Where Debian has the broker; it is not in the path of users.
const BROKER: &str = "/usr/sbin/mosquitto";
const PASSWORD_TOOL: &str = "mosquitto_passwd";
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
const START_ATTEMPTS: u32 = 5;

/// What the loopback port of a broker asks of its clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demands<'a> {
    /// A user name and a password.
    pub login: Option<(&'a str, &'a str)>,
    /// TLS: files of the broker's certificate and key, PEM.
    pub tls: Option<(&'a Path, &'a Path)>,
}

/// A running or stopped broker with its state.
#[derive(Debug)]
pub struct Mosquitto {
    guard: Guard,
    ports: PortPair,
}

impl Mosquitto {
    /// Starts a broker whose Unix socket asks nothing of its clients, and whose loopback port
    /// asks what `demands` says. Everything vanishes with this value or this process.
    ///
    /// # Errors
    /// `Missing`: mosquitto is not installed. `Start`: it did not come up. `Io`: a file could not
    /// be written.
    pub fn start(demands: Demands<'_>) -> Result<Self> {
        if !Path::new(BROKER).exists() {
            return Err(Error::Missing { program: "mosquitto", package: PACKAGE });
        }
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            let guard = Guard::over_new_directory("sealhost-mosquitto-")?;
            let mut broker = Self { guard, ports: PortPair::reserve()? };
            broker.configure(demands)?;
            match broker.start_again() {
                Ok(()) => return Ok(broker),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::State("no attempt was made")))
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.guard.directory().join("mqtt.sock")
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.ports.first()
    }

    /// What the broker wrote since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Waits until the broker wrote something into its log: it names every packet of every client.
    ///
    /// # Errors
    /// `State`: it did not, for 30 s.
    pub fn wait_until_said(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.log().contains(text) {
            if Instant::now() > deadline {
                return Err(Error::State("the broker did not say so"));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Kills the broker. What it knows of its clients' sessions stays on disk.
    ///
    /// # Errors
    /// `State`: the guard has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.guard.stop()
    }

    /// Lets the broker fall silent (SIGSTOP): connections are accepted by the kernel, and nothing
    /// is answered until [`resume`](Self::resume).
    ///
    /// # Errors
    /// `State`: the guard has ended.
    pub fn suspend(&mut self) -> Result<()> {
        self.guard.suspend()
    }

    /// Ends a suspension.
    ///
    /// # Errors
    /// `State`: the guard has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.guard.resume()
    }

    /// Starts the broker on the same socket, port and sessions, killing it first when it runs.
    ///
    /// # Errors
    /// `Start`: it did not come up.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop()?;
        // A killed broker leaves its socket behind, and one cannot be bound over another.
        let _ = fs::remove_file(self.socket());
        let words = [BROKER.to_owned(), "-c".to_owned(), self.conf().display().to_string()];
        let pid = self.guard.start(&words)?;
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers() {
            if !Path::new(&format!("/proc/{pid}")).exists() || Instant::now() > deadline {
                return Err(Error::Start { program: "mosquitto", said: self.guard.log() });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn conf(&self) -> PathBuf {
        self.guard.directory().join("mosquitto.conf")
    }

    fn configure(&self, demands: Demands<'_>) -> Result<()> {
        let directory = self.guard.directory();
        let mut conf = format!(
            "user root\nper_listener_settings true\nlog_dest stderr\nlog_type all\n\
             persistence true\npersistence_location {directory}/\n\
             autosave_interval 1\nautosave_on_changes true\n\
             listener 0 {socket}\nallow_anonymous true\n\
             listener {port} 127.0.0.1\nallow_anonymous {anonymous}\n",
            directory = directory.display(),
            socket = self.socket().display(),
            port = self.port(),
            anonymous = demands.login.is_none(),
        );
        if let Some((user, password)) = demands.login {
            let file = directory.join("passwords");
            add_password(&file, user, password)?;
            // Writing to a string does not fail.
            let _ = writeln!(conf, "password_file {}", file.display());
        }
        if let Some((certificate, key)) = demands.tls {
            let (certificate, key) = (certificate.display(), key.display());
            let _ = writeln!(conf, "certfile {certificate}\nkeyfile {key}");
        }
        fs::write(self.conf(), conf).map_err(Error::io("write mosquitto.conf"))
    }

    /// Whether the broker answers a CONNECT on its socket and listens on its port.
    fn answers(&self) -> bool {
        connect_is_answered(&self.socket()).unwrap_or(false)
            && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok()
    }
}

/// Says CONNECT with a clean session and no client id, and reads the four bytes of the CONNACK
/// (MQTT 3.1.1 sections 3.1 and 3.2).
fn connect_is_answered(socket: &Path) -> std::io::Result<bool> {
    const CONNECT: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&CONNECT)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer == [0x20, 2, 0, 0])
}

/// The tool takes a password as an argument only, so it is visible to this machine's processes
/// for some milliseconds; the file holds a salted hash.
fn add_password(file: &Path, user: &str, password: &str) -> Result<()> {
    let output = Command::new(PASSWORD_TOOL)
        .args(["-b", "-c"])
        .arg(file)
        .args([user, password])
        .stdin(Stdio::null())
        .output()
        .map_err(|_not_found| Error::Missing { program: PASSWORD_TOOL, package: PACKAGE })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Start { program: PASSWORD_TOOL, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopped_broker_answers_again_when_started_again() {
        let mut broker = Mosquitto::start(Demands::default()).unwrap();
        broker.stop().unwrap();
        assert!(!broker.answers());
        broker.start_again().unwrap();
        assert!(broker.answers());
    }

    #[test]
    fn brokers_do_not_share_socket_port_or_directory() {
        let one = Mosquitto::start(Demands::default()).unwrap();
        let two = Mosquitto::start(Demands::default()).unwrap();
        assert_ne!(one.socket(), two.socket());
        assert_ne!(one.port(), two.port());
    }

    #[test]
    fn dropped_broker_leaves_neither_process_nor_directory() {
        let broker = Mosquitto::start(Demands::default()).unwrap();
        let socket = broker.socket();
        drop(broker);
        assert!(UnixStream::connect(&socket).is_err());
        assert!(!socket.parent().unwrap().exists());
    }

    #[test]
    fn port_with_a_login_refuses_who_has_none() {
        let login = Some(("device", "password"));
        let broker = Mosquitto::start(Demands { login, tls: None }).unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port())).unwrap();
        stream.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 5]);
    }
}
