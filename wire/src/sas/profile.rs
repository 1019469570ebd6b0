//! What a token is for: a closed set of profiles with typed fields. The signer builds the URI.

use serde::{Deserialize, Serialize};

use super::field::{
    DeviceId, EntityName, HostName, IdScope, PolicyName, PublisherId, RegistrationId,
};
use super::form::KeyForm;

/// A resource of Azure that a token gives access to, and the policy that the token names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "profile", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Profile {
    /// An event hub: `{scheme}://{namespace}/{entity}`.
    EventHubsEntity {
        /// Host name of the namespace.
        namespace: HostName,
        /// The event hub.
        entity: EntityName,
        /// The policy whose key signs.
        policy: PolicyName,
        /// The scheme in the URI that is signed.
        #[serde(default)]
        scheme: Scheme,
    },
    /// One publisher of an event hub: `{scheme}://{namespace}/{entity}/publishers/{publisher}`.
    EventHubsPublisher {
        /// Host name of the namespace.
        namespace: HostName,
        /// The event hub.
        entity: EntityName,
        /// The publisher; events sent with the token carry it.
        publisher: PublisherId,
        /// The policy whose key signs.
        policy: PolicyName,
        /// The scheme in the URI that is signed.
        #[serde(default)]
        scheme: Scheme,
    },
    /// A device of an IoT hub, by its own key: `{hub}/devices/{device}`.
    IotHubDevice {
        /// Host name of the hub.
        hub: HostName,
        /// The device.
        device: DeviceId,
    },
    /// A module of a device, by its own key: `{hub}/devices/{device}/modules/{module}`.
    IotHubModule {
        /// Host name of the hub.
        hub: HostName,
        /// The device.
        device: DeviceId,
        /// The module.
        module: DeviceId,
    },
    /// The service side of an IoT hub, by a policy's key: `{hub}` or `{hub}/devices`.
    IotHubService {
        /// Host name of the hub.
        hub: HostName,
        /// The policy whose key signs.
        policy: PolicyName,
        /// How much of the hub.
        #[serde(default)]
        scope: HubScope,
    },
    /// A registration with the device provisioning service:
    /// `{id_scope}/registrations/{registration}`. Its policy is always `registration`.
    DpsRegistration {
        /// The service.
        id_scope: IdScope,
        /// The registration.
        registration: RegistrationId,
    },
}

impl Profile {
    /// Which of the profiles it is.
    pub const fn kind(&self) -> ProfileKind {
        match self {
            Self::EventHubsEntity { .. } => ProfileKind::EventHubsEntity,
            Self::EventHubsPublisher { .. } => ProfileKind::EventHubsPublisher,
            Self::IotHubDevice { .. } => ProfileKind::IotHubDevice,
            Self::IotHubModule { .. } => ProfileKind::IotHubModule,
            Self::IotHubService { .. } => ProfileKind::IotHubService,
            Self::DpsRegistration { .. } => ProfileKind::DpsRegistration,
        }
    }

    /// The policy name (`skn`) that the token carries; none for a device's or module's own key.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::EventHubsEntity { policy, .. }
            | Self::EventHubsPublisher { policy, .. }
            | Self::IotHubService { policy, .. } => Some(policy.as_str()),
            Self::IotHubDevice { .. } | Self::IotHubModule { .. } => None,
            Self::DpsRegistration { .. } => Some("registration"),
        }
    }
}

/// The profiles, without their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileKind {
    /// [`Profile::EventHubsEntity`].
    EventHubsEntity,
    /// [`Profile::EventHubsPublisher`].
    EventHubsPublisher,
    /// [`Profile::IotHubDevice`].
    IotHubDevice,
    /// [`Profile::IotHubModule`].
    IotHubModule,
    /// [`Profile::IotHubService`].
    IotHubService,
    /// [`Profile::DpsRegistration`].
    DpsRegistration,
}

impl ProfileKind {
    /// All profiles.
    pub const ALL: [Self; 6] = [
        Self::EventHubsEntity,
        Self::EventHubsPublisher,
        Self::IotHubDevice,
        Self::IotHubModule,
        Self::IotHubService,
        Self::DpsRegistration,
    ];

    /// The word in JSON and in rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventHubsEntity => "event-hubs-entity",
            Self::EventHubsPublisher => "event-hubs-publisher",
            Self::IotHubDevice => "iot-hub-device",
            Self::IotHubModule => "iot-hub-module",
            Self::IotHubService => "iot-hub-service",
            Self::DpsRegistration => "dps-registration",
        }
    }

    /// What the HMAC key is for tokens of this profile.
    pub const fn key_form(self) -> KeyForm {
        match self {
            Self::EventHubsEntity | Self::EventHubsPublisher => KeyForm::Raw,
            Self::IotHubDevice
            | Self::IotHubModule
            | Self::IotHubService
            | Self::DpsRegistration => KeyForm::Decoded,
        }
    }
}

/// The scheme in the URI of an event hub. It is signed, and says nothing of how events travel.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `https://`, when none is given.
    #[default]
    Https,
    /// `http://`.
    Http,
    /// `sb://`, as Microsoft's Event Hubs libraries write it.
    Sb,
    /// `amqps://`.
    Amqps,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Sb, Self::Amqps];

    /// The word in JSON and before `://`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Sb => "sb",
            Self::Amqps => "amqps",
        }
    }
}

/// How much of an IoT hub a service token is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum HubScope {
    /// All of it that the policy allows, when none is given.
    #[default]
    Hub,
    /// Its device registry and what lies below `/devices`.
    Devices,
}

impl HubScope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hub, Self::Devices];

    /// The word in JSON and in rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Devices => "devices",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, fault: &str) {
        let said = serde_json::from_str::<Profile>(json).map_err(|error| error.to_string());
        match said {
            Ok(profile) => {
                assert_eq!(fault, "", "{json}");
                let again = serde_json::to_string(&profile).unwrap();
                assert_eq!(serde_json::from_str::<Profile>(&again).unwrap(), profile);
            }
            Err(said) => assert!(!fault.is_empty() && said.contains(fault), "{json}: {said}"),
        }
    }

    #[test]
    fn profile_with_its_fields_is_read_and_written_alike() {
        check(
            r#"{"profile":"event-hubs-entity","namespace":"c.net","entity":"t","policy":"p"}"#,
            "",
        );
        check(
            r#"{"profile":"event-hubs-publisher","namespace":"c.net","entity":"t","publisher":"1","policy":"p","scheme":"sb"}"#,
            "",
        );
        check(r#"{"hub":"h.net","device":"d","profile":"iot-hub-device"}"#, "");
        check(r#"{"profile":"iot-hub-module","hub":"h.net","device":"d","module":"$m"}"#, "");
        check(r#"{"profile":"iot-hub-service","hub":"h.net","policy":"p","scope":"devices"}"#, "");
        check(r#"{"profile":"dps-registration","id_scope":"0ne1","registration":"r"}"#, "");
    }

    #[test]
    fn profile_with_a_field_of_another_is_refused() {
        check(
            r#"{"profile":"iot-hub-device","hub":"h.net","device":"d","module":"m"}"#,
            "unknown field `module`",
        );
        check(
            r#"{"profile":"iot-hub-device","hub":"h.net","device":"d","policy":"p"}"#,
            "unknown field `policy`",
        );
        check(
            r#"{"profile":"dps-registration","id_scope":"0","registration":"r","policy":"p"}"#,
            "unknown field `policy`",
        );
    }

    #[test]
    fn profile_without_a_field_or_with_one_twice_is_refused() {
        check(r#"{"profile":"iot-hub-module","hub":"h","device":"d"}"#, "missing field `module`");
        check(r#"{"hub":"h","device":"d"}"#, "missing field `profile`");
        check(
            r#"{"profile":"iot-hub-device","hub":"h","device":"d","device":"e"}"#,
            "duplicate field `device`",
        );
    }

    #[test]
    fn profile_or_word_that_does_not_exist_is_refused() {
        check(r#"{"profile":"storage"}"#, "unknown variant `storage`");
        check(
            r#"{"profile":"event-hubs-entity","namespace":"c","entity":"t","policy":"p","scheme":"ftp"}"#,
            "unknown variant `ftp`",
        );
    }

    #[test]
    fn profile_with_a_bad_field_names_the_field() {
        check(
            r#"{"profile":"iot-hub-device","hub":"h","device":"a/b"}"#,
            "invalid: device or module id has a character",
        );
    }

    fn same_word(value: impl Serialize, word: &str) {
        assert_eq!(serde_json::to_string(&value).unwrap(), format!("\"{word}\""));
    }

    #[test]
    fn word_in_json_is_as_str() {
        ProfileKind::ALL.iter().for_each(|kind| same_word(kind, kind.as_str()));
        Scheme::ALL.iter().for_each(|scheme| same_word(scheme, scheme.as_str()));
        [HubScope::Hub, HubScope::Devices]
            .iter()
            .for_each(|scope| same_word(scope, scope.as_str()));
    }

    #[test]
    fn kind_of_a_profile_is_its_tag() {
        let profile = Profile::DpsRegistration {
            id_scope: IdScope::parse("0").unwrap(),
            registration: RegistrationId::parse("r").unwrap(),
        };
        let json = serde_json::to_value(&profile).unwrap();
        assert_eq!(json["profile"], profile.kind().as_str());
        assert_eq!(profile.policy(), Some("registration"));
    }
}
