//! What a worker can do, with its sandbox and without; and that its limits are its own matter.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};
use tests::{Sealhost, User};

use crate::bench::{
    Faulty, check_not_open, faulty, faulty_works, logged, mac, soft_works, wait_until_open,
};

/// What the plugin that tries everything could do, as it said in one place.
struct Tried {
    worked: Vec<String>,
    refused: Vec<String>,
}

impl Tried {
    fn while_(host: &Sealhost, when: &str) -> Self {
        let log = host.log();
        let begins = format!("{when}: ");
        let lines = log.lines().filter_map(|line| line.strip_prefix(&begins));
        let said = |word: &str| {
            let said = lines.clone().filter_map(|line| line.strip_suffix(word));
            let mut said: Vec<_> = said.map(str::to_owned).collect();
            said.sort();
            said.dedup();
            said
        };
        Self { worked: said(": WORKED"), refused: said(": refused") }
    }
}

/// What it tries while it is loaded, and what more in a call, which needs settings.
const TRIED_LOADING: usize = 17;
const TRIED_WORKING: usize = TRIED_LOADING + 8;

/// A host with the plugin that tries everything, after it has.
fn tried(sandbox: &str, needs: &str) -> (Sealhost, TcpListener) {
    tried_with("", sandbox, needs)
}

/// The same, with a section more for the host.
fn tried_with(section: &str, sandbox: &str, needs: &str) -> (Sealhost, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut host = faulty("tries_everything").prepare();
    let dir = host.dir().to_str().unwrap().trim_start_matches('/').to_owned();
    let needs = needs.replace("DIR", &format!("/{dir}")).replace("PORT", &port.to_string());
    host.reconfigure(|_| {
        faulty("tries_everything")
            .settings(&format!("state = \"{dir}/state\"\nelsewhere = \"{dir}/elsewhere\""))
            .settings(&format!("port = {port}\nneeds = {needs:?}"))
            .deadline(sandbox)
            .setup()
            .with(section)
    });
    fs::create_dir(host.dir().join("elsewhere")).unwrap();
    fs::create_dir(host.state_dir()).unwrap();
    fs::set_permissions(host.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(host.state_dir().join("victim"), "secret").unwrap();
    host.start();
    assert_eq!(host.provider("c")["state"], "open", "{}", host.log());
    host.create("m", "mac", "c");
    let _mac = mac(&host, b"try").text("mac");
    (host, listener)
}

#[test]
fn worker_can_do_nothing_that_its_provider_does_not_need() {
    let (host, _listener) = tried("", "");
    for (when, count) in [("loading", TRIED_LOADING), ("working", TRIED_WORKING)] {
        let Tried { worked, refused } = Tried::while_(&host, when);
        assert_eq!(worked, [""; 0], "{when}");
        assert_eq!(refused.len(), count, "{when}: {refused:?}");
    }
    assert_eq!(fs::read(host.state_dir().join("victim")).unwrap(), b"secret");
}

#[test]
fn worker_and_host_without_a_sandbox_can_do_all_of_it() {
    let (host, _listener) = tried_with("[sandbox]\nlevel = \"off\"", OFF, "");
    for (when, count) in [("loading", TRIED_LOADING), ("working", TRIED_WORKING)] {
        let Tried { worked, refused } = Tried::while_(&host, when);
        assert_eq!(refused, [""; 0], "{when}");
        assert_eq!(worked.len(), count, "{when}: {worked:?}");
    }
    assert_eq!(host.provider("c").get("sandbox"), None);
    assert_eq!(host.get("/v1/status").ok()["sandbox"]["syscalls"], "none");
    assert!(logged(&host, &["WARN", "the daemon is not confined"]));
}

#[test]
fn worker_without_a_sandbox_has_the_filter_of_the_host() {
    let (host, _listener) = tried(OFF, "");
    let kept = ["leave its namespace", "read the memory of the host by call", "trace the host"];
    let Tried { refused, .. } = Tried::while_(&host, "working");
    assert!(kept.iter().all(|kept| refused.iter().any(|it| it == kept)), "{refused:?}");
}

const OFF: &str = "[provider.sandbox]\nlevel = \"off\"";

#[test]
fn worker_gets_what_its_provider_says_it_needs_and_no_more() {
    let needs = "write DIR/elsewhere\nconnect tcp PORT\n";
    let (host, _listener) = tried("", needs);
    let Tried { worked, .. } = Tried::while_(&host, "working");
    assert_eq!(worked, ["connect to a port", "make a TCP socket", "write elsewhere"]);
}

#[test]
fn worker_gets_no_file_of_the_host_for_the_asking() {
    let needs = "write DIR/state\nread DIR\nread /\nwrite DIR/state/victim\n";
    let (host, _listener) = tried("", needs);
    assert_eq!(Tried::while_(&host, "working").worked, [""; 0]);
    assert!(logged(&host, &["WARN", "asks for what holds the host's own files"]));
}

#[test]
fn worker_gets_a_file_of_the_host_from_the_operator() {
    let sandbox = "[provider.sandbox]\nread = [\"/etc/shadow\"]\nprograms = true";
    let (host, _listener) = tried(sandbox, "");
    let Tried { worked, .. } = Tried::while_(&host, "working");
    for what in ["read the passwords of the system", "run a program"] {
        assert!(worked.contains(&what.to_owned()), "{worked:?}");
    }
    for what in ["read a file of the host", "make a TCP socket", "trace the host"] {
        assert!(!worked.contains(&what.to_owned()), "{worked:?}");
    }
}

#[test]
fn level_that_was_reached_is_in_the_status() {
    let host = faulty("good").start_open();
    let reached = &host.provider("c")["sandbox"];
    let full = json!({
        "filesystem": "full", "network": "full", "syscalls": "full",
        "memory_bytes": 512 << 20, "files": 256,
    });
    assert_eq!(*reached, full);
    let status = host.get("/v1/status").ok();
    assert_eq!(status["sandbox"]["syscalls"], "full", "{status}");
    assert_eq!(host.provider("soft").get("sandbox"), None, "it is in the host");
    assert!(logged(&host, &["INFO", "the daemon is", "syscalls full"]));
}

#[test]
fn level_required_is_had_here() {
    let host = faulty("good").deadline("[provider.sandbox]\nlevel = \"required\"").start_open();
    faulty_works(&host);
}

/// A provider whose workers have little of something.
fn limited(source: &'static str, limits: &str) -> Faulty {
    faulty(source).deadline(&format!("[provider.sandbox]\n{limits}"))
}

#[test]
fn leak_costs_the_worker_and_nobody_else() {
    let host = limited("leaks_in_mac", "memory_mib = 128").start_open();
    let worker = host.workers()[0];
    let mut answers = 0;
    let lost = loop {
        let reply = mac(&host, b"message");
        if reply.status != 200 {
            break reply;
        }
        answers += 1;
        assert!(answers < 8, "it has more than 128 MiB");
    };
    assert!(answers > 3, "it never had 64 MiB");
    let _gone = lost.problem(503, "unavailable");
    soft_works(&host, "other");
    host.wait_until("another worker", |host| {
        host.workers().first().is_some_and(|it| *it != worker)
    });
    wait_until_open(&host);
    faulty_works(&host);
    let _mac = mac(&host, b"message").text("mac");
}

#[test]
fn files_that_a_worker_opens_are_its_own() {
    let host = limited("opens_in_mac", "files = 64").start_open();
    let _exhausted = mac(&host, b"message").problem(503, "unavailable");
    let opened = host.log().lines().find_map(|line| {
        let number = line.strip_prefix("opened ")?.strip_suffix(" files")?;
        number.parse::<usize>().ok()
    });
    assert!(opened.is_some_and(|opened| (50..64).contains(&opened)), "{opened:?}");
    soft_works(&host, "other");
}

#[test]
fn needs_that_are_none_keep_the_provider_down() {
    let host = faulty("needs_nonsense").start();
    check_not_open(&host, "down", &["execute /bin/sh", "is no need"]);
    let host = faulty("needs_too_long").start();
    check_not_open(&host, "down", &["text of needs of impossible length"]);
}

#[test]
fn table_without_needs_needs_nothing() {
    let host = faulty("shorter_table").start_open();
    assert_eq!(host.provider("c")["sandbox"]["network"], "full");
    faulty_works(&host);
}

/// Whether this user can open anything of a process that tells of its memory or its files.
fn can_look_into(user: &User, pid: u32) -> Vec<String> {
    user.does(|| {
        let mut seen = Vec::new();
        for name in ["mem", "maps", "smaps", "environ", "auxv", "io", "stack"] {
            // A file that opens is not yet one that tells.
            let read = fs::File::open(format!("/proc/{pid}/{name}")).and_then(|mut file| {
                std::io::copy(&mut std::io::Read::take(&mut file, 1), &mut std::io::sink())
            });
            if read.is_ok() {
                seen.push(name.to_owned());
            }
        }
        for name in ["fd", "fdinfo", "map_files"] {
            if fs::read_dir(format!("/proc/{pid}/{name}")).is_ok() {
                seen.push(name.to_owned());
            }
        }
        for name in ["cwd", "exe", "root"] {
            if fs::read_link(format!("/proc/{pid}/{name}")).is_ok() {
                seen.push(name.to_owned());
            }
        }
        seen
    })
}

#[test]
fn proc_tells_its_own_user_nothing_of_host_and_worker() {
    let somebody = User::new(4711);
    let mut host = faulty("good").prepare();
    chown(host.dir(), Some(4711), Some(4711)).unwrap();
    chown(host.config_path(), Some(4711), Some(4711)).unwrap();
    somebody.does(|| host.start());
    assert_eq!(host.provider("c")["state"], "open", "{}", host.log());
    for pid in [host.pid(), host.workers()[0]] {
        assert_eq!(can_look_into(&somebody, pid), [""; 0]);
    }
    // An ordinary process of theirs shows them.
    let mut other =
        somebody.does(|| std::process::Command::new("sleep").arg("60").spawn().unwrap());
    assert!(can_look_into(&somebody, other.id()).len() > 5);
    other.kill().unwrap();
    other.wait().unwrap();
}

/// The status of a provider that crashed in a call.
fn crashed(host: &Sealhost) -> Value {
    let _gone = mac(host, b"message").problem(503, "unavailable");
    wait_until_open(host)
}

#[test]
fn crashed_worker_leaves_no_core() {
    let host = faulty("crashes_in_mac").start_open();
    let _status = crashed(&host);
    assert!(logged(&host, &["worker lost", "signal: 11"]));
    assert!(!logged(&host, &["core dumped"]), "{}", host.log());
}
