//! Connection strings, as Azure's portal and tools show them.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use wire::code::{Code, Fault};
use wire::sas::{DeviceId, EntityName, HostName, KeyForm, PolicyName};
use zeroize::Zeroizing;

/// A connection string with a key: what it is for, and the text of the key.
///
/// # Secrets
/// The key, which is wiped when dropped; `Debug` does not show it.
pub struct ConnectionString {
    target: Target,
    key: Zeroizing<String>,
}

/// What a connection string is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `Endpoint=…`: a namespace of Event Hubs, or one event hub in it.
    EventHubs {
        /// Host name of the namespace.
        namespace: HostName,
        /// The policy.
        policy: PolicyName,
        /// The event hub, where it names one.
        entity: Option<EntityName>,
    },
    /// `HostName=…;DeviceId=…`: a device of an IoT hub, or one of its modules.
    Device {
        /// Host name of the hub.
        hub: HostName,
        /// The device.
        device: DeviceId,
        /// The module, where it names one.
        module: Option<DeviceId>,
    },
    /// `HostName=…;SharedAccessKeyName=…`: the service side of an IoT hub or of DPS.
    Service {
        /// Host name of the hub or of the provisioning service.
        host: HostName,
        /// The policy.
        policy: PolicyName,
    },
}

/// Why a text is no connection string with a key. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// A part is not `Name=value`.
    #[error("a part of the connection string is not a name and a value")]
    Part,
    /// A name that connection strings with a key do not have.
    #[error("the connection string has a name that is not known")]
    Name,
    /// A name stands there twice.
    #[error("the connection string has {0} twice")]
    Twice(&'static str),
    /// Something that is needed is not there.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// A value does not fit its name, or names do not go together.
    #[error("the connection string has a wrong {0}")]
    Value(&'static str),
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

const ENDPOINT: &str = "Endpoint";
const HOST_NAME: &str = "HostName";
const DEVICE_ID: &str = "DeviceId";
const MODULE_ID: &str = "ModuleId";
const POLICY: &str = "SharedAccessKeyName";
const KEY: &str = "SharedAccessKey";
const ENTITY: &str = "EntityPath";
/// These say how to connect, which is not our affair.
const IGNORED: [&str; 3] = ["GatewayHostName", "TransportType", "OperationTimeout"];
const NAMES: [&str; 10] = [
    ENDPOINT, HOST_NAME, DEVICE_ID, MODULE_ID, POLICY, KEY, ENTITY, IGNORED[0], IGNORED[1],
    IGNORED[2],
];

impl ConnectionString {
    /// Reads a connection string: `Name=value` joined by `;`, in any order, each name once and in
    /// any case, as Azure's own libraries read it.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn parse(text: &str) -> Result<Self, ConnectionError> {
        let mut parts = [None; NAMES.len()];
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(ConnectionError::Part)?;
            let known = NAMES.iter().zip(&mut parts).find(|(it, _)| it.eq_ignore_ascii_case(name));
            let (name, place) = known.ok_or(ConnectionError::Name)?;
            if place.replace(value).is_some() {
                return Err(ConnectionError::Twice(name));
            }
        }
        let [endpoint, host, device, module, policy, key, entity, ..] = parts;
        let key = key.ok_or(ConnectionError::Missing(KEY))?;
        let target = match (endpoint, host, device) {
            (Some(endpoint), None, None) if module.is_none() => Target::EventHubs {
                namespace: endpoint_host(endpoint)?,
                policy: field(POLICY, policy)?,
                entity: entity.map(|entity| field(ENTITY, Some(entity))).transpose()?,
            },
            (None, Some(host), Some(device)) if policy.is_none() && entity.is_none() => {
                Target::Device {
                    hub: field(HOST_NAME, Some(host))?,
                    device: field(DEVICE_ID, Some(device))?,
                    module: module.map(|module| field(MODULE_ID, Some(module))).transpose()?,
                }
            }
            (None, Some(host), None) if module.is_none() && entity.is_none() => Target::Service {
                host: field(HOST_NAME, Some(host))?,
                policy: field(POLICY, policy)?,
            },
            (None, None, _) => return Err(ConnectionError::Missing("Endpoint or HostName")),
            (Some(_), _, _) | (None, Some(_), _) => {
                return Err(ConnectionError::Value("combination of names"));
            }
        };
        Ok(Self { target, key: Zeroizing::new(key.to_owned()) })
    }

    /// What it is for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How the HMAC key comes from the text of the key.
    #[must_use]
    pub fn form(&self) -> KeyForm {
        match self.target {
            Target::EventHubs { .. } => KeyForm::Raw,
            Target::Device { .. } | Target::Service { .. } => KeyForm::Decoded,
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString").field("target", &self.target).finish_non_exhaustive()
    }
}

/// `sb://{host}/`, as the portal writes it.
fn endpoint_host(endpoint: &str) -> Result<HostName, ConnectionError> {
    let (_scheme, host) = endpoint.split_once("://").ok_or(ConnectionError::Value(ENDPOINT))?;
    field(ENDPOINT, Some(host.strip_suffix('/').unwrap_or(host)))
}

fn field<T: std::str::FromStr>(
    name: &'static str,
    text: Option<&str>,
) -> Result<T, ConnectionError> {
    let text = text.ok_or(ConnectionError::Missing(name))?;
    text.parse().map_err(|_error| ConnectionError::Value(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, form: KeyForm, target: &str) {
        let connection = ConnectionString::parse(text).unwrap();
        assert_eq!((connection.form(), connection.key()), (form, "a+/="));
        let shown = format!("{:?}", connection.target());
        let words: Vec<_> = shown.split('"').skip(1).step_by(2).collect();
        assert_eq!(words.join(" "), target);
    }

    #[track_caller]
    fn refused(text: &str, error: ConnectionError) {
        assert_eq!(ConnectionString::parse(text).map(drop), Err(error), "{text}");
    }

    #[test]
    fn connection_string_of_event_hubs_is_read() {
        check(
            "Endpoint=sb://c.servicebus.windows.net/;SharedAccessKeyName=send1;SharedAccessKey=a+/=;EntityPath=telemetry",
            KeyForm::Raw,
            "c.servicebus.windows.net send1 telemetry",
        );
        check(
            "Endpoint=sb://c.net;SharedAccessKeyName=p;SharedAccessKey=a+/=",
            KeyForm::Raw,
            "c.net p",
        );
    }

    #[test]
    fn connection_string_of_a_device_or_module_is_read() {
        check("HostName=h.net;DeviceId=d;SharedAccessKey=a+/=", KeyForm::Decoded, "h.net d");
        check(
            "HostName=h.net;DeviceId=d=1;ModuleId=$m;SharedAccessKey=a+/=;GatewayHostName=g",
            KeyForm::Decoded,
            "h.net d=1 $m",
        );
    }

    #[test]
    fn connection_string_of_a_service_is_read_in_any_order_and_case() {
        check(
            "\n sharedaccesskey=a+/=;SHAREDACCESSKEYNAME=owner;hostname=h.net;\n",
            KeyForm::Decoded,
            "h.net owner",
        );
    }

    #[test]
    fn connection_string_without_what_it_needs_is_refused() {
        refused("", ConnectionError::Missing(KEY));
        refused("HostName=h;DeviceId=d;x509=true", ConnectionError::Name);
        refused("HostName=h;DeviceId=d", ConnectionError::Missing(KEY));
        refused("SharedAccessKey=k", ConnectionError::Missing("Endpoint or HostName"));
        refused("HostName=h;SharedAccessKey=k", ConnectionError::Missing(POLICY));
        refused("Endpoint=sb://h/;SharedAccessKey=k", ConnectionError::Missing(POLICY));
    }

    #[test]
    fn connection_string_with_a_signature_for_a_key_is_refused() {
        refused("HostName=h;DeviceId=d;SharedAccessSignature=s", ConnectionError::Name);
    }

    #[test]
    fn connection_string_with_a_name_twice_is_refused() {
        refused("HostName=h;HOSTNAME=i;SharedAccessKey=k", ConnectionError::Twice(HOST_NAME));
    }

    #[test]
    fn connection_string_with_a_wrong_part_or_value_is_refused() {
        refused("HostName", ConnectionError::Part);
        refused("HostName=a/b;DeviceId=d;SharedAccessKey=k", ConnectionError::Value(HOST_NAME));
        refused("HostName=h;DeviceId=a/b;SharedAccessKey=k", ConnectionError::Value(DEVICE_ID));
        refused(
            "Endpoint=h;SharedAccessKeyName=p;SharedAccessKey=k",
            ConnectionError::Value(ENDPOINT),
        );
    }

    #[test]
    fn connection_string_with_names_that_do_not_go_together_is_refused() {
        for text in [
            "Endpoint=sb://h/;HostName=h;SharedAccessKeyName=p;SharedAccessKey=k",
            "Endpoint=sb://h/;ModuleId=m;SharedAccessKeyName=p;SharedAccessKey=k",
            "HostName=h;ModuleId=m;SharedAccessKeyName=p;SharedAccessKey=k",
            "HostName=h;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey=k",
            "HostName=h;EntityPath=e;SharedAccessKeyName=p;SharedAccessKey=k",
        ] {
            refused(text, ConnectionError::Value("combination of names"));
        }
    }

    #[test]
    fn debug_of_a_connection_string_shows_no_key() {
        let text = "HostName=h;DeviceId=d;SharedAccessKey=marker";
        let shown = format!("{:?}", ConnectionString::parse(text));
        assert!(shown.contains("DeviceId") && !shown.contains("marker"), "{shown}");
    }
}
