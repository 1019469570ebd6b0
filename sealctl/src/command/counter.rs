//! `counter create`, `list`, `show`, `increment` and `destroy`.

use clap::{Args, Subcommand};
use sealhost_client::Call;
use wire::api::{CounterKind, CounterRecord, CounterReply, CreateCounterRequest, Protection};
use wire::name::{KeyName, ProviderName};

use super::Session;
use super::key::confirmed;
use crate::args;
use crate::exit::{Exit, Failure};
use crate::screen::{NOTHING, table, time};

#[derive(Debug, Subcommand)]
pub(crate) enum CounterCommand {
    /// Make a counter
    #[command(after_help = "\
Examples:
  sealctl counter create stores/web
  sealctl counter create stores/web --kind device --floor hardware")]
    Create(CreateArgs),
    /// List the counters that you may see
    List,
    /// Show a counter and its value
    Show {
        /// Name of the counter
        name: KeyName,
    },
    /// Raise a counter, and print the new value
    Increment {
        /// Name of the counter
        name: KeyName,
        /// Raise it only if it has this value; otherwise it is a conflict
        #[arg(long, value_name = "VALUE")]
        from: Option<u64>,
    },
    /// Destroy a counter: what was checked against it can no longer be
    #[command(after_help = "Example:\n  sealctl counter destroy stores/old --confirm stores/old")]
    Destroy {
        /// Name of the counter
        name: KeyName,
        /// The name again; otherwise it is asked for on the terminal
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Name of the counter: segments of letters, digits, '.', '_', '-', joined by '/'
    name: KeyName,
    /// Where it must be kept; otherwise in a device where there is one, else in the registry
    #[arg(long, value_name = "KIND", value_parser = args::counter_kind())]
    kind: Option<CounterKind>,
    /// Provider to consider, in this order when repeated; otherwise the configured order
    #[arg(long, value_name = "NAME")]
    provider: Vec<ProviderName>,
    /// Least protection; that of the registry is software
    #[arg(long, value_name = "LEVEL", value_parser = args::protection())]
    floor: Option<Protection>,
}

pub(super) fn run(session: &Session, command: CounterCommand) -> Result<Exit, Failure> {
    match command {
        CounterCommand::Create(args) => {
            let CreateArgs { name, kind, provider, floor } = args;
            let providers = (!provider.is_empty()).then_some(provider);
            let request = CreateCounterRequest { kind, providers, floor };
            session.ask_and_print(&Call::create_counter(&name, &request)?, one)
        }
        CounterCommand::List => {
            session.ask_and_print(&Call::counters(), |counters| list(&counters.counters))
        }
        CounterCommand::Show { name } => session.ask_and_print(&Call::counter(&name), one),
        CounterCommand::Increment { name, from } => session
            .ask_and_print(&Call::increment_counter(&name, from)?, |counter| {
                format!("{}\n", counter.value)
            }),
        CounterCommand::Destroy { name, confirm } => {
            let lost = format!("what was checked against {name} can no longer be");
            confirmed(&name, confirm, &lost)?;
            session.ask_and_print(&Call::destroy_counter(&name), |reply| {
                format!("destroyed counter {}\n", reply.counter)
            })
        }
    }
}

fn one(counter: &CounterReply) -> String {
    let home = match (&counter.provider, counter.protection) {
        (Some(provider), Some(protection)) => {
            format!("{} {provider} ({})", counter.kind.as_str(), protection.as_str())
        }
        _ => counter.kind.as_str().to_owned(),
    };
    format!(
        "{}\n  value    {}\n  kept in  {home}\n  created  {}\n",
        counter.name,
        counter.value,
        time(&counter.created_at)
    )
}

fn list(counters: &[CounterRecord]) -> String {
    if counters.is_empty() {
        return "there are no counters that you may see\n".to_owned();
    }
    let head = ["COUNTER", "KIND", "PROVIDER", "PROTECTION", "CREATED"];
    table(&head, counters.iter().map(line))
}

fn line(counter: &CounterRecord) -> Vec<String> {
    let provider = counter.provider.as_ref().map_or(NOTHING, |provider| provider.as_str());
    vec![
        counter.name.to_string(),
        counter.kind.as_str().to_owned(),
        provider.to_owned(),
        counter.protection.map_or(NOTHING, |protection| protection.as_str()).to_owned(),
        time(&counter.created_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = include_str!("../../../docs/api.md");

    /// The last example under a heading of the page.
    fn example(heading: &str) -> &'static str {
        let (_, section) = API.split_once(&format!("\n### `{heading}`\n")).unwrap();
        let section = section.split("\n###").next().unwrap();
        section.rsplit("```json\n").next().unwrap().split("\n```").next().unwrap()
    }

    fn shown(heading: &str) -> String {
        one(&serde_json::from_str(example(heading)).unwrap())
    }

    #[test]
    fn counter_of_a_device_is_shown_with_what_protects_it() {
        assert_eq!(
            shown("POST /v1/counters/{name}"),
            "\
stores/web
  value    1
  kept in  device tpm (hardware)
  created  2026-01-02T03:04:05Z
"
        );
    }

    #[test]
    fn counter_of_the_registry_is_shown_as_such() {
        assert!(shown("GET /v1/counters/{name}").contains("  kept in  registry\n"));
    }

    #[test]
    fn list_has_one_line_per_counter() {
        let counters = serde_json::from_str(example("GET /v1/counters")).unwrap();
        let wire::api::CounterList { counters } = counters;
        assert_eq!(
            list(&counters),
            "\
COUNTER     KIND      PROVIDER  PROTECTION  CREATED
stores/web  device    tpm       hardware    2026-01-02T03:04:05Z
stores/old  registry  -         -           2026-01-02T03:04:05Z
"
        );
        assert_eq!(list(&[]), "there are no counters that you may see\n");
    }
}
