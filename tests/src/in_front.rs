//! The fault plugin in front of a provider.

/// Stands for the host's directory, which a setup does not know yet.
pub(crate) const HOST_DIR: &str = "@HOST_DIR@";

/// The plan that every provider of this run shall have in front of it. Set and empty, the fault
/// plugin is there and does nothing.
const PLAN: &str = "SEALHOST_TEST_FAULTS";

/// What the run wants in front of our providers, if anything.
pub(crate) fn wanted() -> Option<String> {
    let plan = std::env::var_os(PLAN)?;
    Some(plan.into_string().expect("the plan is text"))
}

/// The section of a provider with the fault plugin in front of it.
pub(crate) fn section(
    name: &str,
    plugin: &str,
    head: &str,
    settings: &str,
    more: &str,
    plan: &str,
) -> String {
    // The host makes a root for the software provider alone, by the name of its file.
    let root = if plugin == "provider_soft" { "root_source = \"generated\"\n" } else { "" };
    format!(
        "name = \"{name}\"\nplugin = \"provider_fault\"\n{head}\
         [provider.settings]\nplugin = \"{HOST_DIR}/plugins/lib{plugin}.so\"\n\
         plan = \"{plan}\"\nplan_file = \"{HOST_DIR}/faults/{name}.plan\"\n\
         journal = \"{HOST_DIR}/faults/{name}.journal\"\n{root}{settings}{more}"
    )
}
