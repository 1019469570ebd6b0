//! Real files of real owners: these tests give files away, so they run as root, as the daemon's
//! check does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;

const DAEMON: u32 = 4_001;
const STRANGER: u32 = 4_002;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lib")).unwrap();
        fs::write(dir.path().join("lib/plugin.so"), b"x").unwrap();
        let tree = Self(dir);
        tree.mode("", 0o755).mode("lib", 0o755).mode("lib/plugin.so", 0o644)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(self, name: &str, mode: u32) -> Self {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn owner(self, name: &str, uid: u32) -> Self {
        chown(self.path(name), Some(uid), None).unwrap();
        self
    }

    fn link(self, name: &str, target: &str) -> Self {
        symlink(target, self.path(name)).unwrap();
        self
    }
}

/// Checks `name` for the user [`DAEMON`] and compares the outcome: `Ok`, or a part of the message.
#[track_caller]
fn check(tree: &Tree, name: &str, expected: Result<&str, &str>) {
    let found = check_owned(&tree.path(name), DAEMON);
    match (found, expected) {
        (Ok(path), Ok(real)) => assert_eq!(path, tree.path(real).canonicalize().unwrap()),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}

#[test]
fn file_of_root_below_sticky_tmp_is_trusted() {
    check(&Tree::new(), "lib/plugin.so", Ok("lib/plugin.so"));
}

#[test]
fn file_and_directory_of_the_daemon_are_trusted() {
    let tree = Tree::new().owner("lib", DAEMON).owner("lib/plugin.so", DAEMON);
    check(&tree, "lib/plugin.so", Ok("lib/plugin.so"));
}

#[test]
fn file_of_a_stranger_is_refused_with_the_chown() {
    let tree = Tree::new().owner("lib/plugin.so", STRANGER);
    check(&tree, "lib/plugin.so", Err("lib/plugin.so is owned by uid 4002"));
    check(&tree, "lib/plugin.so", Err("run: chown -h 4001 "));
}

#[test]
fn directory_of_a_stranger_is_refused_by_its_name() {
    check(&Tree::new().owner("lib", STRANGER), "lib/plugin.so", Err("/lib is owned by uid 4002"));
}

#[test]
fn file_writable_by_group_is_refused_with_the_chmod() {
    let tree = Tree::new().mode("lib/plugin.so", 0o664);
    check(&tree, "lib/plugin.so", Err("(mode 0664); run: chmod go-w "));
}

#[test]
fn file_writable_by_others_is_refused() {
    let tree = Tree::new().mode("lib/plugin.so", 0o646);
    check(&tree, "lib/plugin.so", Err("lib/plugin.so can be written"));
}

#[test]
fn directory_writable_by_group_is_refused() {
    let tree = Tree::new().mode("lib", 0o775);
    check(&tree, "lib/plugin.so", Err("/lib can be written by group or others (mode 0775)"));
}

#[test]
fn sticky_directory_of_root_is_accepted_as_parent_only() {
    let tree = Tree::new().mode("lib", 0o1777);
    check(&tree, "lib/plugin.so", Ok("lib/plugin.so"));
    check(&tree, "lib", Err("/lib can be written by group or others (mode 1777)"));
}

#[test]
fn sticky_directory_of_the_daemon_is_refused() {
    let tree = Tree::new().mode("lib", 0o1777).owner("lib", DAEMON);
    check(&tree, "lib/plugin.so", Err("/lib can be written"));
}

#[test]
fn link_of_root_leads_to_its_target() {
    check(&Tree::new().link("now", "lib"), "now/plugin.so", Ok("lib/plugin.so"));
}

#[test]
fn link_in_a_link_leads_to_the_last_target() {
    let tree = Tree::new().link("now", "current").link("current", "lib/../lib");
    check(&tree, "now/plugin.so", Ok("lib/plugin.so"));
}

#[test]
fn link_of_a_stranger_is_refused_though_its_target_is_trusted() {
    let tree = Tree::new().link("now", "lib");
    std::os::unix::fs::lchown(tree.path("now"), Some(STRANGER), None).unwrap();
    check(&tree, "now/plugin.so", Err("/now is owned by uid 4002"));
}

#[test]
fn link_into_a_writable_directory_is_refused() {
    let tree = Tree::new().link("now", "lib/plugin.so").mode("lib", 0o777);
    check(&tree, "now", Err("/lib can be written"));
}

#[test]
fn writable_directory_passed_by_dot_dot_is_refused() {
    let tree = Tree::new();
    fs::create_dir(tree.path("open")).unwrap();
    let tree = tree.mode("open", 0o777);
    fs::create_dir(tree.path("open/inner")).unwrap();
    check(&tree, "open/inner/../../lib/plugin.so", Err("/open can be written"));
}

#[test]
fn as_many_links_as_the_limit_are_followed() {
    let mut tree = Tree::new().link("link1", "lib");
    for n in 2..=SYMLINKS {
        tree = tree.link(&format!("link{n}"), &format!("link{}", n - 1));
    }
    check(&tree, &format!("link{SYMLINKS}/plugin.so"), Ok("lib/plugin.so"));
    let past = SYMLINKS + 1;
    tree = tree.link(&format!("link{past}"), &format!("link{SYMLINKS}"));
    check(&tree, &format!("link{past}/plugin.so"), Err("more than 40 symbolic links"));
}

#[test]
fn circle_of_links_is_refused() {
    let tree = Tree::new().link("a", "b").link("b", "a");
    check(&tree, "a", Err("more than 40 symbolic links"));
}

#[test]
fn missing_file_is_named() {
    check(&Tree::new(), "lib/absent.so", Err("lib/absent.so cannot be examined"));
}

#[test]
fn file_on_the_way_is_not_a_directory() {
    check(&Tree::new(), "lib/plugin.so/x", Err("plugin.so is not a directory"));
}

#[test]
fn trusted_file_is_opened_and_a_directory_is_not() {
    let tree = Tree::new();
    assert!(open_trusted(&tree.path("lib/plugin.so")).is_ok());
    let error = open_trusted(&tree.path("lib")).unwrap_err();
    assert!(matches!(error, TrustError::Kind { wanted: "a regular file", .. }), "{error}");
}

#[test]
fn secret_of_its_owner_alone_is_opened() {
    assert!(open_secret(&Tree::new().mode("lib/plugin.so", 0o600).path("lib/plugin.so")).is_ok());
}

#[test]
fn secret_readable_by_group_is_refused() {
    let error =
        open_secret(&Tree::new().mode("lib/plugin.so", 0o640).path("lib/plugin.so")).unwrap_err();
    assert!(error.to_string().contains("(mode 0640); run: chmod 0600 "), "{error}");
}

#[test]
fn secret_readable_by_others_is_refused() {
    let error =
        open_secret(&Tree::new().mode("lib/plugin.so", 0o604).path("lib/plugin.so")).unwrap_err();
    assert!(matches!(error, TrustError::Exposed { mode: 0o604, .. }), "{error}");
}

#[test]
fn parent_of_an_absent_file_is_checked() {
    let tree = Tree::new().link("now", "lib");
    let real = tree.path("lib").canonicalize().unwrap();
    assert_eq!(check_parent(&tree.path("now/absent")).unwrap(), real.join("absent"));
    let tree = tree.mode("lib", 0o777);
    assert!(matches!(check_parent(&tree.path("lib/absent")), Err(TrustError::Writable { .. })));
}

#[test]
fn root_directory_has_no_parent_to_check() {
    assert!(matches!(check_parent(Path::new("/")), Err(TrustError::Kind { .. })));
}

mod private {
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::trust::{LockError, create_secret, lock_dir, private_dir};

    #[test]
    fn private_dir_when_absent_is_made_0700() {
        let tree = Tree::new();
        let dir = private_dir(&tree.path("state")).unwrap();
        assert_eq!(permissions(&fs::metadata(dir).unwrap()), 0o700);
    }

    #[test]
    fn private_dir_when_open_is_made_0700() {
        let tree = Tree::new().mode("lib", 0o777);
        let dir = private_dir(&tree.path("lib")).unwrap();
        assert_eq!(permissions(&fs::metadata(dir).unwrap()), 0o700);
    }

    #[test]
    fn private_dir_of_another_user_is_refused_and_untouched() {
        let tree = Tree::new().owner("lib", STRANGER);
        let error = private_dir(&tree.path("lib")).unwrap_err();
        assert!(matches!(error, TrustError::Owner { owner: STRANGER, .. }), "{error}");
        assert_eq!(permissions(&fs::metadata(tree.path("lib")).unwrap()), 0o755);
    }

    #[test]
    fn private_dir_through_a_link_of_a_stranger_is_refused() {
        let tree = Tree::new().link("state", "lib");
        std::os::unix::fs::lchown(tree.path("state"), Some(STRANGER), None).unwrap();
        assert!(matches!(private_dir(&tree.path("state")), Err(TrustError::Owner { .. })));
    }

    #[test]
    fn private_dir_in_place_of_a_file_is_refused() {
        let error = private_dir(&Tree::new().path("lib/plugin.so")).unwrap_err();
        assert!(matches!(error, TrustError::Kind { wanted: "a directory", .. }), "{error}");
    }

    #[test]
    fn private_dir_below_an_absent_one_is_refused() {
        let error = private_dir(&Tree::new().path("a/b")).unwrap_err();
        assert!(error.to_string().contains("/a cannot be examined"), "{error}");
    }

    #[test]
    fn second_lock_is_refused_with_the_holder_and_given_after_the_first_ends() {
        let tree = Tree::new();
        let dir = tree.path("lib");
        let first = lock_dir(&dir, Duration::ZERO).unwrap();
        let error = lock_dir(&dir, Duration::ZERO).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        let sentence = format!("in use by another daemon, process {};", std::process::id());
        assert!(error.to_string().contains(&sentence), "{error}");
        drop(first);
        assert!(lock_dir(&dir, Duration::ZERO).is_ok());
    }

    #[test]
    fn lock_that_is_given_back_in_time_is_waited_for() {
        let tree = Tree::new();
        let dir = tree.path("lib");
        let first = lock_dir(&dir, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock_dir(&dir, Duration::from_secs(60)));
            drop(first);
            assert!(second.join().unwrap().is_ok());
        });
    }

    #[test]
    fn shared_lock_is_held_until_the_last_child_has_ended() {
        let tree = Tree::new();
        let dir = tree.path("lib");
        let lock = lock_dir(&dir, Duration::ZERO).unwrap();
        lock.share_with_children().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        drop(lock);
        assert!(matches!(lock_dir(&dir, Duration::ZERO), Err(LockError::Held { .. })));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert!(lock_dir(&dir, Duration::ZERO).is_ok());
    }

    #[test]
    fn lock_file_that_is_a_link_is_refused() {
        let tree = Tree::new().link("lib/lock", "plugin.so");
        assert!(matches!(lock_dir(&tree.path("lib"), Duration::ZERO), Err(LockError::Io { .. })));
        assert_eq!(fs::read(tree.path("lib/plugin.so")).unwrap(), b"x");
    }

    #[test]
    fn secret_is_written_whole_and_for_its_owner_only() {
        let tree = Tree::new();
        let path = tree.path("lib/root");
        create_secret(&path, b"thirty-two").unwrap();
        let mut content = Vec::new();
        open_secret(&path).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"thirty-two");
        assert_eq!(permissions(&fs::metadata(path).unwrap()), 0o600);
        assert!(!tree.path("lib/.root.new").exists());
    }

    #[test]
    fn secret_whose_name_is_taken_leaves_the_first() {
        let tree = Tree::new();
        let path = tree.path("lib/root");
        create_secret(&path, b"first").unwrap();
        let error = create_secret(&path, b"second").unwrap_err();
        let TrustError::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert!(!tree.path("lib/.root.new").exists());
    }

    #[test]
    fn draft_left_by_a_crash_is_replaced() {
        let tree = Tree::new();
        fs::write(tree.path("lib/.root.new"), b"ha").unwrap();
        create_secret(&tree.path("lib/root"), b"whole").unwrap();
        assert_eq!(fs::read(tree.path("lib/root")).unwrap(), b"whole");
        assert!(!tree.path("lib/.root.new").exists());
    }
}
