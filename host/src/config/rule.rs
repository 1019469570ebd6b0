//! `[[rule]]`: handed to the daemon's rules, which know what a rule may say.

use daemon::rules::{RawPrincipal, RawRule, Rules};
use toml::{Table, Value};

use super::OPERATIONS;
use super::fault::Problem;
use super::section::{Read, Section};
use super::value;

pub(super) fn read_all(root: &mut Section<'_>) -> Read<Rules> {
    let tables = root.tables("rule")?;
    let mut noted = None;
    // Rules of the right shape, and the number that each has in the file.
    let (mut raw, mut numbers) = (Vec::new(), Vec::new());
    for (index, table) in tables.into_iter().enumerate() {
        let number = index.saturating_add(1);
        match read(of_rule(root, number, table)) {
            Ok(rule) => {
                raw.push(rule);
                numbers.push(number);
            }
            Err(shape) => noted = Some(shape),
        }
    }
    match (Rules::check(&raw, OPERATIONS), noted) {
        (Ok(rules), None) => Ok(rules),
        (Ok(_), Some(noted)) => Err(noted),
        (Err(faults), mut noted) => {
            for fault in faults.0 {
                let number = numbers.get(fault.rule.saturating_sub(1)).copied().unwrap_or_default();
                let mut section = of_rule(root, number, Table::new());
                noted = Some(section.fault(fault.key, Problem::Rule(fault.fault)));
            }
            noted.map_or_else(|| Ok(Rules::none(OPERATIONS)), Err)
        }
    }
}

fn of_rule<'f>(root: &'f mut Section<'_>, number: usize, table: Table) -> Section<'f> {
    root.inner(format!("[[rule]] #{number} "), table)
}

fn read(mut section: Section<'_>) -> Read<RawRule> {
    const TEXTS: &str = "a list of texts in quotes";
    let owned = |value: &Value| value::any_text(value).map(str::to_owned);
    let principal = section.table("principal").and_then(principal);
    let keys = section.list("keys", TEXTS, owned);
    let operations = section.list("operations", TEXTS, owned);
    section.finish();
    Ok(RawRule {
        principal: principal?,
        keys: keys?.unwrap_or_default(),
        operations: operations?.unwrap_or_default(),
    })
}

fn principal(mut section: Section<'_>) -> Read<RawPrincipal> {
    let uid = section.optional("uid", value::number(0, u32::MAX.into()));
    let user = section.optional("user", value::text);
    let gid = section.optional("gid", value::number(0, u32::MAX.into()));
    let group = section.optional("group", value::text);
    section.finish();
    Ok(RawPrincipal { uid: uid?, user: user?, gid: gid?, group: group? })
}
