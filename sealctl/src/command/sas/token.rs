//! `sas token` and `sas verify`.

use clap::{Args, Subcommand};
use sealhost_client::Call;
use wire::sas::limits::TOKEN_MAX_BYTES;
use wire::sas::{
    DeviceId, Encoder, EntityName, HostName, HubScope, IdScope, Order, PolicyName, Profile,
    PublisherId, RegistrationId, SasKeyName, Scheme, TokenRequest, VerifyRequest,
};
use zeroize::Zeroizing;

use super::show;
use crate::args::words;
use crate::command::Session;
use crate::exit::{Exit, Failure};
use crate::screen::{self, note};
use crate::sink::{Show, Sink};
use crate::source::Source;

#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// Name of the key that signs
    key: SasKeyName,
    /// Seconds until it expires; one hour, or the longest that the rules allow, when not given
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// Sign it anew
    #[arg(long)]
    fresh: bool,
    /// How resource and signature are written
    #[arg(long, value_name = "ENCODER", value_parser = words(Encoder::ALL, Encoder::as_str))]
    encoder: Option<Encoder>,
    /// Order of the parameters
    #[arg(long, value_name = "ORDER", value_parser = words(Order::ALL, Order::as_str))]
    order: Option<Order>,
    #[command(flatten)]
    sink: Sink,
    #[command(subcommand)]
    resource: Resource,
}

/// What a token is for.
#[derive(Debug, Subcommand)]
enum Resource {
    /// An event hub
    EventHubsEntity {
        #[command(flatten)]
        hub: EventHub,
    },
    /// One publisher of an event hub
    EventHubsPublisher {
        #[command(flatten)]
        hub: EventHub,
        /// The publisher
        #[arg(long)]
        publisher: PublisherId,
    },
    /// A device, by its own key
    IotHubDevice {
        /// Host name of the hub
        #[arg(long)]
        hub: HostName,
        /// The device
        #[arg(long)]
        device: DeviceId,
    },
    /// A module of a device, by its own key
    IotHubModule {
        /// Host name of the hub
        #[arg(long)]
        hub: HostName,
        /// The device
        #[arg(long)]
        device: DeviceId,
        /// The module
        #[arg(long)]
        module: DeviceId,
    },
    /// The service side of an IoT hub
    IotHubService {
        /// Host name of the hub
        #[arg(long)]
        hub: HostName,
        /// The policy whose key signs
        #[arg(long)]
        policy: PolicyName,
        /// How much of the hub
        #[arg(long, default_value = "hub", value_parser = words(HubScope::ALL, HubScope::as_str))]
        scope: HubScope,
    },
    /// A registration with the device provisioning service
    DpsRegistration {
        /// Id scope of the service
        #[arg(long)]
        id_scope: IdScope,
        /// The registration
        #[arg(long)]
        registration: RegistrationId,
    },
}

#[derive(Args, Debug)]
struct EventHub {
    /// Host name of the namespace
    #[arg(long)]
    namespace: HostName,
    /// The event hub
    #[arg(long)]
    entity: EntityName,
    /// The policy whose key signs
    #[arg(long)]
    policy: PolicyName,
    /// The scheme in the resource
    #[arg(long, default_value = "https", value_parser = words(Scheme::ALL, Scheme::as_str))]
    scheme: Scheme,
}

impl From<Resource> for Profile {
    fn from(resource: Resource) -> Self {
        match resource {
            Resource::EventHubsEntity { hub } => {
                let EventHub { namespace, entity, policy, scheme } = hub;
                Self::EventHubsEntity { namespace, entity, policy, scheme }
            }
            Resource::EventHubsPublisher { hub, publisher } => {
                let EventHub { namespace, entity, policy, scheme } = hub;
                Self::EventHubsPublisher { namespace, entity, publisher, policy, scheme }
            }
            Resource::IotHubDevice { hub, device } => Self::IotHubDevice { hub, device },
            Resource::IotHubModule { hub, device, module } => {
                Self::IotHubModule { hub, device, module }
            }
            Resource::IotHubService { hub, policy, scope } => {
                Self::IotHubService { hub, policy, scope }
            }
            Resource::DpsRegistration { id_scope, registration } => {
                Self::DpsRegistration { id_scope, registration }
            }
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Name of the key that must have signed it
    key: SasKeyName,
    /// File with the token; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// The policy that it must name; none when not given
    #[arg(long)]
    policy: Option<PolicyName>,
    /// What is accessed, such as contoso.servicebus.windows.net/telemetry
    #[arg(long)]
    resource: Option<String>,
    /// The publisher that the event's body claims
    #[arg(long)]
    publisher: Option<String>,
}

pub(super) fn token(session: &Session, args: TokenArgs) -> Result<Exit, Failure> {
    let TokenArgs { key, ttl, fresh, encoder, order, sink, resource } = args;
    sink.check(Show::WhenAsked)?;
    let fresh = fresh.then_some(true);
    let request = TokenRequest { resource: resource.into(), key, ttl, fresh, encoder, order };
    let reply = session.ask(&Call::sas_token(&request)?)?;
    note(&show::token(&reply.value));
    let line = Zeroizing::new([reply.value.token.as_str().as_bytes(), b"\n"].concat());
    sink.write(&session.document_or(&reply.document, &line))?;
    Ok(Exit::Done)
}

pub(super) fn verify(session: &Session, args: VerifyArgs) -> Result<Exit, Failure> {
    let token = args.input.read_line("the token", TOKEN_MAX_BYTES)?;
    let VerifyArgs { key, input: _, policy, resource, publisher } = args;
    let request = VerifyRequest { token, key, policy, resource, publisher };
    let reply = session.ask(&Call::verify_sas_token(&request)?)?;
    if session.json {
        screen::print_document(&reply.document)?;
    } else {
        screen::print(show::verdict(&reply.value).as_bytes())?;
    }
    Ok(if reply.value.valid { Exit::Done } else { Exit::No })
}
