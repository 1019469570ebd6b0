//! The URI that is signed. It is made from a profile and in no other way.

use wire::sas::{
    DeviceId, EntityName, FieldError, HostName, HubScope, IdScope, Profile, PublisherId,
    RegistrationId,
};

/// The URI of a resource, before percent-encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource(String);

impl Resource {
    /// The URI of a profile.
    ///
    /// Fields hold no slash and are no dot segments, so that each stays where it is put.
    ///
    /// # Spec
    /// `docs/sas.md` section 1.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self(match profile {
            Profile::EventHubsEntity { namespace, entity, scheme, .. } => {
                format!("{}://{namespace}/{entity}", scheme.as_str())
            }
            Profile::EventHubsPublisher { namespace, entity, publisher, scheme, .. } => {
                format!("{}://{namespace}/{entity}/publishers/{publisher}", scheme.as_str())
            }
            Profile::IotHubDevice { hub, device } => format!("{hub}/devices/{device}"),
            Profile::IotHubModule { hub, device, module } => {
                format!("{hub}/devices/{device}/modules/{module}")
            }
            Profile::IotHubService { hub, scope: HubScope::Hub, .. } => hub.to_string(),
            Profile::IotHubService { hub, scope: HubScope::Devices, .. } => {
                format!("{hub}/devices")
            }
            Profile::DpsRegistration { id_scope, registration } => {
                format!("{id_scope}/registrations/{registration}")
            }
        })
    }

    /// The URI as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The profile whose URI is that of `profile` in lower case. The policy's name is not part of the
/// URI and stays.
///
/// An encoder that lowers signs this one, so this is also the one that rules are asked about:
/// who may have tokens for `Dev-*` gets none for `dev-01` by asking for an encoder.
///
/// # Errors
/// `FieldError`: a field is too long in lower case, which some letters are.
pub fn lowered(profile: &Profile) -> Result<Profile, FieldError> {
    Ok(match profile {
        Profile::EventHubsEntity { namespace, entity, policy, scheme } => {
            Profile::EventHubsEntity {
                namespace: HostName::parse(&namespace.as_str().to_lowercase())?,
                entity: EntityName::parse(&entity.as_str().to_lowercase())?,
                policy: policy.clone(),
                scheme: *scheme,
            }
        }
        Profile::EventHubsPublisher { namespace, entity, publisher, policy, scheme } => {
            Profile::EventHubsPublisher {
                namespace: HostName::parse(&namespace.as_str().to_lowercase())?,
                entity: EntityName::parse(&entity.as_str().to_lowercase())?,
                publisher: PublisherId::parse(&publisher.as_str().to_lowercase())?,
                policy: policy.clone(),
                scheme: *scheme,
            }
        }
        Profile::IotHubDevice { hub, device } => Profile::IotHubDevice {
            hub: HostName::parse(&hub.as_str().to_lowercase())?,
            device: DeviceId::parse(&device.as_str().to_lowercase())?,
        },
        Profile::IotHubModule { hub, device, module } => Profile::IotHubModule {
            hub: HostName::parse(&hub.as_str().to_lowercase())?,
            device: DeviceId::parse(&device.as_str().to_lowercase())?,
            module: DeviceId::parse(&module.as_str().to_lowercase())?,
        },
        Profile::IotHubService { hub, policy, scope } => Profile::IotHubService {
            hub: HostName::parse(&hub.as_str().to_lowercase())?,
            policy: policy.clone(),
            scope: *scope,
        },
        Profile::DpsRegistration { id_scope, registration } => Profile::DpsRegistration {
            id_scope: IdScope::parse(&id_scope.as_str().to_lowercase())?,
            registration: RegistrationId::parse(&registration.as_str().to_lowercase())?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> Profile {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(json: &str, uri: &str, lower: &str) {
        let profile = profile(json);
        assert_eq!(Resource::of(&profile).as_str(), uri);
        assert_eq!(Resource::of(&lowered(&profile).unwrap()).as_str(), lower);
    }

    #[test]
    fn uri_of_an_event_hub_has_its_scheme() {
        for (scheme, start) in [("", "https"), (",\"scheme\":\"sb\"", "sb")] {
            check(
                &format!(
                    r#"{{"profile":"event-hubs-entity","namespace":"C.net","entity":"T","policy":"P"{scheme}}}"#
                ),
                &format!("{start}://C.net/T"),
                &format!("{start}://c.net/t"),
            );
        }
    }

    #[test]
    fn uri_of_a_publisher_is_below_its_event_hub() {
        check(
            r#"{"profile":"event-hubs-publisher","namespace":"c.net","entity":"t","publisher":"Dev É","policy":"p","scheme":"amqps"}"#,
            "amqps://c.net/t/publishers/Dev É",
            "amqps://c.net/t/publishers/dev é",
        );
    }

    #[test]
    fn uri_of_iot_hub_has_no_scheme() {
        check(
            r#"{"profile":"iot-hub-device","hub":"H.net","device":"D?%"}"#,
            "H.net/devices/D?%",
            "h.net/devices/d?%",
        );
        check(
            r#"{"profile":"iot-hub-module","hub":"h.net","device":"d","module":"$edgeAgent"}"#,
            "h.net/devices/d/modules/$edgeAgent",
            "h.net/devices/d/modules/$edgeagent",
        );
    }

    #[test]
    fn uri_of_the_service_side_is_the_hub_or_its_devices() {
        check(r#"{"profile":"iot-hub-service","hub":"H.net","policy":"P"}"#, "H.net", "h.net");
        check(
            r#"{"profile":"iot-hub-service","hub":"h.net","policy":"p","scope":"devices"}"#,
            "h.net/devices",
            "h.net/devices",
        );
    }

    #[test]
    fn uri_of_a_registration_begins_with_its_id_scope() {
        check(
            r#"{"profile":"dps-registration","id_scope":"0ne000A1B2C","registration":"Reg1"}"#,
            "0ne000A1B2C/registrations/Reg1",
            "0ne000a1b2c/registrations/reg1",
        );
    }

    #[test]
    fn lower_case_that_is_too_long_is_refused() {
        // This letter becomes two characters.
        let publisher = "İ".repeat(128);
        let json = format!(
            r#"{{"profile":"event-hubs-publisher","namespace":"c","entity":"t","publisher":"{publisher}","policy":"p"}}"#
        );
        assert!(matches!(lowered(&profile(&json)), Err(FieldError::TooLong { .. })));
    }

    #[test]
    fn lower_case_keeps_the_name_of_the_policy() {
        let json = r#"{"profile":"iot-hub-service","hub":"H.net","policy":"Owner"}"#;
        assert_eq!(lowered(&profile(json)).unwrap().policy(), Some("Owner"));
    }
}
