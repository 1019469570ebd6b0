//! Plugin files that are not to be loaded. What is refused is named, with what to do, and the
//! provider opens as soon as it is mended, without a restart of the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use tests::{Sealhost, Setup};

use crate::bench::{Faulty, check_not_open, faulty, wait_until_open};
use crate::build::compile;

/// Damages the file of the good plugin, in a worker and in the host's process, and mends it.
#[track_caller]
fn check(damage: impl Fn(&Path), parts: &[&str], mend: impl Fn(&Path)) {
    for provider in [faulty("good"), faulty("good").in_process()] {
        let mut host = provider.prepare();
        let file = host.plugin_dir().join("libgood.so");
        damage(&file);
        host.start();
        check_not_open(&host, "down", parts);
        mend(&file);
        wait_until_open(&host);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}

fn remake(file: &Path) {
    compile("good", file);
}

#[test]
fn missing_file_is_named() {
    let parts = ["libgood.so cannot be read", "No such file", "check [plugins] dir"];
    check(remove, &parts, remake);
}

#[test]
fn file_that_is_no_library_is_refused() {
    let replace = |file: &Path| {
        remove(file);
        fs::write(file, "#!/bin/sh\n").unwrap();
        set_mode(file, 0o755);
    };
    let mend = |file: &Path| {
        remove(file);
        remake(file);
    };
    check(replace, &["cannot be loaded", "install a plugin built for this system"], mend);
}

#[test]
fn directory_in_place_of_the_file_is_refused() {
    let replace = |file: &Path| {
        remove(file);
        fs::create_dir(file).unwrap();
        set_mode(file, 0o755);
    };
    let mend = |file: &Path| {
        fs::remove_dir(file).unwrap();
        remake(file);
    };
    check(replace, &["libgood.so", "cannot be loaded", "Is a directory"], mend);
}

#[test]
fn world_writable_file_is_refused() {
    let parts = ["mode 0757", "run: chmod go-w"];
    check(|file| set_mode(file, 0o757), &parts, |file| set_mode(file, 0o755));
}

#[test]
fn group_writable_file_is_refused() {
    let parts = ["mode 0775", "run: chmod go-w"];
    check(|file| set_mode(file, 0o775), &parts, |file| set_mode(file, 0o755));
}

#[test]
fn file_of_another_user_is_refused() {
    let give = |uid| move |file: &Path| chown(file, Some(uid), None).unwrap();
    check(give(1234), &["owned by uid 1234", "run: chown"], give(0));
}

#[test]
fn writable_directory_above_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o777);
    let file = dir.path().join("plugin.so");
    compile("good", &file);
    let mut host = Setup::soft()
        .with_provider(&format!(
            "name = \"c\"\nplugin = \"{}\"\n[provider.settings]\nroot_source = \"generated\"\n",
            file.display()
        ))
        .prepare();
    host.start();
    check_not_open(&host, "down", &["mode 0777", "run: chmod go-w"]);
    set_mode(dir.path(), 0o755);
    wait_until_open(&host);
}

#[test]
fn symbolic_link_of_another_user_is_refused() {
    let replace = |file: &Path| {
        let real = file.with_file_name("real.so");
        fs::rename(file, &real).unwrap();
        symlink(&real, file).unwrap();
        std::os::unix::fs::lchown(file, Some(1234), None).unwrap();
    };
    let mend = |file: &Path| std::os::unix::fs::lchown(file, Some(0), None).unwrap();
    check(replace, &["owned by uid 1234", "run: chown -h"], mend);
}

fn digest_of(host: &Sealhost, plugin: &str) -> String {
    let output = std::process::Command::new("sha256sum")
        .arg(host.plugin_dir().join(format!("lib{plugin}.so")))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn pin(provider: &Faulty, digest: &str) -> Sealhost {
    let mut host = provider.prepare();
    let setup = provider.clone().head(&format!("sha256 = \"{digest}\"")).setup();
    host.reconfigure(|_| setup);
    host.start();
    host
}

#[test]
fn file_of_another_digest_is_refused() {
    for provider in [faulty("good"), faulty("good").in_process()] {
        let host = pin(&provider, &"0".repeat(64));
        let found = digest_of(&host, "good");
        check_not_open(&host, "down", &["not the pinned one", &found, "correct `sha256`"]);
    }
}

#[test]
fn file_of_the_pinned_digest_opens() {
    let host = faulty("good").prepare();
    let digest = digest_of(&host, "good");
    let mut host = host;
    let setup = faulty("good").head(&format!("sha256 = \"{digest}\"")).setup();
    host.reconfigure(|_| setup);
    host.start();
    assert_eq!(host.provider("c")["state"], "open");
}
