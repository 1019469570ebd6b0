//! The units and accounts of `packaging/`, under a real systemd: started by their sockets, asked
//! by other units, as users of their own with next to no rights.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use swtpm_fixtures::{Swtpm, Systemd};
use tests::sealhost::built;

const LIMIT: Duration = Duration::from_secs(120);
const UNITS: [&str; 4] =
    ["sealhost.socket", "sealhost.service", "sas-signer.socket", "sas-signer.service"];
const PROGRAMS: [&str; 6] = [
    "sealhost",
    "sas-signer",
    "sealctl",
    "libprovider_soft.so",
    "libprovider_tpm.so",
    "libprovider_pkcs11.so",
];
/// Where the container has the programs and the plugin; its `/usr` is this machine's.
const PLACE: &str = "/opt/sealhost";

/// What a package does when it is installed, and then the sockets.
const INSTALL: &str = "\
trap 'journalctl --no-pager --unit=sealhost.service --unit=sas-signer.service' EXIT
mkdir -p /etc/sealhost /etc/sysusers.d /opt/sealhost
cp sealhost.toml sas-signer.toml /etc/sealhost/
mount --bind bin /opt/sealhost
cp sealhost.conf sas-signer.conf /etc/sysusers.d/
systemd-sysusers sealhost.conf sas-signer.conf
systemctl start sealhost.socket sas-signer.socket
sealctl=/opt/sealhost/sealctl
";

fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file);
    fs::read_to_string(path).unwrap()
}

/// A unit as it is shipped, but for where the program is.
fn unit(name: &str, place: &Path) -> String {
    packaged(&format!("systemd/{name}")).replace("=/usr/bin/", &format!("={}/", place.display()))
}

/// The example for the host with the software provider in a worker, and with the rule that the
/// example for the signer asks for.
fn host_config() -> String {
    let example = packaged("sealhost.toml");
    let (before, after) = example.split_once("# The TPM, through").unwrap();
    let (_, after) = after.split_once("[selection]").unwrap();
    let soft = "[[provider]]\nname = \"soft\"\nplugin = \"provider_soft\"\n";
    let after = after.replace("order = [\"tpm\"]", "order = [\"soft\"]");
    let after = after.replace("floor = \"hardware\"", "floor = \"software\"");
    let signer = packaged("sas-signer.toml");
    let rule: Vec<_> = signer.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let from = rule.iter().position(|line| *line == "[[rule]]").unwrap();
    let rule = rule[from..].join("\n");
    format!("{before}{soft}[selection]{after}\n{rule}\n").replace("/usr/lib/sealhost", PLACE)
}

/// The example for the host with an emulator for its TPM, and with its HSM.
fn device_config(swtpm: &Swtpm) -> String {
    let example = packaged("sealhost.toml");
    let (before, hsm) = example.split_once("# An HSM, where there is one.").unwrap();
    let (hsm, after) = hsm.split_once("# Keys in software").unwrap();
    let hsm: Vec<_> = hsm.lines().skip(1).filter_map(|line| line.strip_prefix("# ")).collect();
    format!("{before}{}\n#{after}", hsm.join("\n"))
        .replace("device:/dev/tpmrm0", &swtpm.tcti())
        .replace("order = [\"tpm\"]", "order = [\"tpm\", \"hsm\"]")
        .replace("floor = \"hardware\"", "floor = \"emulated\"")
        .replace("/usr/lib/sealhost", PLACE)
}

/// A container in which the packages are about to be installed.
struct Machine {
    systemd: Systemd,
    shared: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let mut systemd = Systemd::new().unwrap();
        let shared = systemd.shared();
        fs::create_dir(shared.join("bin")).unwrap();
        for program in PROGRAMS {
            let (from, to) = (built(program), shared.join("bin").join(program));
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).unwrap();
            }
        }
        fs::write(shared.join("sealhost.toml"), host_config()).unwrap();
        for (file, from) in [
            ("sas-signer.toml", "sas-signer.toml"),
            ("sealhost.conf", "sysusers.d/sealhost.conf"),
            ("sas-signer.conf", "sysusers.d/sas-signer.conf"),
        ] {
            fs::write(shared.join(file), packaged(from)).unwrap();
        }
        for name in UNITS {
            systemd.unit(name, &unit(name, Path::new(PLACE))).unwrap();
        }
        Self { systemd, shared }
    }

    /// Adds a unit that runs a script as a user and member of a group, with its output in a file.
    fn caller(&mut self, name: &str, user: &str, group: &str, script: &str) {
        let text = format!(
            "[Service]\nType=oneshot\nUser={user}\nSupplementaryGroups={group}\n\
             ExecStart=/bin/sh -euc '{script}'\n\
             StandardOutput=truncate:{0}/{name}.out\nStandardError=truncate:{0}/{name}.err\n",
            self.shared.display()
        );
        self.systemd.unit(&format!("{name}.service"), &text).unwrap();
    }

    /// Boots, installs, and runs a script as root.
    #[track_caller]
    fn run(&mut self, script: &str) {
        let shared = self.shared.display();
        fs::write(self.shared.join("script"), format!("{INSTALL}{script}")).unwrap();
        let text = format!(
            "[Service]\nType=oneshot\nWorkingDirectory={shared}\n\
             ExecStart=/bin/sh -eux {shared}/script\n\
             StandardOutput=append:{shared}/log\nStandardError=append:{shared}/log\n"
        );
        self.systemd.unit("it.service", &text).unwrap();
        let ended = self.systemd.run("it.service", LIMIT).unwrap();
        assert!(ended.success, "{}\n{}", ended.console, self.read("log"));
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.shared.join(file)).unwrap()
    }
}

/// Asserts that a daemon whose `/proc/PID/status` this is has a user and nothing else.
#[track_caller]
fn check_confined(status: &str) {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert!(field("Uid").iter().all(|uid| *uid != "0"), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1"], vec!["2"]));
}

#[test]
fn sealhost_is_started_by_its_socket_and_serves_other_units() {
    let mut machine = Machine::new();
    let seal = "printf secret | /opt/sealhost/sealctl seal app/one";
    machine.caller("seals", "daemon", "sealhost", seal);
    let unseal = "/opt/sealhost/sealctl unseal app/one --in /run/sealed";
    machine.caller("unseals", "daemon", "sealhost", unseal);
    machine.caller("stranger", "daemon", "nogroup", "/opt/sealhost/sealctl status");
    machine.run(
        "test $(systemctl show sealhost.service --property=ActiveState --value) = inactive
        $sealctl key create app/one --usage seal
        systemctl start seals.service
        cp seals.out /run/sealed
        systemctl reload sealhost.service
        systemctl restart sealhost.service
        systemctl start unseals.service
        if systemctl start stranger.service; then exit 1; fi
        pid=$(systemctl show sealhost.service --property=MainPID --value)
        cat /proc/$pid/status > status
        cat /proc/$pid/task/*/children > workers
        read worker rest < workers || true
        cat /proc/$worker/status > worker
        stat --format='%a %U %G' /run/sealhost/sealhost.sock > socket
        stat --format='%a %U' /var/lib/sealhost /var/log/sealhost > directories
        systemctl stop sealhost.service
        test -S /run/sealhost/sealhost.sock
        $sealctl status",
    );
    assert!(machine.read("seals.out").starts_with("sealhost:1:"));
    assert_eq!(machine.read("unseals.out"), "secret");
    assert!(machine.read("stranger.err").contains("ermission denied"));
    check_confined(&machine.read("status"));
    check_confined(&machine.read("worker"));
    assert_eq!(machine.read("socket"), "660 root sealhost\n");
    assert_eq!(machine.read("directories"), "700 sealhost\n700 sealhost\n");
}

#[test]
fn dialect_of_keyd_is_reached_by_a_socket_of_its_own() {
    let mut machine = Machine::new();
    machine.systemd.unit(KEYD_UNIT, &unit(KEYD_UNIT, Path::new(PLACE))).unwrap();
    let keyd = "[listen.keyd]\nsocket = \"/run/aziot/keyd.sock\"\n\
                [[keyd.principal]]\nuid = 0\nkeys = [\"app*\"]\n";
    let config = format!("{}\n{keyd}", host_config());
    fs::write(machine.shared.join("sealhost.toml"), config).unwrap();
    machine.run(
        "systemctl start sealhost-keyd.socket
        stat --format='%a %U' /run/aziot/keyd.sock > socket
        keyd() { curl --silent --show-error --unix-socket /run/aziot/keyd.sock $@; }
        version=api-version=2020-09-01
        echo '{\"keyId\":\"app1\",\"usage\":\"sign\"}' > body
        keyd http://keyd.sock/key?$version --data @body \\
            --header Content-Type:application/json > created
        systemctl restart sealhost.service
        keyd http://keyd.sock/key/app1?$version > found
        $sealctl key show keyd/key/app1 > shown",
    );
    assert_eq!(machine.read("socket"), "660 root\n");
    for reply in ["created", "found"] {
        assert!(machine.read(reply).starts_with("{\"keyHandle\":\"sr="), "{}", machine.read(reply));
    }
    assert!(machine.read("shown").contains("mac (hmac-sha256)"), "{}", machine.read("shown"));
}

#[test]
fn sas_signer_is_started_by_its_socket_and_starts_sealhost_by_its_own() {
    let mut machine = Machine::new();
    let token = "/opt/sealhost/sealctl sas token line1/device1 iot-hub-device \
                 --hub myhub.azure-devices.net --device device1";
    machine.caller("device", "daemon", "sas-signer", token);
    machine.caller("other", "nobody", "sas-signer", token);
    machine.run(
        "echo AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= > /run/key
        $sealctl sas import line1/device1 --form decoded --in /run/key
        systemctl is-active sealhost.service
        systemctl start device.service
        if systemctl start other.service; then exit 1; fi
        pid=$(systemctl show sas-signer.service --property=MainPID --value)
        cat /proc/$pid/status > status
        stat --format='%a %U %G' /run/sas-signer/sas-signer.sock > socket
        stat --format='%a %U' /var/lib/sas-signer /var/log/sas-signer > directories",
    );
    let start = "SharedAccessSignature sr=myhub.azure-devices.net%2fdevices%2fdevice1&sig=";
    assert!(machine.read("device.out").starts_with(start));
    assert_eq!(machine.read("other.out"), "");
    assert!(machine.read("other.err").contains("denied"));
    check_confined(&machine.read("status"));
    assert_eq!(machine.read("socket"), "660 root sas-signer\n");
    assert_eq!(machine.read("directories"), "700 sas-signer\n700 sas-signer\n");
}

#[test]
fn providers_reach_their_devices_from_within_the_unit() {
    let mut machine = Machine::new();
    let swtpm = Swtpm::start().unwrap();
    fs::write(machine.shared.join("sealhost.toml"), device_config(&swtpm)).unwrap();
    // The emulator is no device node but a port of this machine.
    let here = "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET\nIPAddressDeny=\n\
                LoadCredential=hsm-pin:/etc/sealhost/pin\n";
    machine.systemd.unit("sealhost.service.d/here.conf", here).unwrap();
    machine.run(
        "(umask 077; printf 1234 > /etc/sealhost/pin)
        tokens=/var/lib/sealhost/tokens
        echo directories.tokendir=$tokens > /etc/sealhost/softhsm2.conf
        mkdir -p $tokens
        export SOFTHSM2_CONF=/etc/sealhost/softhsm2.conf
        softhsm2-util --init-token --free --label edge --pin 1234 --so-pin 12345678
        chown -R sealhost:sealhost /var/lib/sealhost
        for provider in tpm hsm; do
            $sealctl key create app/$provider --usage seal --provider $provider
            printf secret-$provider | $sealctl seal app/$provider --out sealed-$provider
            $sealctl unseal app/$provider --in sealed-$provider --out unsealed-$provider
        done",
    );
    for provider in ["tpm", "hsm"] {
        assert_eq!(machine.read(&format!("unsealed-{provider}")), format!("secret-{provider}"));
    }
}

#[test]
fn daemons_tell_the_watchdog_that_they_live() {
    let mut machine = Machine::new();
    for daemon in ["sealhost", "sas-signer"] {
        let often = "[Service]\nWatchdogSec=4s\n";
        machine.systemd.unit(&format!("{daemon}.service.d/often.conf"), often).unwrap();
    }
    machine.run(
        "told() { systemctl show $1 --property=WatchdogTimestampMonotonic --value; }
        for daemon in sealhost sas-signer; do
            systemctl start $daemon.service
            set +x; first=$(told $daemon)
            until test $(told $daemon) -gt $first; do :; done
            set -x; test $(systemctl show $daemon --property=NRestarts --value) = 0
        done",
    );
}

/// The socket of the dialect of the aziot Key Service, which not every host has.
const KEYD_UNIT: &str = "sealhost-keyd.socket";
/// Those of the secret manager, which `secrets_systemd.rs` starts.
const SECRET_UNITS: [&str; 3] =
    ["secret-manager.socket", "secret-manager-credentials.socket", "secret-manager.service"];

/// Runs `systemd-analyze` on the units, with the built programs in place.
fn analyze(words: &[&str], names: &[&str]) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let place = built("sealhost");
    for name in UNITS.into_iter().chain(SECRET_UNITS).chain([KEYD_UNIT]) {
        fs::write(dir.path().join(name), unit(name, place.parent().unwrap())).unwrap();
    }
    let units = names.iter().map(|name| dir.path().join(name));
    let output = Command::new("systemd-analyze").args(words).args(units).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn units_have_no_fault_that_systemd_finds() {
    let all: Vec<_> = UNITS.into_iter().chain(SECRET_UNITS).chain([KEYD_UNIT]).collect();
    let (accepted, said) = analyze(&["verify", "--man=no"], &all);
    // It says of a key that it does not know only that it ignores it.
    assert!(accepted && said.is_empty(), "{said}");
}

/// Compares a service's exposure, 0 to 10, with its bound in tenths and with what `SECURITY.md`
/// says it is.
#[track_caller]
fn check_exposure(service: &str, tenths: u32) {
    let threshold = format!("--threshold={tenths}");
    let words = ["security", "--offline=true", "--no-pager", &threshold];
    let (accepted, said) = analyze(&words, &[service]);
    assert!(accepted, "{said}");
    let level = format!("Overall exposure level for {service}: ");
    let found = said.lines().find_map(|line| line.split_once(&level)).unwrap().1;
    let found = found.split(' ').next().unwrap();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md")).unwrap();
    assert!(page.contains(&format!("| `{service}` | {found} |")), "{service} has {found}");
}

#[test]
fn services_are_exposed_no_more_than_they_need() {
    check_exposure("sealhost.service", 8);
    check_exposure("sas-signer.service", 6);
    check_exposure("secret-manager.service", 15);
}
