//! Makes plugins of the sources in `tests/plugins/`.

use std::path::Path;
use std::process::Command;

use tests::Sealhost;
use tests::sealhost::built;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// Compiles one source with the good provider that it builds on.
pub(crate) fn compile(source: &str, to: &Path) {
    let sources = Path::new(TESTS).join("plugins");
    let output = Command::new("cc")
        .args(["-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-pthread"])
        .args(["-Wall", "-Werror"])
        .args(more_flags())
        .arg(format!("-I{TESTS}/../provider-core"))
        .arg("-o")
        .arg(to)
        .arg(sources.join(format!("{source}.c")))
        .args([sources.join("provider.c"), sources.join("sha256.c")])
        // A sanitizer that is loaded into the tests has nothing to say of the compiler.
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap();
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What `TESTS_CFLAGS` names, for a sanitizer (docs/fuzzing.md).
#[expect(clippy::disallowed_methods, reason = "a knob of the tests alone; no daemon reads it")]
fn more_flags() -> Vec<String> {
    let flags = std::env::var("TESTS_CFLAGS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

/// Compiles a source into a host's plugin directory, as the plugin of that name.
pub(crate) fn install_c(host: &Sealhost, source: &str) {
    compile(source, &host.plugin_dir().join(format!("lib{source}.so")));
}

/// Puts the Rust plugin that panics into a host's plugin directory.
pub(crate) fn install_panics(host: &Sealhost) {
    host.install(&built("libplugin_panics.so"), "plugin_panics");
}
