//! `LoadCredential=` of a real systemd, which asks the secret manager through the sockets and the
//! unit of `packaging/systemd`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use swtpm_fixtures::Systemd;
use tests::sealhost::built;

const LIMIT: Duration = Duration::from_secs(60);
const VALUE: &[u8] = b"correct horse\n\0 battery";

/// A container with host and secret manager, where `web/db` is stored before anything asks.
struct Booted {
    systemd: Systemd,
    shared: PathBuf,
}

impl Booted {
    fn new() -> Self {
        let mut systemd = Systemd::new().unwrap();
        let shared = systemd.shared();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        for program in ["sealhost", "secret-manager", "sealctl", "libprovider_soft.so"] {
            systemd.see(&built(program));
        }
        write(&shared.join("value"), VALUE);
        let users =
            packaged("sysusers.d/sealhost.conf") + &packaged("sysusers.d/secret-manager.conf");
        write(&shared.join("users.conf"), users.as_bytes());
        write(&shared.join("sealhost.toml"), host_config(&shared).as_bytes());
        write(&shared.join("secret-manager.toml"), packaged("secret-manager.toml").as_bytes());
        units(&mut systemd, &shared);
        Self { systemd, shared }
    }

    /// Boots and runs a script as root, once the secret is stored; it must succeed.
    fn run(&mut self, script: &str) {
        // A requirement that failed would keep the unit from starting, and thus from ending.
        let stored = "systemctl start stored.service || { journalctl --no-pager; exit 1; }\n";
        write(&self.shared.join("script"), format!("{stored}{script}").as_bytes());
        let text = format!(
            "[Service]\nType=oneshot\nWorkingDirectory={0}\nExecStart=/bin/sh -eux {0}/script\n\
             StandardOutput=truncate:{0}/said\nStandardError=append:{0}/said\n",
            self.shared.display()
        );
        self.systemd.unit("it.service", &text).unwrap();
        let ended = self.systemd.run("it.service", LIMIT);
        let said = String::from_utf8_lossy(&self.read("said")).into_owned();
        let ended = ended.unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(ended.success, "{}\n{said}", ended.console);
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.shared.join(file)).unwrap_or_default()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn host_config(shared: &Path) -> String {
    let plugin = built("libprovider_soft.so");
    format!(
        "[listen]\nsocket = \"/run/sealhost/sealhost.sock\"\ngroup = \"sealhost\"\n\
         [state]\ndir = \"/var/lib/sealhost\"\n[plugins]\ndir = \"{}\"\n\
         [audit]\npath = \"/var/log/sealhost/audit.log\"\n[selection]\nfloor = \"software\"\n\
         [[provider]]\nname = \"soft\"\nplugin = \"{}\"\nisolation = \"in-process\"\n\
         [[rule]]\nprincipal = {{ uid = 0 }}\nkeys = [\"**\"]\noperations = [\"*\"]\n\
         [[rule]]\nprincipal = {{ user = \"secret-manager\" }}\nkeys = [\"secret-manager/*\"]\n\
         operations = [\"seal\", \"unseal\", \"create_counter\", \"read_counter\", \"increment_counter\"]\n",
        shared.display(),
        plugin.display(),
    )
}

fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file);
    fs::read_to_string(path).unwrap()
}

fn units(systemd: &mut Systemd, shared: &Path) {
    let service = |more: &str| format!("[Service]\nType=oneshot\nRemainAfterExit=yes\n{more}");
    let (host, sealctl) = (built("sealhost"), built("sealctl"));
    let (sealctl, shared) = (sealctl.display(), shared.display());
    let text = format!(
        "[Service]\nType=notify\nExecStartPre=systemd-sysusers {shared}/users.conf\n\
         ExecStart={} --config {shared}/sealhost.toml\n\
         RuntimeDirectory=sealhost\nLogsDirectory=sealhost\n\
         StateDirectory=sealhost\nStateDirectoryMode=0700\n",
        host.display()
    );
    systemd.unit("sealhost.service", &text).unwrap();
    let key =
        service(&format!("ExecStart={sealctl} key create secret-manager/store --usage seal\n"));
    let key = format!("[Unit]\nRequires=sealhost.service\nAfter=sealhost.service\n{key}");
    systemd.unit("key.service", &key).unwrap();
    for unit in
        ["secret-manager.service", "secret-manager.socket", "secret-manager-credentials.socket"]
    {
        systemd.unit(unit, &packaged(&format!("systemd/{unit}"))).unwrap();
    }
    let here = format!(
        "[Unit]\nRequires=key.service\nAfter=key.service\n[Service]\nExecStart=\n\
         ExecStart={program} --config {shared}/secret-manager.toml\n\
         BindReadOnlyPaths={program} {shared}/secret-manager.toml\n",
        program = built("secret-manager").display(),
    );
    systemd.unit("secret-manager.service.d/here.conf", &here).unwrap();
    let put = service(&format!(
        "ExecStart={sealctl} --socket /run/secret-manager/secret-manager.sock secret put web/db --in {shared}/value\n"
    ));
    let needs = "[Unit]\nRequires=secret-manager.service\nAfter=secret-manager.service\n";
    systemd.unit("stored.service", &format!("{needs}{put}")).unwrap();
    for (unit, credential) in
        [("web.service", "db-password"), ("other.service", "db-password"), ("typo.service", "db")]
    {
        let text = format!(
            "[Service]\nType=oneshot\nDynamicUser=yes\n\
             LoadCredential={credential}:/run/secret-manager/credentials.sock\n\
             ExecStart=/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/{credential}; echo started >&2'\n\
             StandardOutput=truncate:{shared}/{unit}.out\nStandardError=truncate:{shared}/{unit}.err\n"
        );
        systemd.unit(unit, &text).unwrap();
    }
}

/// Starts a unit that asks for a credential: the bytes that it got and how it ended.
#[track_caller]
fn check(unit: &str, got: &[u8], result: &str, status: &str) {
    let mut booted = Booted::new();
    booted.run(&format!(
        "systemctl start {unit} || true\n\
         systemctl show {unit} --property=Result --property=ExecMainStatus > ended\n\
         cat /var/log/secret-manager/audit.log > audit\n"
    ));
    let how = String::from_utf8(booted.read("ended")).unwrap();
    assert!(how.contains(&format!("Result={result}\n")), "{how}");
    assert!(how.contains(&format!("ExecMainStatus={status}\n")), "{how}");
    assert!(booted.read(&format!("{unit}.out")) == got);
    let started = booted.read(&format!("{unit}.err")) == b"started\n";
    assert_eq!(started, status == "0", "whether its program was started");
    let audit = String::from_utf8(booted.read("audit")).unwrap();
    let line = audit.lines().rfind(|line| line.contains("\"operation\":\"credential\"")).unwrap();
    assert!(line.contains(&format!("\"unit\":\"{unit}\"")), "{line}");
}

#[test]
fn unit_gets_the_exact_bytes_of_its_credential() {
    check("web.service", VALUE, "success", "0");
}

#[test]
fn unit_whose_credential_is_not_configured_never_starts() {
    check("other.service", b"", "exit-code", "243");
    check("typo.service", b"", "exit-code", "243");
}

#[test]
fn unit_starts_the_secret_manager_by_its_socket_and_waits_for_it() {
    let mut booted = Booted::new();
    booted.run(
        "systemctl stop secret-manager.service\n\
         test \"$(systemctl is-active secret-manager.service || true)\" = inactive\n\
         systemctl start web.service\n\
         systemctl is-active secret-manager.service\n",
    );
    assert!(booted.read("web.service.out") == VALUE);
}

#[test]
fn secret_manager_runs_hardened_as_its_own_user() {
    let mut booted = Booted::new();
    booted.run(
        "pid=$(systemctl show secret-manager.service --property=MainPID --value)\n\
         cat /proc/$pid/status > status\n\
         stat -c '%a %U' /var/lib/secret-manager > state\n\
         id -u secret-manager > user\n\
         systemctl reload secret-manager.service\n\
         systemctl is-active secret-manager.service\n",
    );
    let user = String::from_utf8(booted.read("user")).unwrap();
    let user = user.trim();
    let status = String::from_utf8(booted.read("status")).unwrap();
    for line in [
        &format!("Uid:\t{user}\t{user}\t{user}\t{user}"),
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.lines().any(|found| found == line), "{line} is not in {status}");
    }
    assert_eq!(booted.read("state"), b"700 secret-manager\n");
}
