//! The committed C header, and the numbers of `docs/abi.md`, are what the Rust types of the boundary
//! say.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use provider_core::abi;
use provider_core::key::SEAL_LABEL;

const PROVIDER_CORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../provider-core");

#[test]
fn committed_header_is_made_from_the_types() {
    let made = generate();
    let committed = Path::new(PROVIDER_CORE).join("sealhost_provider.h");
    if fs::read_to_string(&committed).unwrap_or_default() != made {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sealhost_provider.h");
        fs::write(&fresh, made).unwrap();
        let (fresh, committed) = (fresh.display(), committed.display());
        panic!("it differs; if the contract was changed on purpose, run: cp {fresh} {committed}");
    }
}

/// The header: a guard around what cbindgen makes of the types, and what is no type.
fn generate() -> String {
    let core = Path::new(PROVIDER_CORE);
    let config = cbindgen::Config::from_file(core.join("cbindgen.toml")).unwrap();
    let mut types = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(core.join("src/abi.rs"))
        .with_src(core.join("src/key.rs"))
        .with_src(core.join("src/condition.rs"))
        .with_src(core.join("src/error.rs"))
        .generate()
        .unwrap()
        .write(&mut types);
    // The links of the Rust documentation lead nowhere from here.
    let types = String::from_utf8(types).unwrap().replace("[`", "`").replace("`]", "`");
    let types = types.trim();
    let (version, entry) = (abi::ABI_VERSION, abi::ENTRY_SYMBOL);
    let label = std::str::from_utf8(SEAL_LABEL).unwrap().strip_suffix('\0').unwrap();
    let label_bytes = SEAL_LABEL.len();
    format!(
        "\
/* The contract between Sealhost and a crypto provider plugin, version {version}.
 *
 * docs/abi.md is the normative text. Made from provider-core/src by tests/tests/header.rs; not
 * to be changed by hand.
 */

#ifndef SEALHOST_PROVIDER_H
#define SEALHOST_PROVIDER_H

{types}

/**
 * What every MAC input of a seal key begins with: {label_bytes} bytes, the closing zero included.
 */
#define SEALHOST_SEAL_LABEL \"{label}\"

#ifdef __cplusplus
extern \"C\"
#endif
/**
 * The one symbol that a plugin exports.
 */
const sealhost_table *{entry}(uint32_t host_abi_version);

#endif
"
    )
}

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/abi.md")).unwrap()
}

/// A number or text as C or the page writes it, in one form.
fn value(text: &str) -> String {
    let hex = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    hex.map_or_else(|| text.to_owned(), |number| number.to_string())
}

/// Names and values that the header defines.
fn defined() -> BTreeMap<String, String> {
    let header = generate();
    let line = |line: &str| {
        let line = line.trim();
        let (name, text) = match line.strip_prefix("#define ") {
            Some(rest) => rest.split_once(' ')?,
            None => line.strip_suffix(',')?.split_once(" = ")?,
        };
        name.starts_with("SEALHOST_").then(|| (name.to_owned(), value(text)))
    };
    header.lines().filter_map(line).collect()
}

/// Names and values in the tables of the page.
fn documented() -> BTreeMap<String, String> {
    let page = page();
    let line = |line: &str| {
        let mut cells = line.strip_prefix("| `SEALHOST_")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`');
        Some((format!("SEALHOST_{name}"), value(cells.next()?.trim())))
    };
    page.lines().filter_map(line).collect()
}

#[test]
fn page_has_every_number_of_the_header_and_no_other() {
    let defined = defined();
    assert!(defined.len() > 40, "{defined:?}");
    assert_eq!(documented(), defined);
}

#[test]
fn page_has_every_field_of_the_table_at_its_offset() {
    let page = page();
    macro_rules! check {
        ($($field:ident),*) => {$(
            let row = format!("| {} | `{}` |", offset_of!(abi::Table, $field), stringify!($field));
            assert!(page.contains(&row), "{row}");
        )*};
    }
    macro_rules! check_functions {
        ($($field:ident),*) => {$(
            check!($field);
            let heading = format!("### `{}`\n", stringify!($field));
            assert!(page.contains(&heading), "{heading}");
        )*};
    }
    check!(magic, size, abi_version);
    check_functions!(open, close, info, self_test, generate, import_key, destroy, mac, random);
    check_functions!(last_error, public_key, sign, auth_subject);
    check_functions!(counter_create, counter_increment, counter_read, counter_destroy, needs);
    check_functions!(condition, aead_encrypt, aead_decrypt, rsa_public, rsa_private);
    assert_eq!(offset_of!(abi::Table, rsa_private) + size_of::<usize>(), size_of::<abi::Table>());
}

#[test]
fn page_has_the_size_of_every_struct() {
    for (name, bytes) in [
        ("parameter", size_of::<abi::Parameter>()),
        ("key_spec", size_of::<abi::KeySpec>()),
        ("key_ref", size_of::<abi::KeyRef>()),
        ("counter_ref", size_of::<abi::CounterRef>()),
        ("aead_input", size_of::<abi::AeadInput>()),
        ("info", size_of::<abi::Info>()),
        ("condition", size_of::<abi::Condition>()),
    ] {
        let head = format!("`sealhost_{name}`, {bytes} bytes:");
        assert!(page().contains(&head), "{head}");
    }
}

#[test]
fn page_has_the_code_that_callers_get_for_every_status() {
    let page = page();
    let rows = page.lines().filter(|line| line.starts_with("| `SEALHOST_ERROR_"));
    let codes: Vec<_> = rows.map(|row| row.rsplit('`').nth(1).unwrap()).collect();
    let known: Vec<_> = wire::code::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), 15, "{codes:?}");
    assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
}

#[test]
fn header_compiles_without_a_warning_in_c_and_in_cpp() {
    for (language, standard) in [("c", "c99"), ("c", "c11"), ("c++", "c++17")] {
        let output = Command::new("cc")
            .args(["-x", language, &format!("-std={standard}"), "-fsyntax-only"])
            .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
            .arg(Path::new(PROVIDER_CORE).join("sealhost_provider.h"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Asserts that every path of the tree that a page names is there.
fn check_paths(page: &str) {
    let root = Path::new(PROVIDER_CORE).parent().unwrap();
    let text = fs::read_to_string(root.join("docs").join(page)).unwrap();
    let begins =
        ["client/", "docs/", "host/", "provider-", "sealctl/", "swtpm-", "tests/", "wire/"];
    let words = text.split(|c: char| c.is_whitespace() || "`();,".contains(c));
    let paths: Vec<_> = words
        .filter(|word| begins.iter().any(|begin| word.starts_with(begin)) && word.contains('/'))
        .filter(|word| !word.contains("NAME"))
        .collect();
    assert!(paths.len() > 3, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{page} names {path}, which is not there");
    }
}

#[test]
fn abi_page_names_files_that_are_there() {
    check_paths("abi.md");
}

#[test]
fn provider_guide_names_files_that_are_there() {
    check_paths("add-provider.md");
}

#[test]
fn operation_guide_names_files_that_are_there() {
    check_paths("add-operation.md");
}

#[test]
fn key_type_guide_names_files_that_are_there() {
    check_paths("add-key-type.md");
}
