//! Rules that name a unit, under a real systemd, with the unit and account that are shipped.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use swtpm_fixtures::Systemd;
use tests::sealhost::built;

const LIMIT: Duration = Duration::from_secs(120);
/// Where the container has the programs and the plugin.
const PLACE: &str = "/opt/sealhost";
const PROGRAMS: [&str; 3] = ["sealhost", "sealctl", "libprovider_soft.so"];

const CONFIG: &str = r#"
[listen]
socket = "/run/sealhost/sealhost.sock"
mode = "0666"
[state]
dir = "/var/lib/sealhost"
[plugins]
dir = "/opt/sealhost"
[audit]
path = "/var/log/sealhost/audit.log"
[selection]
floor = "software"
[[provider]]
name = "soft"
plugin = "provider_soft"
isolation = "in-process"
[[rule]]
principal = { unit = "app.service" }
operations = ["random"]
[[rule]]
principal = { unit = "many@.service" }
operations = ["random"]
[[rule]]
principal = { unit = "one@first.service" }
operations = ["random"]
"#;

/// Installs what a package does, and starts the socket. `ask` asks once as a user without rights.
const INSTALL: &str = r#"
trap 'journalctl --no-pager --unit=sealhost.service > journal; cp /var/log/sealhost/audit.log audit || true' EXIT
mkdir -p /etc/sealhost /etc/sysusers.d /opt/sealhost
cp sealhost.toml /etc/sealhost/
mount --bind bin /opt/sealhost
cp sealhost.conf /etc/sysusers.d/
systemd-sysusers sealhost.conf
systemctl start sealhost.socket
ask="setpriv --reuid=daemon --regid=daemon --clear-groups /opt/sealhost/sealctl random 1"
allowed() { systemctl start $1; }
denied() { if systemctl start $1; then exit 1; fi; grep -q 'ermission denied' $1.err; }
"#;

/// Where the control groups of version 2 are, also beside older ones.
const GROUPS: &str =
    "groups=/sys/fs/cgroup; if test -d $groups/unified; then groups=$groups/unified; fi";

/// Connects, and only then does what its arguments say: `ends` leaves the connection to a child
/// and ends; `asks` asks once, waits for the file `go`, and asks again. Writes the statuses.
const CLIENT: &str = r#"
use strict; use Socket; use IO::Handle;
my ($how, $shared) = @ARGV;
socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
connect($s, pack_sockaddr_un("/run/sealhost/sealhost.sock")) or die;
$s->autoflush(1);
sub ask {
    my $body = '{"bytes":1}';
    print $s "POST /v1/random HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    my $length = 0; my $status = <$s>;
    while (my $line = <$s>) { $length = $1 if $line =~ /^content-length: (\d+)/i; last if $line eq "\r\n"; }
    read($s, my $rest, $length);
    return (split ' ', $status)[1];
}
sub say_to { my ($file, $text) = @_; open(my $f, '>', "$shared/$file.new") or die; print $f $text; close $f; rename "$shared/$file.new", "$shared/$file"; }
sub wait_for { my $file = shift; select(undef, undef, undef, 0.01) until -e "$shared/$file"; }
if ($how eq 'ends') {
    exit 0 if fork;
    wait_for("go");
    say_to("status", ask());
} else {
    my $first = ask();
    say_to("asked", $$);
    wait_for("go");
    say_to("status", "$first " . ask());
}
"#;

fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file);
    fs::read_to_string(path).unwrap()
}

/// A container in which the package is about to be installed.
struct Machine {
    systemd: Systemd,
    shared: PathBuf,
}

impl Machine {
    /// With the unit as it is shipped, but for what an administrator adds to it.
    fn new(added: &str) -> Self {
        let mut systemd = Systemd::new().unwrap();
        let shared = systemd.shared();
        fs::create_dir(shared.join("bin")).unwrap();
        for program in PROGRAMS {
            let (from, to) = (built(program), shared.join("bin").join(program));
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).unwrap();
            }
        }
        fs::write(shared.join("sealhost.toml"), CONFIG).unwrap();
        fs::write(shared.join("sealhost.conf"), packaged("sysusers.d/sealhost.conf")).unwrap();
        fs::write(shared.join("client"), CLIENT).unwrap();
        let service = packaged("systemd/sealhost.service");
        let service = service.replace("=/usr/bin/", &format!("={PLACE}/"));
        systemd.unit("sealhost.service", &service).unwrap();
        systemd.unit("sealhost.service.d/here.conf", &format!("[Service]\n{added}\n")).unwrap();
        let socket =
            packaged("systemd/sealhost.socket").replace("SocketMode=0660", "SocketMode=0666");
        assert!(socket.contains("0666"));
        systemd.unit("sealhost.socket", &socket).unwrap();
        let mut machine = Self { systemd, shared };
        let asks = format!("{PLACE}/sealctl random 1");
        for unit in ["app.service", "other.service", "many@.service", "one@.service"] {
            machine.service(unit, "oneshot", &asks);
        }
        machine
    }

    /// Adds a unit that runs a command as a user who has no rights of its own.
    fn service(&mut self, name: &str, kind: &str, command: &str) {
        let shared = self.shared.display();
        let text = format!(
            "[Service]\nType={kind}\nUser=daemon\nExecStart={command}\n\
             StandardOutput=truncate:{shared}/%n.out\nStandardError=truncate:{shared}/%n.err\n"
        );
        self.systemd.unit(name, &text).unwrap();
    }

    /// Boots, installs, and runs a script as root.
    #[track_caller]
    fn run(&mut self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        // The services' user writes there too.
        fs::set_permissions(&self.shared, fs::Permissions::from_mode(0o777)).unwrap();
        let shared = self.shared.display();
        fs::write(self.shared.join("script"), format!("{INSTALL}{GROUPS}\n{script}")).unwrap();
        let text = format!(
            "[Service]\nType=oneshot\nWorkingDirectory={shared}\n\
             ExecStart=/bin/sh -eux {shared}/script\n\
             StandardOutput=append:{shared}/log\nStandardError=append:{shared}/log\n"
        );
        self.systemd.unit("it.service", &text).unwrap();
        let ended = self.systemd.run("it.service", LIMIT).unwrap();
        let said = || format!("{}\n{}\n{}", ended.console, self.read("log"), self.read("journal"));
        assert!(ended.success, "{}", said());
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.shared.join(file)).unwrap_or_default()
    }

    /// Which units the audit has as callers, with how they were answered.
    fn audited(&self) -> Vec<(Option<String>, String)> {
        let lines = self.read("audit");
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let asked = lines.filter(|line| line["operation"] == "random");
        let unit = |line: &Value| line["unit"].as_str().map(str::to_owned);
        asked.map(|line| (unit(&line), line["outcome"].as_str().unwrap().to_owned())).collect()
    }
}

/// Of the other two daemons, as much as they need to start and to say how they are.
const OTHERS: [(&str, &str); 2] = [
    ("sas-signer", "keys = []\noperations = [\"status\"]\n"),
    ("secret-manager", "operations = [\"status\"]\n[[store]]\ntype = \"memory\"\n"),
];

#[test]
fn other_daemons_know_units_too() {
    let mut machine = Machine::new(VISIBLE);
    let mut script = String::new();
    for (daemon, more) in OTHERS {
        let (from, to) = (built(daemon), machine.shared.join("bin").join(daemon));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).unwrap();
        }
        let config = format!(
            "[listen]\nsocket = \"/run/{daemon}/api.sock\"\nmode = \"0666\"\n\
             [state]\ndir = \"/var/lib/{daemon}\"\n\
             [audit]\npath = \"/var/log/{daemon}/audit.log\"\n\
             [[rule]]\nprincipal = {{ unit = \"asks-{daemon}.service\" }}\n{more}"
        );
        fs::write(machine.shared.join(format!("{daemon}.toml")), config).unwrap();
        let users = packaged(&format!("sysusers.d/{daemon}.conf"));
        fs::write(machine.shared.join(format!("{daemon}.conf")), users).unwrap();
        // With no socket of the service manager, so that one file is enough.
        let service = packaged(&format!("systemd/{daemon}.service"));
        let kept = |line: &&str| {
            !["Requires=", "After=", "Sockets="].iter().any(|it| line.starts_with(it))
        };
        let service: Vec<_> = service.lines().filter(kept).collect();
        let service = service.join("\n").replace("=/usr/bin/", &format!("={PLACE}/"));
        machine.systemd.unit(&format!("{daemon}.service"), &service).unwrap();
        let here = format!("[Service]\n{VISIBLE}\nRuntimeDirectory={daemon}\n");
        machine.systemd.unit(&format!("{daemon}.service.d/here.conf"), &here).unwrap();
        let kind = if daemon == "sas-signer" { "sas" } else { "secret" };
        let status = format!("{PLACE}/sealctl --socket /run/{daemon}/api.sock {kind} status");
        machine.service(&format!("asks-{daemon}.service"), "oneshot", &status);
        machine.service(&format!("other-{daemon}.service"), "oneshot", &status);
        script += &format!(
            "cp {daemon}.toml /etc/sealhost/; cp {daemon}.conf /etc/sysusers.d/
             systemd-sysusers {daemon}.conf
             systemctl start {daemon}.service || {{ journalctl --no-pager --unit={daemon}.service; exit 1; }}
             allowed asks-{daemon}.service; denied other-{daemon}.service\n"
        );
    }
    machine.run(&script);
}

const VISIBLE: &str = "ProtectProc=default";

/// Runs a script, and compares who asked and how they were answered, in order.
#[track_caller]
fn check(script: &str, audited: &[(Option<&str>, &str)]) {
    let mut machine = Machine::new(VISIBLE);
    machine.run(script);
    let found = machine.audited();
    let found: Vec<_> = found.iter().map(|(unit, how)| (unit.as_deref(), how.as_str())).collect();
    assert_eq!(found, audited);
}

#[test]
fn unit_that_a_rule_names_may_and_another_of_the_same_user_may_not() {
    check(
        "allowed app.service; denied other.service",
        &[(Some("app.service"), "ok"), (Some("other.service"), "denied")],
    );
}

#[test]
fn rule_of_a_template_is_for_every_instance_and_that_of_an_instance_for_it_alone() {
    check(
        "allowed many@a.service; allowed many@b-c.service
         allowed one@first.service; denied one@second.service",
        &[
            (Some("many@a.service"), "ok"),
            (Some("many@b-c.service"), "ok"),
            (Some("one@first.service"), "ok"),
            (Some("one@second.service"), "denied"),
        ],
    );
}

#[test]
fn process_of_the_same_user_outside_the_unit_may_not() {
    check(
        "if $ask; then exit 1; fi
         if systemd-run --quiet --scope --unit=app $ask; then exit 1; fi",
        &[(Some("it.service"), "denied"), (Some("app.scope"), "denied")],
    );
}

/// A service that may make control groups makes some that are called as the unit with rights.
const PRETENDS: &str = "\
own=$groups$(grep ^0:: /proc/self/cgroup | cut -d: -f3)
for below in app.service x.slice/app.service; do
    mkdir -p $own/$below
    sh -euc 'echo $$ > \"$1/cgroup.procs\"; grep \"/$2$\" /proc/self/cgroup; shift 2; exec \"$@\"' \\
        sh $own/$below $below $ask || true
done
";

#[test]
fn control_group_below_a_unit_makes_nobody_another_unit() {
    let mut machine = Machine::new(VISIBLE);
    let (ask, groups) = (INSTALL.lines().find(|line| line.starts_with("ask=")), GROUPS);
    let script = format!("set -eux\n{}\n{groups}\n{PRETENDS}", ask.unwrap());
    fs::write(machine.shared.join("pretends"), script).unwrap();
    let unit = format!(
        "[Service]\nType=oneshot\nDelegate=yes\nExecStart=/bin/sh {0}/pretends\n\
         StandardOutput=truncate:{0}/pretended\nStandardError=append:{0}/pretended\n",
        machine.shared.display()
    );
    machine.systemd.unit("pretends.service", &unit).unwrap();
    machine.run("systemctl start pretends.service");
    let said = machine.read("pretended");
    let denied = (Some("pretends.service".to_owned()), "denied".to_owned());
    assert_eq!(machine.audited(), [denied.clone(), denied], "{said}");
    assert!(said.contains("/pretends.service/x.slice/app.service\n"), "{said}");
}

#[test]
fn process_that_connected_and_ended_has_no_unit() {
    let mut machine = Machine::new(VISIBLE);
    let client = format!("/usr/bin/perl {0}/client ends {0}", machine.shared.display());
    machine.service("app.service", "forking", &client);
    machine.run(
        "systemctl start sealhost.service
         pid=$(systemctl show sealhost.service --property=MainPID --value)
         kill -STOP $pid
         systemctl start app.service
         kill -CONT $pid
         touch go; until test -e status; do :; done",
    );
    assert_eq!(machine.read("status"), "403");
    assert_eq!(machine.audited(), [(None, "denied".to_owned())]);
}

/// A process is what it was when it connected, wherever root moves it.
#[track_caller]
fn check_moved(from: &str, to: &str, statuses: &str) {
    let mut machine = Machine::new(VISIBLE);
    let client = format!("/usr/bin/perl {0}/client asks {0}", machine.shared.display());
    machine.service(from, "simple", &client);
    machine.service(to, "simple", "/bin/sleep infinity");
    machine.run(&format!(
        "systemctl start sealhost.service {from} {to}
         until test -e asked; do :; done
         pid=$(cat asked)
         other=$(systemctl show {to} --property=MainPID --value)
         echo $pid > $groups$(grep ^0:: /proc/$other/cgroup | cut -d: -f3)/cgroup.procs
         grep /{to}$ /proc/$pid/cgroup
         touch go; until test -e status; do :; done"
    ));
    assert_eq!(machine.read("status"), statuses);
}

#[test]
fn process_that_is_moved_into_the_unit_after_connecting_may_not() {
    check_moved("other.service", "app.service", "403 403");
}

#[test]
fn process_that_is_moved_out_of_the_unit_after_connecting_goes_on() {
    check_moved("app.service", "other.service", "200 200");
}

#[test]
fn unit_as_it_is_shipped_hides_callers_and_says_so() {
    let mut machine = Machine::new("");
    machine.run("denied app.service; systemctl reload sealhost.service");
    assert_eq!(machine.audited(), [(None, "denied".to_owned())]);
    let journal = machine.read("journal");
    let warned = "3 rules name a unit and allow nothing: it needs /proc of other processes; set ProtectProc=default";
    assert_eq!(journal.matches(warned).count(), 2, "at start and on reload: {journal}");
}
