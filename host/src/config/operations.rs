//! What access rules can allow.

use daemon::rules::Operation;

/// Every operation of the API, by its name in rules and in the audit.
pub const OPERATIONS: &[Operation] = &[
    on_keys("create"),
    on_keys("import"),
    on_keys("show"),
    on_keys("rotate"),
    on_keys("destroy"),
    on_keys("seal"),
    on_keys("unseal"),
    on_keys("rewrap"),
    on_keys("mac"),
    on_keys("verify"),
    on_keys("sign"),
    on_keys("public"),
    on_keys("move"),
    on_keys("encrypt"),
    on_keys("decrypt"),
    on_keys("rsa"),
    on_keys("derive"),
    on_keys("export_derived"),
    on_keys("create_counter"),
    on_keys("increment_counter"),
    on_keys("read_counter"),
    on_keys("destroy_counter"),
    on_the_host("list"),
    on_the_host("list_counters"),
    on_the_host("random"),
    on_the_host("status"),
    on_the_host("providers"),
    on_the_host("retry"),
    on_the_host("verify_audit"),
    on_the_host("metrics"),
];

const fn on_keys(name: &'static str) -> Operation {
    Operation { name, needs_key: true }
}

const fn on_the_host(name: &'static str) -> Operation {
    Operation { name, needs_key: false }
}
