//! The socket of the SAS signer: requests, replies, fields and limits, shared with its clients.
//! Normative in `docs/sas.md`.

pub mod limits;

mod field;
mod form;
mod profile;
mod reply;
mod request;
mod secret;

pub use self::field::{
    DeviceId, EntityName, FieldError, HostName, IdScope, PolicyName, PublisherId, RegistrationId,
    SasKeyName, has_percent_escape,
};
pub use self::form::{Encoder, KeyForm, Order, Slot};
pub use self::profile::{HubScope, Profile, ProfileKind, Scheme};
pub use self::reply::{
    ImportReply, Invalid, IssuedList, IssuedToken, RotateReply, SasKeyRecord, SignerStatus,
    SlotRecord, TokenReply, VerifyReply,
};
pub use self::request::{ImportRequest, RotateRequest, TokenRequest, VerifyRequest};
pub use self::secret::SecretText;
