//! The whole file: from its top to a [`Config`], and the sections that are read nowhere else.

use std::path::PathBuf;

use daemon::config::{Read, Section, sections, value};
use wire::name::ProviderName;

use super::fault::Problem;
use super::keyd;
use super::provider::{self, Providers};
use super::value::{name, protection};
use super::{Config, FALLBACK_AFTER, FLOOR, OPERATIONS, Selection};

pub(super) fn whole(mut root: Section<'_>) -> Read<Config> {
    let listen = sections::listen_twice(
        &mut root,
        "socket = \"/run/sealhost/sealhost.sock\"",
        ("keyd", "socket = \"/run/aziot/keyd.sock\""),
    );
    let further = listen.as_ref().map_or(None, |(_, further)| further.clone());
    let state_dir = sections::state_dir(&mut root, "dir = \"/var/lib/sealhost\"");
    let plugin_dir = plugin_dir(&mut root);
    let plugin_dir = plugin_dir.as_ref().map(Option::as_deref).map_err(|noted| *noted);
    let Providers { names, configs } = provider::read_all(&mut root, plugin_dir);
    let selection = root.table("selection").and_then(|section| selection(section, &names));
    let keyd = keyd::keyd(&mut root, further, &names, selection.as_ref().ok());
    let rules = sections::rules(&mut root, OPERATIONS);
    let audit = sections::audit(&mut root, "path = \"/var/log/sealhost/audit.log\"");
    let limits = sections::limits(&mut root);
    let sandbox = sections::sandbox(&mut root);
    root.finish();
    let (limits, timeouts) = limits?;
    let (mut rules, mut settings) = (rules?, None);
    if let Some((keyd, principals)) = keyd? {
        keyd::grant(&mut rules, principals);
        settings = Some(keyd);
    }
    Ok(Config {
        listen: listen?.0,
        keyd: settings,
        state_dir: state_dir?,
        providers: configs?,
        selection: selection?,
        rules,
        audit: audit?,
        limits,
        timeouts,
        sandbox: sandbox?,
    })
}

fn plugin_dir(root: &mut Section<'_>) -> Read<Option<PathBuf>> {
    let mut section = root.table("plugins")?;
    let dir = section.optional("dir", value::path);
    section.finish();
    dir
}

fn selection(mut section: Section<'_>, names: &[ProviderName]) -> Read<Selection> {
    let order = section.list("order", "a list of providers' names", name);
    let order = order.and_then(|order| match order {
        None => Ok(names.to_vec()),
        Some(order) => check_order(&mut section, order, names),
    });
    let floor = section.defaulted("floor", FLOOR, protection);
    let fallback_after = section.defaulted("fallback_after", FALLBACK_AFTER, value::duration);
    section.finish();
    Ok(Selection { order: order?, floor: floor?, fallback_after: fallback_after? })
}

pub(super) fn check_order(
    section: &mut Section<'_>,
    order: Vec<ProviderName>,
    names: &[ProviderName],
) -> Read<Vec<ProviderName>> {
    if order.is_empty() {
        return Err(section.fault("order", Problem::EmptyOrder));
    }
    let mut noted = None;
    for (index, name) in order.iter().enumerate() {
        if order.iter().take(index).any(|before| before == name) {
            noted = Some(section.fault("order", Problem::Repeated(name.clone())));
        } else if !names.contains(name) {
            noted = Some(section.fault("order", Problem::NoSuchProvider(name.clone())));
        }
    }
    noted.map_or(Ok(order), Err)
}
