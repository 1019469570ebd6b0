//! `sealctl import-keyd`: the keys of an aziot Key Service move into a host.
#![expect(
    clippy::tests_outside_test_module,
    clippy::panic,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use swtpm_fixtures::SoftHsm;
use tests::sealhost::built;
use tests::{Sealhost, Setup, b64, http, keyd};

/// The made-up directory of an aziot Key Service.
struct Service {
    dir: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let service = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(service.path("keys")).unwrap();
        fs::create_dir(service.path("config.d")).unwrap();
        let main = format!(
            "max_requests = 5\n[aziot_keys]\nhomedir_path = \"{}\"\n\
             [[principal]]\nuid = 1000\nkeys = [\"mysymmtestkey\", \"app*\"]\n",
            service.dir.path().display()
        );
        fs::write(service.path("config.toml"), main).unwrap();
        service
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn patch(&self, name: &str, text: &str) {
        fs::write(self.path("config.d").join(name), text).unwrap();
    }

    /// Writes a key file as the service names it.
    fn key(&self, id: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("keys").join(file_name(id));
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a pair in PEM, and gives its PEM.
    fn pair(&self, id: &str, words: &str) -> Vec<u8> {
        let output =
            Command::new("openssl").arg("genpkey").args(words.split(' ')).output().unwrap();
        assert!(output.status.success());
        self.key(id, &output.stdout);
        output.stdout
    }

    fn files(&self) -> usize {
        fs::read_dir(self.path("keys")).unwrap().count()
    }

    /// Imports into a host.
    fn import(&self, host: &Sealhost, more: &[&str]) -> Ended {
        let config = self.path("config.toml");
        let mut command = Command::new(built("sealctl"));
        command.arg("--socket").arg(host.socket()).arg("import-keyd").arg(config);
        command.arg("--keyd-socket").arg(host.keyd_socket()).args(more);
        Ended::of(&command.output().unwrap())
    }
}

fn file_name(id: &str) -> String {
    let letters: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut name = letters + "-";
    digest(&SHA256, id.as_bytes()).as_ref().iter().for_each(|byte| {
        write!(name, "{byte:02x}").unwrap();
    });
    name + ".key"
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    /// The cells of the line of a key.
    #[track_caller]
    fn check(&self, key: &str, cells: &[&str]) {
        let line = self.err.lines().find(|line| line.split("  ").next() == Some(key));
        let line = line.unwrap_or_else(|| panic!("no {key} in {}", self.err));
        let found: Vec<_> = line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
        assert_eq!(found.get(1..).unwrap(), cells, "{}", self.err);
    }

    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.err.contains(text), "{text:?} is not in {}", self.err);
    }
}

/// A host with the dialect and keys in software.
fn soft() -> Sealhost {
    Setup::soft().with_keyd(&["soft"], "").start()
}

fn handle(host: &Sealhost, path: &str) -> String {
    host.keyd_load(path).text("keyHandle")
}

/// Asserts that the key of an id computes the HMAC of these bytes.
#[track_caller]
fn check_mac(host: &Sealhost, id: &str, key: &[u8]) {
    let handle = handle(host, &format!("/key/{id}"));
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"m");
    assert_eq!(
        host.keyd("POST", "/sign", &keyd::sign(&handle, b"m")).text("signature"),
        b64(expected)
    );
}

/// Moves a whole directory, and uses every key through the dialect afterwards.
#[track_caller]
fn check_whole(host: &Sealhost, protection: &str, provider: &str) {
    let service = Service::new();
    service.key("mysymmtestkey", &(0..32).collect::<Vec<u8>>());
    service.key("app/sign-1", &[7; 32]);
    let pem = service.pair("appPair", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    let elsewhere = service.path("elsewhere");
    fs::write(&elsewhere, [9; 64]).unwrap();
    let preloaded = format!("[preloaded_keys]\ndevice-id = \"file://{}\"\n", elsewhere.display());
    service.patch("00-super.toml", &preloaded);
    service.patch("10-more.toml", "[[principal]]\nuid = 1000\nkeys = [\"app/sign-1\"]\n");
    service.patch("not-read.txt", "no toml");
    let usages = ["--default-usage", "encrypt", "--usage", "app/sign-1=sign"];
    let more = ["--usage", "device-id=sign", "--remove"];
    let ended = service.import(host, &[usages, [more[0], more[1], more[2], "--root"]].concat());
    let ended = ended.code(0);
    let cells = |kind, usage| [kind, usage, "imported", provider, protection, "removed"];
    ended.check("mysymmtestkey", &cells("key", "encrypt"));
    ended.check("app/sign-1", &cells("key", "sign"));
    ended.check("device-id", &cells("key", "sign"));
    ended.check("appPair", &cells("pair", "-"));
    assert!(service.files() == 0 && !elsewhere.exists());
    assert!(ended.out.contains(
        "[[keyd.principal]]\nuid = 1000\nkeys = [\"mysymmtestkey\", \"app*\", \"app/sign-1\"]\n"
    ));
    assert!(ended.out.contains("[[keyd.principal]]\nuid = 0\nkeys = [\"*\"]\n"), "{}", ended.out);

    // Vector A1: the seed's own call.
    let handle_of = handle(host, "/key/mysymmtestkey");
    let body = keyd::encrypt(&handle_of, b"0123456", b"7891011", b"Hello World");
    let ciphertext = host.keyd("POST", "/encrypt", &body).text("ciphertext");
    assert_eq!(ciphertext, "AjqSWga0PphZMjXFwDB0euJ2o25q773EqBJdsw==");
    check_mac(host, "app%2Fsign-1", &[7; 32]);
    check_mac(host, "device-id", &[9; 64]);
    let pair = handle(host, "/keypair/appPair");
    let point = host.keyd("POST", "/parameters/ec-point", &json!({"keyHandle": pair}));
    assert_eq!(http::bytes(&json!(point.text("value"))), compressed(&pem));
    for name in ["keyd%2Fkey%2Fmysymmtestkey", "keyd%2Fpair%2FappPair"] {
        let record = host.get(&format!("/v1/keys/{name}")).ok();
        assert_eq!(record["versions"][0]["origin"], "imported-clear");
    }
}

fn compressed(pem: &[u8]) -> Vec<u8> {
    use aws_lc_rs::encoding::EcPublicKeyCompressedBin;
    use aws_lc_rs::signature::KeyPair as _;
    let body: String =
        std::str::from_utf8(pem).unwrap().lines().filter(|line| !line.starts_with('-')).collect();
    let der = http::bytes(&json!(body));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).unwrap();
    let point: EcPublicKeyCompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
    point.as_ref().to_vec()
}

#[test]
fn whole_directory_is_moved_into_software() {
    check_whole(&soft(), "software", "soft");
}

#[test]
fn whole_directory_is_moved_into_a_token() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check_whole(
        &Setup::default().with_hsm(&hsm).with_keyd(&["hsm"], "").start(),
        "emulated",
        "hsm",
    );
}

#[test]
fn dry_run_needs_no_host_and_changes_nothing() {
    let (service, host) = (Service::new(), Setup::soft().prepare());
    service.key("mysymmtestkey", &[1; 32]);
    let dry = ["--dry-run", "--default-usage", "encrypt"];
    let ended = service.import(&host, &dry).code(0);
    ended.check("mysymmtestkey", &["key", "encrypt", "would be imported", "-", "-", "there"]);
    assert!(ended.out.contains("[listen.keyd]"));
    assert_eq!(service.files(), 1);
    // The same with a host: it has no key afterwards.
    let host = soft();
    service.import(&host, &dry).code(0);
    assert_eq!(host.get("/v1/keys").ok()["keys"], json!([]));
}

#[test]
fn plaintext_stays_and_is_named_until_its_removal_is_asked_for() {
    let (service, host) = (Service::new(), soft());
    let file = service.key("mysymmtestkey", &[1; 32]);
    let usage = ["--default-usage", "encrypt"];
    let ended = service.import(&host, &usage).code(0);
    ended.check("mysymmtestkey", &["key", "encrypt", "imported", "soft", "software", "there"]);
    ended.says(&format!("the plaintext is still there: {}", file.display()));
    let again = service.import(&host, &usage).code(0);
    again.check("mysymmtestkey", &["key", "encrypt", "already there", "soft", "software", "there"]);
    let removing = service.import(&host, &["--default-usage", "encrypt", "--remove"]).code(0);
    let cells = ["key", "encrypt", "already there", "soft", "software", "removed"];
    removing.check("mysymmtestkey", &cells);
    assert!(!file.exists());
    // With the file gone, what the host has is still told when it is asked about by name.
    let gone = service.import(&host, &["--id", "mysymmtestkey"]).code(0);
    let cells = ["key", "-", "already there, no file", "soft", "software", "-"];
    gone.check("mysymmtestkey", &cells);
}

#[test]
fn file_of_another_key_than_the_host_has_is_not_removed() {
    let (service, host) = (Service::new(), soft());
    for (id, usage) in [("appa", "encrypt"), ("appb", "sign")] {
        let _handle = host.keyd_create(id, usage);
        let file = service.key(id, &[1; 32]);
        let ended = service.import(&host, &["--default-usage", usage, "--remove"]).code(1);
        ended.says(&format!("{id}: the host has another key of this id"));
        assert!(file.exists());
        fs::remove_file(file).unwrap();
    }
    let _handle = host.keyd_pair("appc", "ec-p256");
    service.pair("appc", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    service.import(&host, &["--remove"]).code(1).says("appc: the host has another key of this id");
    assert_eq!(service.files(), 1);
}

#[test]
fn key_of_another_usage_in_the_host_is_told() {
    let (service, host) = (Service::new(), soft());
    let _handle = host.keyd_create("appa", "sign");
    service.key("appa", &[1; 32]);
    let ended = service.import(&host, &["--default-usage", "encrypt", "--remove"]).code(1);
    ended.check("appa", &["key", "encrypt", "not moved", "-", "-", "there"]);
    assert_eq!(service.files(), 1);
}

#[test]
fn what_cannot_be_moved_is_named_with_what_to_do() {
    let (service, host) = (Service::new(), soft());
    service.key("short", &[1; 16]);
    service.key("empty", &[]);
    service.key("unsaid", &[1; 32]);
    service.key("a-b", &[1; 32]);
    service.key("handle-validation-key", &[1; 32]);
    service.pair("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    service.pair("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384");
    fs::write(service.path("keys/README"), "text").unwrap();
    std::os::unix::fs::symlink("README", service.path("keys").join(file_name("link"))).unwrap();
    service.patch("a.toml", "[preloaded_keys]\nhsm = \"pkcs11:object=x?pin-value=8642\"\n");
    service.patch("b.toml", "[aziot_keys]\npkcs11_lib_path = \"/l.so\"\n");
    let usages = ["--usage", "short=encrypt", "--usage", "empty=sign", "--id", "no=where"];
    let ended = service.import(&host, &usages).code(1);
    let unknown = |file: &str| {
        let file = service.path("keys").join(file);
        format!("{}: it cannot be told whose key this is", file.display())
    };
    for text in [
        "short: it has 16 bytes; a key that encrypts has 32",
        "empty: it has 0 bytes; a key that signs has 1 to 1024",
        "unsaid: files do not say what a symmetric key is for\n  to do: give --usage unsaid=encrypt",
        &unknown(&file_name("a-b")),
        &unknown("README"),
        "rsa: it is an RSA pair, and those cannot be imported",
        "p384: it is PEM, but no unencrypted P-256 or RSA pair",
        "hsm: it is on a PKCS#11 token",
        "no=where: there is no file of this id",
        "link: cannot read ",
        "those that are not preloaded are not listed here",
    ] {
        ended.says(text);
    }
    ended.check("handle-validation-key", &["-", "-", "not needed", "-", "-", "there"]);
    assert!(!ended.err.contains("8642") && !ended.out.contains("8642"));
    assert_eq!(host.get("/v1/keys").ok()["keys"], json!([]));
    // With its id the file is found.
    let ended = service.import(&host, &["--usage", "a-b=sign"]).code(1);
    ended.check("a-b", &["key", "sign", "imported", "soft", "software", "there"]);
}

#[test]
fn key_bytes_are_nowhere_in_the_output() {
    let (service, host) = (Service::new(), soft());
    let marker = b"marker-marker-marker-marker-mark";
    service.key("appa", marker);
    for more in [&["--json"][..], &[]] {
        let usage = ["--default-usage", "sign"];
        let ended = service.import(&host, &[&usage[..], more].concat()).code(0);
        let said = ended.out + &ended.err;
        assert!(!said.contains("marker") && !said.contains(&b64(marker)), "{said}");
    }
}

#[test]
fn report_as_a_document_says_the_same() {
    let (service, host) = (Service::new(), soft());
    service.key("appa", &[1; 32]);
    service.key("appb", &[1; 31]);
    let ended = service.import(&host, &["--default-usage", "encrypt", "--json"]).code(1);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!((&keys[0]["id"], &keys[0]["outcome"]), (&json!("appa"), &json!("imported")));
    assert_eq!(keys[0]["protection"], "software");
    assert!(keys[1]["error"].as_str().unwrap().contains("31 bytes"), "{}", keys[1]);
    assert!(document["config"].as_str().unwrap().contains("[[keyd.principal]]"));
}

#[test]
fn host_that_is_not_there_or_is_another_program_is_not_imported_into() {
    let service = Service::new();
    let file = service.key("appa", &[1; 32]);
    let usage = ["--default-usage", "encrypt", "--remove"];
    service.import(&Setup::soft().prepare(), &usage).code(3);
    // The native socket refuses with a document of another form.
    let host = soft();
    let native = host.socket().display().to_string();
    let command = |socket: &str| {
        let mut command = Command::new(built("sealctl"));
        command.arg("--socket").arg(host.socket()).arg("import-keyd");
        command.arg(service.path("config.toml")).args(["--keyd-socket", socket]).args(usage);
        Ended::of(&command.output().unwrap())
    };
    command(&native).code(2).says("the dialect is not sealhost");
    let other = other_service(&service.path("other.sock"));
    command(&other).code(2).says("is not sealhost");
    assert!(file.exists());
}

/// A program that refuses as the service itself does.
fn other_service(socket: &Path) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _read = stream.read(&mut [0; 4096]).unwrap();
        let body = r#"{"message":"parameter \"id\" has an invalid value"}"#;
        write!(stream, "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .unwrap();
    });
    socket.display().to_string()
}

#[test]
fn configuration_that_cannot_be_read_is_named_without_what_stands_in_it() {
    let (service, host) = (Service::new(), soft());
    service.patch("z.toml", "[preloaded_keys]\na = \"pkcs11:pin-value=8642\" 1\n");
    let ended = service.import(&host, &["--dry-run"]).code(2);
    ended.says("z.toml: line 2 is no TOML");
    assert!(!ended.err.contains("8642"), "{}", ended.err);
}
