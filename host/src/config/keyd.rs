//! `[keyd]`, `[[keyd.principal]]`: the dialect of the aziot Key Service.

use std::sync::Arc;

use daemon::config::{Read, Section, value};
use daemon::listener::Endpoint;
use daemon::rules::Rules;
use toml::Value;
use wire::api::Protection;
use wire::name::ProviderName;

use super::fault::Problem;
use super::file::check_order;
use super::value::{floor, name};
use super::{FLOOR, Selection};
use crate::front::keyd::{GLOB_MAX_CHARS, Globs, OPERATIONS};

/// The highest number that a user can have: the one after it stands for nobody.
const UID_MAX: i64 = 4_294_967_294;

/// The dialect of the aziot Key Service, as it is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeydSettings {
    /// Where it listens.
    pub listen: Endpoint,
    /// The providers that its keys may live in, in order; `None` for the configured order.
    pub providers: Option<Vec<ProviderName>>,
    /// The least protection of its keys.
    pub floor: Protection,
    /// Whether there are RSA keys, whose private operation is bare.
    pub rsa: bool,
    /// Whether an import over a key that is there makes a new version of it, or is refused.
    pub import_over: bool,
    /// Whether an initialization vector that a key had before is refused, or only counted.
    pub refuse_repeated_ivs: bool,
}

/// Who may use the dialect, and for which ids.
#[derive(Debug)]
pub(super) struct Principal {
    uid: u32,
    globs: Globs,
}

/// Reads the section; `listen` is where the dialect listens, if it is switched on.
///
/// # Errors
/// The proof that something is wrong; each fault is noted.
pub(super) fn keyd(
    root: &mut Section<'_>,
    listen: Option<Endpoint>,
    names: &[ProviderName],
    selection: Option<&Selection>,
) -> Read<Option<(KeydSettings, Vec<Principal>)>> {
    let Some(listen) = listen else {
        if root.has("keyd") {
            let _section = root.table("keyd")?;
            return Err(root.fault("keyd", Problem::KeydWithoutListener));
        }
        return Ok(None);
    };
    let mut section = root.table("keyd")?;
    let providers = section.list("providers", "a list of providers' names", name);
    let providers = providers.and_then(|order| match order {
        None => Ok(None),
        Some(order) => check_order(&mut section, order, names).map(Some),
    });
    let default = selection.map_or(FLOOR, |selection| selection.floor);
    let floor = section.defaulted("floor", default, floor);
    let rsa = section.defaulted("rsa", false, value::truth);
    let import_over = section.defaulted("import_over", false, value::truth);
    let refuse_repeated_ivs = section.defaulted("refuse_repeated_ivs", false, value::truth);
    let principals = principals(&mut section);
    section.finish();
    let settings = KeydSettings {
        listen,
        providers: providers?,
        floor: floor?,
        rsa: rsa?,
        import_over: import_over?,
        refuse_repeated_ivs: refuse_repeated_ivs?,
    };
    Ok(Some((settings, principals?)))
}

fn principals(keyd: &mut Section<'_>) -> Read<Vec<Principal>> {
    let tables = keyd.tables("principal")?;
    let mut principals = Vec::with_capacity(tables.len());
    let mut noted = None;
    for (index, table) in tables.into_iter().enumerate() {
        let number = index.saturating_add(1);
        let mut section = keyd.inner(format!("[[keyd.principal]] #{number} "), table);
        let uid = section.required("uid", "uid = 1000", value::number(0, UID_MAX));
        let keys = section.list("keys", "a list of texts in quotes", glob);
        let keys = keys.and_then(|keys| {
            keys.filter(|keys| !keys.is_empty())
                .ok_or_else(|| section.fault("keys", Problem::NoPatterns))
        });
        section.finish();
        match (uid, keys) {
            (Ok(uid), Ok(keys)) => principals.push(Principal { uid, globs: Globs(keys) }),
            (Err(fault), _) | (_, Err(fault)) => noted = Some(fault),
        }
    }
    noted.map_or(Ok(principals), Err)
}

fn glob(value: &Value) -> Result<String, Problem> {
    let text = value::any_text(value)?;
    if (1..=GLOB_MAX_CHARS).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err(Problem::Glob(GLOB_MAX_CHARS))
}

/// Adds what the principals may do, by the dialect alone: at the host's own door they would make keys
/// under other terms than those of `[keyd]`.
pub(super) fn grant(rules: &mut Rules, principals: Vec<Principal>) {
    for Principal { uid, globs } in principals {
        rules.grant(uid, &OPERATIONS, Arc::new(globs));
    }
}
