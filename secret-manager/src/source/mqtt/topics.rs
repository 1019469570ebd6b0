//! Which topics the two sides use: our plain ones, and those that Azure IoT Hub has for a device.
//! `docs/mqtt.md` section 2 is normative.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::contract::{RequestId, Status};

/// Longest id of a device or module, in bytes.
pub const DEVICE_ID_MAX_BYTES: usize = 128;
/// Longest name of an IoT hub, in bytes: a host name.
pub const HUB_NAME_MAX_BYTES: usize = 253;
/// Longest id that IoT Hub gives a method call, in bytes; it is echoed in a topic.
const CALL_ID_MAX_BYTES: usize = 64;
const HUB_API_VERSION: &str = "2021-04-12";

/// Why a profile cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A device or module id is out of range.
    #[error(
        "a device or module id is 1 to {DEVICE_ID_MAX_BYTES} letters, digits, '-', '.', '_', ':', \
         '@' or '='"
    )]
    Id,
    /// The name of the hub is none.
    #[error("the name of a hub is a host name, such as my-hub.azure-devices.net")]
    Hub,
}

/// What the broker is, and who we are to it.
///
/// # Limits
/// Ids of 1 to 128 bytes, of letters, digits and `-._:@=`: no byte that means something in a topic
/// or a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Plain { device: String },
    Hub { hub: String, device: String, module: Option<String> },
}

/// What a message that came is, by its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Secrets.
    Update(Caller),
    /// What to delete.
    Delete(Caller),
    /// A call that we do not know.
    Other(Caller),
    /// What the hub says to a status report.
    Reported { accepted: bool },
    /// Nothing that we asked for.
    Foreign,
}

/// Whom to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever listens to the device's acknowledgements.
    Topic,
    /// One method call of IoT Hub.
    Method(String),
}

impl Profile {
    /// Topics below `sealhost/DEVICE/secrets/` of any broker.
    ///
    /// # Errors
    /// `Id`: the id is out of range.
    pub fn plain(device: &str) -> Result<Self, ProfileError> {
        Ok(Self(Kind::Plain { device: id(device)? }))
    }

    /// The topics of Azure IoT Hub for a device, or a module of it.
    ///
    /// # Errors
    /// `Id`, `Hub`: an id or the name of the hub is out of range.
    ///
    /// # Spec
    /// Azure IoT Hub MQTT support, API version 2021-04-12.
    pub fn iot_hub(hub: &str, device: &str, module: Option<&str>) -> Result<Self, ProfileError> {
        let of_set = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
        if hub.is_empty() || hub.len() > HUB_NAME_MAX_BYTES || !hub.bytes().all(of_set) {
            return Err(ProfileError::Hub);
        }
        let module = module.map(id).transpose()?;
        Ok(Self(Kind::Hub { hub: hub.to_owned(), device: id(device)?, module }))
    }

    /// The id of the MQTT client.
    #[must_use]
    pub fn client_id(&self) -> String {
        match &self.0 {
            Kind::Plain { device } => format!("sealhost-{device}"),
            Kind::Hub { device, module: None, .. } => device.clone(),
            Kind::Hub { device, module: Some(module), .. } => format!("{device}/{module}"),
        }
    }

    /// The user name, where the profile has a fixed one.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        match &self.0 {
            Kind::Plain { .. } => None,
            Kind::Hub { hub, .. } => {
                Some(format!("{hub}/{}/?api-version={HUB_API_VERSION}", self.client_id()))
            }
        }
    }

    /// What to subscribe to.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        match &self.0 {
            Kind::Plain { device } => {
                vec![plain(device, "response"), plain(device, "delete")]
            }
            Kind::Hub { .. } => {
                vec!["$iothub/methods/POST/#".to_owned(), "$iothub/twin/res/#".to_owned()]
            }
        }
    }

    /// Where a request goes.
    pub(super) fn request(&self, id: &RequestId) -> String {
        // The delivery service finds requests by this property; with the content type the hub
        // hands the body on as JSON, not as base64.
        let properties = format!("secret-request-id={id}&$.ct=application%2Fjson&$.ce=utf-8");
        match &self.0 {
            Kind::Plain { device } => plain(device, "request"),
            Kind::Hub { device, module: None, .. } => {
                format!("devices/{device}/messages/events/{properties}")
            }
            Kind::Hub { device, module: Some(module), .. } => {
                format!("devices/{device}/modules/{module}/messages/events/{properties}")
            }
        }
    }

    /// Where an acknowledgement goes.
    pub(super) fn acknowledgement(&self, caller: &Caller, status: Status) -> String {
        match (&self.0, caller) {
            (_, Caller::Method(call)) => {
                format!("$iothub/methods/res/{}/?$rid={call}", status.number())
            }
            (Kind::Plain { device } | Kind::Hub { device, .. }, Caller::Topic) => {
                plain(device, "ack")
            }
        }
    }

    /// Where a status report goes, and whether it is a patch of the twin there.
    pub(super) fn status(&self, report: &RequestId) -> String {
        match &self.0 {
            Kind::Plain { device } => plain(device, "status"),
            Kind::Hub { .. } => format!("$iothub/twin/PATCH/properties/reported/?$rid={report}"),
        }
    }

    /// Whether a status report is a patch of a device twin.
    pub(super) const fn has_twin(&self) -> bool {
        matches!(self.0, Kind::Hub { .. })
    }

    /// What a message of this topic is.
    pub(super) fn incoming(&self, topic: &str) -> Incoming {
        match &self.0 {
            Kind::Plain { device } if topic == plain(device, "response") => {
                Incoming::Update(Caller::Topic)
            }
            Kind::Plain { device } if topic == plain(device, "delete") => {
                Incoming::Delete(Caller::Topic)
            }
            Kind::Plain { .. } => Incoming::Foreign,
            Kind::Hub { .. } => of_hub(topic).unwrap_or(Incoming::Foreign),
        }
    }
}

fn of_hub(topic: &str) -> Option<Incoming> {
    if let Some(answer) = topic.strip_prefix("$iothub/twin/res/") {
        return Some(Incoming::Reported { accepted: answer.starts_with('2') });
    }
    let call = topic.strip_prefix("$iothub/methods/POST/")?;
    let (method, properties) = call.split_once("/?")?;
    let id = properties.split('&').find_map(|property| property.strip_prefix("$rid="))?;
    // It is put into the topic of the answer, so it may not mean anything there.
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if id.is_empty() || id.len() > CALL_ID_MAX_BYTES || !plain {
        return None;
    }
    let caller = Caller::Method(id.to_owned());
    Some(match method {
        "UpdateSecrets" => Incoming::Update(caller),
        "DeleteSecrets" => Incoming::Delete(caller),
        _ => Incoming::Other(caller),
    })
}

fn plain(device: &str, what: &str) -> String {
    format!("sealhost/{device}/secrets/{what}")
}

fn id(text: &str) -> Result<String, ProfileError> {
    let of_set = |b: u8| b.is_ascii_alphanumeric() || b"-._:@=".contains(&b);
    if text.is_empty() || text.len() > DEVICE_ID_MAX_BYTES || !text.bytes().all(of_set) {
        return Err(ProfileError::Id);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Profile {
        Profile::iot_hub("hub.azure-devices.net", "device-1", None).unwrap()
    }

    fn method(call: &str) -> Caller {
        Caller::Method(call.to_owned())
    }

    #[track_caller]
    fn check(profile: &Profile, topic: &str, incoming: &Incoming) {
        assert_eq!(profile.incoming(topic), *incoming);
    }

    #[test]
    fn plain_topics_are_below_the_device() {
        let profile = Profile::plain("device-1").unwrap();
        let id = RequestId::parse("r1").unwrap();
        assert_eq!(profile.request(&id), "sealhost/device-1/secrets/request");
        assert_eq!(profile.status(&id), "sealhost/device-1/secrets/status");
        let ack = profile.acknowledgement(&Caller::Topic, Status::Accepted);
        assert_eq!(ack, "sealhost/device-1/secrets/ack");
        check(&profile, "sealhost/device-1/secrets/response", &Incoming::Update(Caller::Topic));
        check(&profile, "sealhost/device-1/secrets/delete", &Incoming::Delete(Caller::Topic));
        check(&profile, "sealhost/device-2/secrets/delete", &Incoming::Foreign);
    }

    #[test]
    fn hub_topics_are_those_of_a_device() {
        let id = RequestId::parse("r1").unwrap();
        assert_eq!(
            hub().request(&id),
            "devices/device-1/messages/events/secret-request-id=r1\
             &$.ct=application%2Fjson&$.ce=utf-8"
        );
        assert_eq!(hub().status(&id), "$iothub/twin/PATCH/properties/reported/?$rid=r1");
        let ack = hub().acknowledgement(&method("4f"), Status::Unknown);
        assert_eq!(ack, "$iothub/methods/res/404/?$rid=4f");
        check(
            &hub(),
            "$iothub/methods/POST/UpdateSecrets/?$rid=4f",
            &Incoming::Update(method("4f")),
        );
        check(
            &hub(),
            "$iothub/methods/POST/DeleteSecrets/?$rid=4f",
            &Incoming::Delete(method("4f")),
        );
        check(&hub(), "$iothub/methods/POST/Reboot/?$rid=4f", &Incoming::Other(method("4f")));
        check(
            &hub(),
            "$iothub/twin/res/204/?$rid=1&$version=6",
            &Incoming::Reported { accepted: true },
        );
        check(&hub(), "$iothub/twin/res/400/?$rid=1", &Incoming::Reported { accepted: false });
    }

    #[test]
    fn hub_names_client_and_user_of_device_and_module() {
        assert_eq!(hub().client_id(), "device-1");
        assert_eq!(hub().user().unwrap(), "hub.azure-devices.net/device-1/?api-version=2021-04-12");
        let module = Profile::iot_hub("hub.example", "device-1", Some("m")).unwrap();
        assert_eq!(module.client_id(), "device-1/m");
        assert_eq!(module.user().unwrap(), "hub.example/device-1/m/?api-version=2021-04-12");
    }

    #[test]
    fn call_id_that_means_something_in_a_topic_is_foreign() {
        let long = "f".repeat(CALL_ID_MAX_BYTES + 1);
        for id in ["", "a/b", "a?b", "#", "+", "a b", &long] {
            let topic = format!("$iothub/methods/POST/UpdateSecrets/?$rid={id}");
            check(&hub(), &topic, &Incoming::Foreign);
        }
        let longest = "f".repeat(CALL_ID_MAX_BYTES);
        let topic = format!("$iothub/methods/POST/UpdateSecrets/?$rid={longest}");
        check(&hub(), &topic, &Incoming::Update(method(&longest)));
    }

    #[test]
    fn device_id_that_means_something_in_a_topic_is_refused() {
        for id in ["", "a/b", "a#", "+", "a?b", "a%2fb", "a\r\nb", "$a", "\u{e9}"] {
            assert_eq!(Profile::plain(id), Err(ProfileError::Id), "{id:?}");
        }
    }

    #[test]
    fn device_id_at_limit_is_accepted_and_one_past_it_refused() {
        assert!(Profile::plain(&"d".repeat(DEVICE_ID_MAX_BYTES)).is_ok());
        let long = "d".repeat(DEVICE_ID_MAX_BYTES + 1);
        assert_eq!(Profile::plain(&long), Err(ProfileError::Id));
    }

    #[test]
    fn hub_name_at_limit_is_accepted_and_one_past_it_refused() {
        let of = |length: usize| Profile::iot_hub(&"h".repeat(length), "d", None);
        assert!(of(HUB_NAME_MAX_BYTES).is_ok());
        assert_eq!(of(HUB_NAME_MAX_BYTES + 1), Err(ProfileError::Hub));
        assert_eq!(Profile::iot_hub("hub/x", "d", None), Err(ProfileError::Hub));
    }
}
