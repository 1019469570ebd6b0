//! What an instance says of its token.

use provider_core::Info;

use crate::abilities::Abilities;
use crate::desk::Desk;
use crate::error::Step;
use crate::quirks;

/// Describes the token; how many sessions work at a time is the caller's to say.
pub(crate) fn describe(desk: &Desk<'_>, abilities: Abilities) -> Step<Info> {
    let library = desk.pkcs11.get_library_info()?;
    let [manufacturer, model, _, _] = desk.token.texts();
    let maker = if manufacturer.is_empty() { library.manufacturer_id() } else { manufacturer };
    let firmware = match &desk.token.info {
        Some(token) => format!("{model} {}", token.firmware_version()),
        None => format!("{} {}", library.library_description(), library.library_version()),
    };
    let notes = match &desk.token.info {
        Some(_) => "",
        None => "the token cannot be read: it is named by its slot, whose number may change",
    };
    Ok(Info {
        kind: "pkcs11".into(),
        manufacturer: printable(maker),
        firmware: printable(&firmware),
        notes: notes.into(),
        protection: quirks::protection_of(manufacturer),
        capabilities: abilities.capabilities,
        concurrency: 1,
    })
}

/// At most 64 printable characters.
fn printable(text: &str) -> String {
    let plain = |char: &char| char.is_ascii_graphic() || *char == ' ';
    text.chars().filter(plain).take(64).collect::<String>().trim().to_owned()
}
