//! Emulators start in parallel, keep or lose their state as asked, and leave nothing behind.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is a test module, its helpers too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use swtpm_fixtures::{CommandCounter, Swtpm};

const TPM2_GET_RANDOM: u32 = 0x0000_017B;
const TPM_RC_RETRY: u32 = 0x0000_0922;

/// Sends GetRandom(8) and returns the response.
fn ask(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    stream.write_all(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8])?;
    let mut response = vec![0; 10];
    stream.read_exact(&mut response)?;
    Ok(response)
}

fn answers(port: u16) -> bool {
    ask(port).is_ok_and(|response| response[6..] == [0, 0, 0, 0])
}

fn port_of(tcti: &str) -> u16 {
    tcti.rsplit_once('=').unwrap().1.parse().unwrap()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn many_started_at_once_have_ports_of_their_own() {
    let starts: Vec<_> = (0..8).map(|_| thread::spawn(|| Swtpm::start().unwrap())).collect();
    let all: Vec<Swtpm> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let ports: BTreeSet<u16> = all.iter().map(Swtpm::port).collect();
    assert_eq!(ports.len(), all.len());
    assert!(all.iter().all(|swtpm| answers(swtpm.port())));
}

#[test]
fn stopped_tpm_refuses_and_answers_again_on_the_same_port() {
    let mut swtpm = Swtpm::start().unwrap();
    let tcti = swtpm.tcti();
    swtpm.stop().unwrap();
    assert_eq!(ask(swtpm.port()).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    swtpm.start_again().unwrap();
    assert!(answers(swtpm.port()));
    assert_eq!(swtpm.tcti(), tcti);
}

#[test]
fn suspended_tpm_is_silent_until_resumed() {
    let mut swtpm = Swtpm::start().unwrap();
    swtpm.suspend().unwrap();
    assert!(!answers(swtpm.port()));
    swtpm.resume().unwrap();
    eventually("the TPM answers again", || answers(swtpm.port()));
}

#[test]
fn reset_keeps_the_state_and_fresh_replaces_it() {
    let mut swtpm = Swtpm::start().unwrap();
    let path = swtpm.state_directory().join("tpm2-00.permall");
    let length = fs::metadata(&path).unwrap().len();
    swtpm.start_again().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    let before = fs::read(&path).unwrap();
    swtpm.fresh().unwrap();
    assert_ne!(fs::read(&path).unwrap(), before);
}

#[test]
fn dropped_tpm_leaves_nothing() {
    let swtpm = Swtpm::start().unwrap();
    let (pid, directory) = (swtpm.pid().unwrap(), swtpm.state_directory().to_owned());
    drop(swtpm);
    assert!(!directory.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn state_in_a_given_directory_stays() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("tpm");
    drop(Swtpm::start_at(&directory).unwrap());
    let before = fs::read(directory.join("tpm2-00.permall")).unwrap();
    let again = Swtpm::start_at(&directory).unwrap();
    assert!(answers(again.port()));
    assert_eq!(fs::read(directory.join("tpm2-00.permall")).unwrap().len(), before.len());
}

#[test]
fn counter_counts_commands_and_not_control_messages() {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let port = port_of(&counter.tcti());
    assert!(answers(port) && answers(port));
    let mut control = TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).unwrap();
    // CMD_GET_CAPABILITY of the control channel, which the emulator answers with 8 bytes.
    control.write_all(&1_u32.to_be_bytes()).unwrap();
    control.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(counter.counts().into_iter().collect::<Vec<_>>(), [(TPM2_GET_RANDOM, 2)]);
    assert!(counter.saw(&[0, 0, 1, 0x7B, 0, 8]) && !counter.saw(&[0, 0, 1, 0x7B, 0, 9]));
    counter.reset();
    assert!(counter.counts().is_empty() && !counter.saw(&[0, 0, 1, 0x7B]));
}

#[test]
fn counter_answers_or_alters_as_often_as_asked() {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let port = port_of(&counter.tcti());
    counter.answer_next(TPM2_GET_RANDOM, TPM_RC_RETRY, 1);
    assert_eq!(ask(port).unwrap()[6..], TPM_RC_RETRY.to_be_bytes());
    assert!(answers(port));
    proxy_alters_one_bit(&counter, port);
}

fn proxy_alters_one_bit(counter: &CommandCounter, port: u16) {
    let honest = ask(port).unwrap();
    counter.alter_next(TPM2_GET_RANDOM, 1);
    counter.reset();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8]).unwrap();
    let mut response = [0; 20];
    stream.read_exact(&mut response).unwrap();
    // The header is whole; the middle of twenty bytes is the length of the random ones.
    assert_eq!(response[..10], honest[..]);
    assert_eq!(response[10..12], [1, 8]);
}

#[test]
fn counter_finds_the_tpm_again_after_a_restart() {
    let mut swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let port = port_of(&counter.tcti());
    swtpm.stop().unwrap();
    assert!(!answers(port));
    swtpm.start_again().unwrap();
    assert!(answers(port));
}

#[test]
fn killed_owner_leaves_nothing() {
    let (mut owner, pid, directory) = owner_process("wait");
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("directory and process are gone", || is_gone(pid, &directory));
}

#[test]
fn panicking_owner_leaves_nothing() {
    let (mut owner, pid, directory) = owner_process("panic");
    assert!(!owner.wait().unwrap().success());
    eventually("directory and process are gone", || is_gone(pid, &directory));
}

fn is_gone(pid: u32, directory: &Path) -> bool {
    !directory.exists() && !Path::new(&format!("/proc/{pid}")).exists()
}

/// Runs this test binary again as the owner of an emulator.
fn owner_process(end: &str) -> (Child, u32, PathBuf) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env("SWTPM_OWNER", end)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.split_once("owner of ")?.1.to_owned())).unwrap();
    let (pid, directory) = line.split_once(' ').unwrap();
    assert!(Path::new(directory).join("tpm2-00.permall").exists());
    let _ = owner.stdin.as_mut().unwrap().write_all(b"go\n");
    (owner, pid.parse().unwrap(), directory.into())
}

/// What the re-run binary does; without the variable it has nothing to own.
#[test]
fn owner() {
    let Some(end) = std::env::var_os("SWTPM_OWNER") else { return };
    let swtpm = Swtpm::start().unwrap();
    println!("owner of {} {}", swtpm.pid().unwrap(), swtpm.state_directory().display());
    std::io::stdin().lines().next().unwrap().unwrap();
    assert!(end != "panic", "as asked");
    // Held open by the other side until it kills us.
    let _ = std::io::stdin().read(&mut [0]);
}
