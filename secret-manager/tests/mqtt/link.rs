//! The connection: brokers that go and come back, passwords, TLS.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use secret_manager::{Broker, Freshness, LinkState, MqttOptions, PasswordFile, Reported};
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;
use tempfile::TempDir;

use super::cloud::Cloud;
use super::device::{Device, options};

#[tokio::test]
async fn killed_broker_that_is_back_is_connected_to_again() {
    let mut broker = Mosquitto::start(Demands::default()).unwrap();
    let device = Device::start(options(&broker)).await;
    broker.stop().unwrap();
    device.link(|state| *state != LinkState::Up).await;
    broker.start_again().unwrap();
    device.link(|state| *state == LinkState::Up).await;
    let mut cloud = Cloud::of(&broker).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test]
async fn request_that_is_made_before_there_is_a_connection_is_sent_when_there_is_one() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    let credentials = Arc::new(PasswordFile(path.clone()));
    let user = Some("device".to_owned());
    let device = Device::start_anyway(MqttOptions { user, credentials, ..options(&broker) });
    device.link(tried).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        write_secret(&path, "password");
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn report_that_was_made_while_the_broker_was_away_is_sent_when_it_is_back() {
    let mut broker = Mosquitto::start(Demands::default()).unwrap();
    let device = Device::start(options(&broker)).await;
    broker.stop().unwrap();
    device.link(|state| *state != LinkState::Up).await;
    assert!(device.source.report(&[("a".parse().unwrap(), None, Reported::Stored)]));
    broker.start_again().unwrap();
    broker.wait_until_said("sealhost/device-1/secrets/status").unwrap();
}

#[tokio::test]
async fn broker_that_falls_silent_is_noticed_and_connected_to_again() {
    let mut broker = Mosquitto::start(Demands::default()).unwrap();
    let keep_alive = Duration::from_secs(1);
    let device = Device::start(MqttOptions { keep_alive, ..options(&broker) }).await;
    broker.suspend().unwrap();
    let silent = LinkState::Down("the broker does not answer pings".to_owned());
    device.link(|state| *state == silent).await;
    broker.resume().unwrap();
    device.link(|state| *state == LinkState::Up).await;
}

#[tokio::test]
async fn stopped_source_takes_leave_and_answers_no_more() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let device = Device::start(options(&broker)).await;
    device.source.stop().await;
    broker.wait_until_said("Received DISCONNECT from sealhost-device-1").unwrap();
    let error = device.get("a", Freshness::Stored).await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
}

/// A broker whose port asks for a password, and how a device with this one fares.
async fn check_password(user: &str, password: &str, state: LinkState) {
    let login = Some(("device", "right password"));
    let broker = Mosquitto::start(Demands { login, tls: None }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    write_secret(&path, password);
    let device = Device::start_anyway(MqttOptions {
        broker: Broker::DangerClear { host: "127.0.0.1".to_owned(), port: broker.port() },
        user: Some(user.to_owned()),
        credentials: Arc::new(PasswordFile(path)),
        ..options(&broker)
    });
    assert_eq!(device.link(tried).await, state);
}

fn write_secret(path: &Path, content: &str) {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// Whether the first attempt to connect is over.
fn tried(state: &LinkState) -> bool {
    !matches!(state, LinkState::Down(reason) if reason == "it was not tried yet")
}

#[tokio::test]
async fn right_password_is_let_in() {
    check_password("device", "right password\n", LinkState::Up).await;
}

#[tokio::test]
async fn wrong_password_is_refused_and_said_so() {
    let refused = LinkState::Down("the broker does not let this device in".to_owned());
    check_password("device", "wrong password", refused.clone()).await;
    check_password("other", "right password", refused).await;
}

#[tokio::test]
async fn password_without_a_user_name_makes_no_connection() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    write_secret(&path, "password");
    let credentials = Arc::new(PasswordFile(path));
    check_refused(MqttOptions { credentials, ..options(&broker) }, "needs a user name").await;
}

#[tokio::test]
async fn password_file_that_others_can_read_makes_no_connection() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    fs::write(&path, "marker").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let credentials = Arc::new(PasswordFile(path));
    let device = Device::start_anyway(MqttOptions { credentials, ..options(&broker) });
    let exposed = |state: &LinkState| {
        matches!(state, LinkState::Down(reason)
            if reason.contains("open to group or others") && !reason.contains("marker"))
    };
    device.link(exposed).await;
}

/// A new authority, and a certificate of it for this name.
struct Authority {
    directory: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let authority = Self { directory: tempfile::tempdir().unwrap() };
        let subject = format!("subjectAltName={name}");
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=test authority",
            "-days",
            "2",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-addext",
            "keyUsage=critical,keyCertSign",
        ]);
        authority.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=broker",
            "-addext",
            &subject,
            "-keyout",
            "broker.key",
            "-out",
            "broker.csr",
        ]);
        authority.openssl(&[
            "x509",
            "-req",
            "-in",
            "broker.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "1",
            "-copy_extensions",
            "copy",
            "-out",
            "broker.pem",
        ]);
        authority
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut openssl = Command::new("openssl");
        let output = openssl.args(arguments).current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn broker(&self) -> Mosquitto {
        let (certificate, key) = (self.file("broker.pem"), self.file("broker.key"));
        Mosquitto::start(Demands { login: None, tls: Some((&certificate, &key)) }).unwrap()
    }
}

fn tls(broker: &Mosquitto, host: &str, ca: &Path) -> MqttOptions {
    let (host, ca) = (host.to_owned(), ca.to_owned());
    MqttOptions { broker: Broker::Tls { host, port: broker.port(), ca }, ..options(broker) }
}

/// A device that is not let through, and what it says.
async fn check_refused(options: MqttOptions, part: &str) {
    let device = Device::start_anyway(options);
    let LinkState::Down(reason) = device.link(tried).await else { panic!("it was let through") };
    assert!(reason.contains(part), "{reason}");
}

#[tokio::test]
async fn broker_with_a_certificate_of_the_known_authority_is_trusted() {
    let authority = Authority::new("IP:127.0.0.1");
    let broker = authority.broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(tls(&broker, "127.0.0.1", &authority.file("ca.pem"))).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test]
async fn broker_with_a_certificate_of_another_authority_is_refused() {
    let broker = Authority::new("IP:127.0.0.1").broker();
    let other = Authority::new("IP:127.0.0.1");
    let options = tls(&broker, "127.0.0.1", &other.file("ca.pem"));
    check_refused(options, "invalid peer certificate").await;
}

#[tokio::test]
async fn broker_with_a_certificate_for_another_host_is_refused() {
    let authority = Authority::new("DNS:other.example");
    let broker = authority.broker();
    let options = tls(&broker, "127.0.0.1", &authority.file("ca.pem"));
    check_refused(options, "not valid for name").await;
}

#[tokio::test]
async fn broker_in_the_clear_is_no_broker_with_tls() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let authority = Authority::new("IP:127.0.0.1");
    let options = tls(&broker, "127.0.0.1", &authority.file("ca.pem"));
    check_refused(options, "TLS with the broker failed").await;
}

#[tokio::test]
async fn file_without_authorities_makes_no_connection() {
    let authority = Authority::new("IP:127.0.0.1");
    let broker = authority.broker();
    let options = tls(&broker, "127.0.0.1", &authority.file("ca.key"));
    check_refused(options, "it holds no certificate").await;
    let options = tls(&broker, "127.0.0.1", &authority.file("absent.pem"));
    check_refused(options, "No such file").await;
}
