//! Load on a real SAS signer over a real host: tokens of its cache and tokens signed anew.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::Swtpm;
use tempfile::TempDir;
use tests::sealhost::built;
use tests::{Sealhost, Setup, b64, http};

use crate::load;

const CONNECTIONS: [usize; 2] = [1, 16];
const PATIENCE: Duration = Duration::from_secs(60);

/// A signer, killed when this is dropped.
struct Signer {
    dir: TempDir,
    child: Child,
}

impl Signer {
    fn start(host: &Sealhost) -> Self {
        let dir = tempfile::Builder::new().prefix("sas-signer-bench-").tempdir().unwrap();
        let path = dir.path().display();
        let config = dir.path().join("config.toml");
        let text = format!(
            "[listen]\nsocket = \"{path}/api.sock\"\n[state]\ndir = \"{path}/state\"\n\
             [audit]\npath = \"{path}/audit.log\"\n[host]\nsocket = \"{}\"\n\
             [[rule]]\nprincipal = {{ uid = {} }}\nkeys = [\"**\"]\noperations = [\"*\"]\n\
             [[rule.token]]\nprofile = \"iot-hub-device\"\nhub = \"*\"\ndevice = \"*\"\n\
             longest_ttl = \"1h\"\n",
            host.socket().display(),
            fs::metadata(dir.path()).unwrap().uid(),
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let child = Command::new(built("sas-signer"))
            .arg("--config")
            .arg(config)
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut signer = Self { dir, child };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(signer.socket()).is_err() {
            assert_eq!(signer.child.try_wait().unwrap(), None, "the signer ended");
            assert!(Instant::now() < until, "the signer is not ready in time");
            std::thread::sleep(Duration::from_millis(10));
        }
        signer
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

/// Measures tokens by keys in software and in an emulated TPM, beside a MAC of the host alone,
/// which is what a new token asks of it.
pub(crate) fn measure(time: Duration) {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_soft().start();
    let signer = Signer::start(&host);
    println!(
        "\n| provider | token | connections | requests/s | p50 µs | p99 µs | signer CPU µs | host CPU µs | worker CPU µs | of the host's mac |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for provider in ["soft", "tpm"] {
        host.create(provider, "mac", provider);
        let key = json!({"key": b64([7; 32]), "form": "decoded", "providers": [provider]});
        let import = format!("/v1/keys/{provider}/import");
        http::request(&signer.socket(), "POST", &import, key.to_string().as_bytes()).done();
        for connections in CONNECTIONS {
            row(&host, &signer, provider, connections, time);
        }
    }
    println!(
        "\nresident: signer {} KiB, {}",
        load::resident_kib(signer.child.id()),
        load::resident(&host)
    );
    println!("{}", load::machine());
}

/// The rows of one number of connections.
fn row(host: &Sealhost, signer: &Signer, provider: &str, connections: usize, time: Duration) {
    let mac = json!({"message": b64([7; 64])});
    let mac = load::run(host, &format!("/v1/keys/{provider}/mac"), &mac, connections, time);
    println!(
        "| {provider} | none, mac of the host | {connections} | {:.0} | {} | {} | | {:.1} | {:.1} | |",
        mac.per_second,
        mac.p50_us,
        mac.p99_us,
        mac.cpu_us.iter().take(1).sum::<f64>(),
        mac.cpu_us.iter().skip(1).sum::<f64>(),
    );
    let resource = json!({"profile": "iot-hub-device", "hub": "h.net", "device": "d"});
    for (what, fresh) in [("cached", false), ("signed anew", true)] {
        let body = json!({"resource": resource, "key": provider, "fresh": fresh});
        let pids = [vec![signer.child.id(), host.pid()], host.workers()].concat();
        let request = load::Request::post("/v1/tokens", &body);
        let token = load::run_on(&signer.socket(), &pids, &request, connections, time);
        println!(
            "| {provider} | {what} | {connections} | {:.0} | {} | {} | {:.1} | {:.1} | {:.1} | {:.0} % |",
            token.per_second,
            token.p50_us,
            token.p99_us,
            token.cpu_us.iter().take(1).sum::<f64>(),
            token.cpu_us.iter().skip(1).take(1).sum::<f64>(),
            token.cpu_us.iter().skip(2).sum::<f64>(),
            100.0 * token.per_second / mac.per_second,
        );
    }
}
