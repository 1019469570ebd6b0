//! What `cargo metadata` says of the workspace: licences, duplicates, reasons, and the rooms of
//! `ARCHITECTURE.md`, as far as dependencies show them.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licence expressions that were read and accepted, as the crates write them.
const LICENCES: &[&str] = &[
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "Apache-2.0",
    "Apache-2.0 AND ISC",
    "Apache-2.0 OR ISC OR MIT",
    "Apache-2.0 OR MIT",
    "Apache-2.0 WITH LLVM-exception",
    "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    "Apache-2.0/MIT",
    "BSD-2-Clause OR Apache-2.0 OR MIT",
    "BSD-3-Clause",
    "Apache-2.0 OR BSD-3-Clause",
    "CC0-1.0 OR MIT-0 OR Apache-2.0",
    "ISC",
    "ISC AND (Apache-2.0 OR ISC)",
    "ISC AND (Apache-2.0 OR ISC) AND Apache-2.0 AND MIT AND BSD-3-Clause AND (Apache-2.0 OR ISC OR MIT) AND (Apache-2.0 OR ISC OR MIT-0)",
    "MIT",
    "MIT OR Apache-2.0",
    "MIT/Apache-2.0",
    "Unlicense OR MIT",
];

/// Crates under another licence, and why each is accepted. None of them is in what we ship.
const LICENCES_OF_TOOLS: &[(&str, &str, &str)] = &[(
    "cbindgen",
    "MPL-2.0",
    "writes the C header in a test; the licence covers the tool, not its output",
)];

/// Crates that stand in the lock file in more than one version, and why each is accepted.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "picky-asn1-x509, below tss-esapi, is one version ahead of ours"),
    ("embedded-io", "postcard has both as options; neither is built"),
    ("getrandom", "comes with ring, an option of rustls-webpki that is not built"),
    ("libloading", "cryptoki is one version behind ours"),
    ("syn", "derive macros are moving from version 2 to 3; it runs in the compiler only"),
    ("toml", "cbindgen, a tool, is one version behind ours"),
    ("toml_datetime", "comes with the two versions of toml"),
    ("winnow", "comes with the two versions of toml"),
];

/// One room: a crate, and which of ours it may name, in its programs and in its tests.
struct Room {
    name: &'static str,
    knows: &'static [&'static str],
    tests_know: &'static [&'static str],
    /// Foreign crates, and crates of ours, that it must not even reach through others.
    never_reaches: &'static [&'static str],
}

/// Crates of ours that nobody installs.
const NOT_SHIPPED: [&str; 4] = ["benches", "plugin-panics", "swtpm-fixtures", "tests"];

const PROVIDERS: [&str; 4] = ["provider-soft", "provider-tpm", "provider-pkcs11", "provider-fault"];
const DEVICE_LIBRARIES: [&str; 4] = ["tss-esapi", "tss-esapi-sys", "cryptoki", "cryptoki-sys"];

const ROOMS: &[Room] = &[
    Room {
        name: "provider-core",
        knows: &[],
        tests_know: &[],
        never_reaches: &["aws-lc-rs", "jiff", "libc", "nix", "rustix", "tokio"],
    },
    Room {
        name: "soft-aead",
        knows: &["provider-core"],
        tests_know: &[],
        never_reaches: &["hyper", "libc", "nix", "rusqlite", "rustix", "tokio"],
    },
    Room {
        name: "provider-soft",
        knows: &["provider-core", "soft-aead"],
        tests_know: &[],
        never_reaches: &["hyper", "nix", "rusqlite", "rustix", "tokio"],
    },
    Room {
        name: "provider-tpm",
        knows: &["provider-core", "soft-aead"],
        tests_know: &["swtpm-fixtures"],
        never_reaches: &["cryptoki", "hyper", "nix", "rusqlite", "tokio"],
    },
    Room {
        name: "provider-pkcs11",
        knows: &["provider-core", "soft-aead"],
        tests_know: &["swtpm-fixtures"],
        never_reaches: &["hyper", "nix", "rusqlite", "tokio", "tss-esapi"],
    },
    Room {
        name: "provider-fault",
        knows: &["provider-core"],
        tests_know: &[],
        never_reaches: &["aws-lc-rs", "cryptoki", "hyper", "nix", "rusqlite", "tokio", "tss-esapi"],
    },
    Room {
        name: "wire",
        knows: &[],
        tests_know: &[],
        never_reaches: &["hyper", "jiff", "nix", "rusqlite", "rustix", "tempfile", "tokio"],
    },
    Room {
        name: "daemon",
        knows: &["wire"],
        tests_know: &[],
        never_reaches: &["libloading", "rusqlite"],
    },
    Room {
        name: "sealhost",
        knows: &["daemon", "provider-core", "soft-aead", "wire"],
        tests_know: &[],
        never_reaches: &[],
    },
    Room {
        name: "sealhost-client",
        knows: &["wire"],
        tests_know: &["tests"],
        never_reaches: &["libloading", "rusqlite"],
    },
    Room {
        name: "sealctl",
        knows: &["sealhost-client", "wire"],
        tests_know: &["tests"],
        never_reaches: &["libloading", "rusqlite"],
    },
    Room {
        name: "secret-manager",
        knows: &["daemon", "sealhost-client", "wire"],
        tests_know: &["swtpm-fixtures", "tests"],
        never_reaches: &["libloading"],
    },
    Room {
        name: "sas-signer",
        knows: &["daemon", "sealhost-client", "wire"],
        tests_know: &["tests"],
        never_reaches: &["libloading", "rusqlite"],
    },
    Room { name: "swtpm-fixtures", knows: &[], tests_know: &[], never_reaches: &["tokio"] },
    Room {
        name: "tests",
        knows: &["sealhost-client", "swtpm-fixtures", "wire"],
        tests_know: &["daemon", "provider-core", "sas-signer", "secret-manager"],
        never_reaches: &[],
    },
    Room {
        name: "plugin-panics",
        knows: &["provider-core"],
        tests_know: &[],
        never_reaches: &["hyper", "nix", "rusqlite", "rustix", "tokio"],
    },
    // The bare loops beside the load speak to the devices directly.
    Room {
        name: "benches",
        knows: &["sealhost-client", "swtpm-fixtures", "tests", "wire"],
        tests_know: &[],
        never_reaches: &[],
    },
];

struct Workspace {
    metadata: Value,
}

impl Workspace {
    /// Reads what this machine's build uses.
    fn read() -> Self {
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let cargo = Path::new(env!("CARGO"));
        let output = Command::new(cargo)
            // Under sudo the path does not lead to the compiler beside it.
            .env("RUSTC", cargo.with_file_name("rustc"))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { metadata: serde_json::from_slice(&output.stdout).unwrap() }
    }

    fn packages(&self) -> &[Value] {
        list(&self.metadata["packages"])
    }

    fn package(&self, id: &Value) -> &Value {
        self.packages().iter().find(|package| package["id"] == *id).unwrap()
    }

    fn members(&self) -> Vec<&Value> {
        let ids = list(&self.metadata["workspace_members"]);
        assert!(ids.len() > 5, "cargo metadata names no members: {ids:?}");
        ids.iter().map(|id| self.package(id)).collect()
    }

    /// The crates that end up in what a crate of ours builds, itself left out.
    fn reached_by(&self, name: &str) -> BTreeSet<&str> {
        let member = self.members().into_iter().find(|member| member["name"] == name).unwrap();
        let nodes = list(&self.metadata["resolve"]["nodes"]);
        let mut reached = BTreeSet::new();
        let mut waiting = vec![&member["id"]];
        while let Some(id) = waiting.pop() {
            let node = nodes.iter().find(|node| node["id"] == *id).unwrap();
            for dependency in list(&node["deps"]) {
                // A kind of null is neither a build nor a development dependency.
                let linked = list(&dependency["dep_kinds"]).iter().any(|it| it["kind"].is_null());
                let name = text(&self.package(&dependency["pkg"])["name"]);
                if linked && reached.insert(name) {
                    waiting.push(&dependency["pkg"]);
                }
            }
        }
        reached
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Fails with everything that was found, one a line.
#[track_caller]
fn check(what: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn licence_of_every_dependency_is_accepted() {
    let workspace = Workspace::read();
    let accepted = |package: &&Value| {
        let licence = package["license"].as_str().unwrap_or("none");
        let tool = |(name, of_tool, _): &(&str, &str, &str)| {
            package["name"] == *name && licence == *of_tool
        };
        LICENCES.contains(&licence) || LICENCES_OF_TOOLS.iter().any(tool)
    };
    let refused = workspace.packages().iter().filter(|package| !accepted(package));
    let line = |package: &Value| {
        format!("{} {}: {}", package["name"], package["version"], package["license"])
    };
    check("licences that nobody accepted", refused.map(line));
}

#[test]
fn tool_under_another_licence_is_in_no_program() {
    let workspace = Workspace::read();
    let members = workspace.members();
    let names = members.iter().map(|member| text(&member["name"]));
    let ours = names.filter(|name| !NOT_SHIPPED.contains(name));
    let shipped: BTreeSet<_> = ours.flat_map(|name| workspace.reached_by(name)).collect();
    let linked = LICENCES_OF_TOOLS.iter().filter(|(name, _, _)| shipped.contains(name));
    check("tools that are linked", linked.map(|(name, licence, _)| format!("{name}: {licence}")));
}

#[test]
fn crate_in_two_versions_has_a_reason() {
    let workspace = Workspace::read();
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for package in workspace.packages() {
        versions.entry(text(&package["name"])).or_default().insert(text(&package["version"]));
    }
    versions.retain(|_, versions| versions.len() > 1);
    let known: BTreeSet<_> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let new = versions.iter().filter(|(name, _)| !known.contains(*name));
    check(
        "duplicates without a reason",
        new.map(|(name, versions)| format!("{name} {versions:?}")),
    );
    let gone = known.iter().filter(|name| !versions.contains_key(*name));
    check("reasons without a duplicate", gone.map(|name| (*name).to_owned()));
}

#[test]
fn program_with_tls_has_one_crypto_library() {
    let cargo = Path::new(env!("CARGO"));
    let output = Command::new(cargo)
        .env("RUSTC", cargo.with_file_name("rustc"))
        .args(["tree", "--package=secret-manager", "--prefix=none", "--edges=normal", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let has = |name: &str| tree.lines().any(|line| line.starts_with(name));
    assert!(has("rustls v") && has("aws-lc-rs v"), "{tree}");
    assert!(!has("ring v") && !has("openssl"), "{tree}");
}

#[test]
fn crate_of_ours_names_only_those_its_room_knows() {
    let workspace = Workspace::read();
    let members = workspace.members();
    let names: BTreeSet<_> = members.iter().map(|member| text(&member["name"])).collect();
    let rooms: BTreeSet<_> = ROOMS.iter().map(|room| room.name).collect();
    assert!(names.is_subset(&rooms), "crates without a room: {:?}", names.difference(&rooms));
    let mut found = Vec::new();
    for member in &members {
        let room = ROOMS.iter().find(|room| member["name"] == room.name).unwrap();
        for dependency in list(&member["dependencies"]) {
            let name = text(&dependency["name"]);
            let in_tests = dependency["kind"] == "dev";
            let known = room.knows.contains(&name) || in_tests && room.tests_know.contains(&name);
            if names.contains(name) && !known {
                found.push(format!("{} names {name} ({})", room.name, dependency["kind"]));
            }
        }
    }
    check("dependencies that cross a wall", found);
}

#[test]
fn crate_of_ours_reaches_nothing_its_room_never_sees() {
    let workspace = Workspace::read();
    let members: BTreeSet<_> =
        workspace.members().iter().map(|member| text(&member["name"])).collect();
    let mut found = Vec::new();
    for room in ROOMS.iter().filter(|room| members.contains(room.name)) {
        let reached = workspace.reached_by(room.name);
        for name in room.never_reaches.iter().filter(|name| reached.contains(*name)) {
            found.push(format!("{} reaches {name}", room.name));
        }
    }
    check("crates that see what they never should", found);
}

#[test]
fn device_libraries_and_providers_stay_out_of_host_and_clients() {
    let workspace = Workspace::read();
    for room in ["daemon", "sealhost", "sealhost-client", "sealctl", "sas-signer", "wire"] {
        let reached = workspace.reached_by(room);
        let devices = PROVIDERS.iter().chain(&DEVICE_LIBRARIES);
        let seen = devices.filter(|name| reached.contains(*name));
        check(room, seen.map(|name| (*name).to_owned()));
    }
    for room in ["sealhost-client", "sealctl", "sas-signer", "secret-manager"] {
        assert!(!workspace.reached_by(room).contains("sealhost"), "{room} reaches the host");
    }
}

/// The lines of the workspace's dependency table, each with the line above it.
fn table() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].starts_with(|c: char| c.is_alphabetic()));
    pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

#[test]
fn dependency_of_the_workspace_has_a_reason_above_it() {
    let table = table();
    assert!(table.len() > 20, "the table was not found: {table:?}");
    let foreign = table.iter().filter(|(_, line)| !line.contains("path = "));
    let bare = foreign.filter(|(above, _)| !above.starts_with("# "));
    check("dependencies without a reason", bare.map(|(_, line)| line.clone()));
}

#[test]
fn dependency_of_the_workspace_is_used() {
    let workspace = Workspace::read();
    let members = workspace.members();
    let named: BTreeSet<_> = members
        .iter()
        .flat_map(|member| list(&member["dependencies"]))
        .map(|dependency| text(&dependency["name"]))
        .collect();
    let table = table();
    let names = table.iter().map(|(_, line)| line.split(' ').next().unwrap_or_default());
    let unused = names.filter(|name| !named.contains(name));
    check("dependencies that no crate of ours has", unused.map(str::to_owned));
}

#[test]
fn dependency_of_a_crate_is_in_its_sources() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for member in workspace.members() {
        let manifest = Path::new(text(&member["manifest_path"]));
        let mut sources = String::new();
        read_sources(manifest.parent().unwrap(), &mut sources);
        for dependency in list(&member["dependencies"]) {
            let name = text(&dependency["name"]).replace('-', "_");
            let words = sources.split(|c: char| !c.is_alphanumeric() && c != '_');
            if !words.into_iter().any(|word| word == name) {
                found.push(format!("{}: {}", member["name"], dependency["name"]));
            }
        }
    }
    check("dependencies that the sources never name", found);
}

fn read_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
