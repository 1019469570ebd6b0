//! `provider list` and `provider retry`.

use clap::Subcommand;
use sealhost_client::Call;
use wire::name::ProviderName;

use super::{Session, status};
use crate::exit::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// List the configured providers
    List,
    /// Try a provider again now, a refused PIN included
    #[command(after_help = "Example:\n  sealctl provider retry hsm")]
    Retry {
        /// Name of the provider
        name: ProviderName,
    },
}

pub(super) fn run(session: &Session, command: &ProviderCommand) -> Result<Exit, Failure> {
    match command {
        ProviderCommand::List => {
            session.ask_and_print(&Call::providers(), |list| status::providers(&list.providers))
        }
        ProviderCommand::Retry { name } => session
            .ask_and_print(&Call::retry_provider(name), |provider| {
                status::providers(std::slice::from_ref(provider))
            }),
    }
}
