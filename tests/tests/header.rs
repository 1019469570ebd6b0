//! The committed C header is what the Rust types of the boundary say.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::path::Path;

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
