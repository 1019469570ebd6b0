use proptest::prelude::*;

use super::*;

/// What each parser says of a text: nothing, or the variant's first word.
#[track_caller]
fn check<T>(parse: fn(&str) -> Result<T, FieldError>, text: &str, fault: &str) {
    let said = match parse(text) {
        Ok(_) => "",
        Err(FieldError::Empty { .. }) => "empty",
        Err(FieldError::TooLong { .. }) => "too long",
        Err(FieldError::Character { .. }) => "character",
        Err(FieldError::Escape { .. }) => "escape",
        Err(FieldError::Dots { .. }) => "dots",
    };
    assert_eq!(said, fault, "{text:?}");
}

#[test]
fn s7_publisher_that_leaves_its_segment_is_refused() {
    for text in ["a/b", "a\\b", "a?b", "a#b", "a\rb", "a\nb", "\r\n", "a\0b", " a", "a "] {
        check(PublisherId::parse, text, "character");
    }
    check(PublisherId::parse, "", "empty");
    check(PublisherId::parse, ".", "dots");
    check(PublisherId::parse, "..", "dots");
    for text in ["%2f", "a%2Fb", "%2e%2e", "%0d%0a", "a%41"] {
        check(PublisherId::parse, text, "escape");
    }
}

#[test]
fn publisher_that_looks_like_another_is_refused() {
    for text in ["a\u{200b}b", "\u{202e}ab", "a\u{feff}", "a\u{a0}b", "a\u{2028}b", "a\u{e0041}"] {
        check(PublisherId::parse, text, "character");
    }
}

#[test]
fn publisher_of_other_scripts_and_marks_is_taken() {
    for text in ["0001", "dev ice+~é(1)!", "センサー7", "100%", "%zz", "...", "a&b=c"] {
        check(PublisherId::parse, text, "");
    }
}

#[test]
fn s7_id_at_limit_is_taken_and_one_past_it_refused() {
    let longest = "d".repeat(ID_MAX_CHARS);
    check(PublisherId::parse, &longest, "");
    check(PublisherId::parse, &"é".repeat(ID_MAX_CHARS), "");
    check(DeviceId::parse, &longest, "");
    check(RegistrationId::parse, &longest, "");
    let longer = "d".repeat(ID_MAX_CHARS + 1);
    check(PublisherId::parse, &longer, "too long");
    check(PublisherId::parse, &"é".repeat(ID_MAX_CHARS + 1), "too long");
    check(DeviceId::parse, &longer, "too long");
    check(RegistrationId::parse, &longer, "too long");
}

#[test]
fn device_id_with_every_mark_of_iot_hub_is_taken() {
    check(DeviceId::parse, "A-.%_*?!(),:=@$'z9", "");
    check(DeviceId::parse, "$edgeAgent", "");
}

#[test]
fn device_id_with_another_mark_is_refused() {
    for text in ["a/b", "a\\b", "a b", "a\n", "a\r", "a\0", "é", "a+b", "a#b", "a&b", "a;b", "a\"b"]
    {
        check(DeviceId::parse, text, "character");
    }
}

#[test]
fn device_id_with_a_percent_escape_is_refused() {
    for text in ["%2f", "a%2Fb", "%25", "%2e%2e", "%%41", "a%fF"] {
        check(DeviceId::parse, text, "escape");
    }
    for text in ["%", "%2", "%2g", "100%", "%-41"] {
        check(DeviceId::parse, text, "");
    }
}

#[test]
fn device_id_that_is_a_dot_segment_is_refused() {
    check(DeviceId::parse, ".", "dots");
    check(DeviceId::parse, "..", "dots");
    check(DeviceId::parse, "...", "");
    check(RegistrationId::parse, "..", "dots");
}

#[test]
fn registration_id_with_another_mark_is_refused() {
    check(RegistrationId::parse, "reg-1.a_b:c", "");
    for text in ["a%", "a?", "a/b", "a*", "a b", "a="] {
        check(RegistrationId::parse, text, "character");
    }
}

#[test]
fn host_name_of_labels_is_taken() {
    for text in ["myhub.azure-devices.net", "localhost", "A-1.b.CN", "10.0.0.1"] {
        check(HostName::parse, text, "");
    }
}

#[test]
fn host_name_with_more_than_labels_is_refused() {
    for text in ["a:443", "u@a", "https://a", "a/b", "a b", "-a.b", "a-.b", "a_b", "é.net", "a%2f"]
    {
        check(HostName::parse, text, "character");
    }
    for text in ["", ".", "a.", ".a", "a..b"] {
        check(HostName::parse, text, "empty");
    }
}

#[test]
fn host_name_at_limits_is_taken_and_one_past_them_refused() {
    let label = "a".repeat(HOST_LABEL_MAX_BYTES);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), HOST_NAME_MAX_BYTES);
    check(HostName::parse, &longest, "");
    check(HostName::parse, &format!("{longest}b"), "too long");
    check(HostName::parse, &format!("{label}a.net"), "too long");
}

#[test]
fn entity_name_at_limit_is_taken_and_one_past_it_refused() {
    check(EntityName::parse, &"e".repeat(ENTITY_NAME_MAX_BYTES), "");
    check(EntityName::parse, &"e".repeat(ENTITY_NAME_MAX_BYTES + 1), "too long");
}

#[test]
fn entity_name_with_other_characters_or_ends_is_refused() {
    check(EntityName::parse, "telemetry.v1_a-b", "");
    for text in [".a", "a.", "-a", "a_", "..", "a/b", "a b", "a%", "a?"] {
        check(EntityName::parse, text, "character");
    }
}

#[test]
fn id_scope_at_limit_is_taken_and_one_past_it_refused() {
    check(IdScope::parse, "0ne000A1B2C", "");
    check(IdScope::parse, &"0".repeat(ID_SCOPE_MAX_BYTES), "");
    check(IdScope::parse, &"0".repeat(ID_SCOPE_MAX_BYTES + 1), "too long");
    check(IdScope::parse, "0ne/1", "character");
    check(IdScope::parse, "", "empty");
}

#[test]
fn policy_name_at_limit_is_taken_and_one_past_it_refused() {
    check(PolicyName::parse, "send1", "");
    check(PolicyName::parse, &"p".repeat(POLICY_NAME_MAX_BYTES), "");
    check(PolicyName::parse, &"p".repeat(POLICY_NAME_MAX_BYTES + 1), "too long");
    check(PolicyName::parse, "", "empty");
    for text in ["a&se=9", "a b", "a=b", "a%20", "a+b", "a\n"] {
        check(PolicyName::parse, text, "character");
    }
}

#[test]
fn sas_key_name_at_limit_has_slots_that_are_key_names() {
    let longest = "k".repeat(SAS_KEY_NAME_MAX_BYTES);
    check(SasKeyName::parse, &longest, "");
    check(SasKeyName::parse, &format!("{longest}k"), "too long");
    let name = SasKeyName::parse(&longest).unwrap();
    for slot in Slot::ALL {
        let key = name.host_key(slot);
        assert_eq!(KeyName::parse(&format!("sas/{longest}/{}", slot.as_str())), Ok(key));
    }
    assert!(KeyName::parse(&format!("sas/{longest}k/secondary")).is_err());
}

#[test]
fn sas_key_name_that_is_no_key_name_is_refused() {
    check(SasKeyName::parse, "", "empty");
    for text in [".a", "a/", "a//b", "a b", "../a", "a%2Fb"] {
        check(SasKeyName::parse, text, "character");
    }
}

#[test]
fn sas_key_name_passes_through_a_path() {
    let name = SasKeyName::parse("line1/dev").unwrap();
    assert_eq!(name.to_path_segment(), "line1%2Fdev");
    assert_eq!(SasKeyName::from_path_segment("line1%2Fdev"), Ok(name));
    assert!(SasKeyName::from_path_segment("line1/dev").is_err());
}

#[test]
fn fault_of_a_field_does_not_repeat_the_text() {
    let fault = serde_json::from_str::<PublisherId>("\"marker/x\"").unwrap_err().to_string();
    assert!(fault.starts_with("invalid: publisher id has"), "{fault}");
    assert!(!fault.contains("marker"), "{fault}");
}

proptest! {
    #[test]
    fn accepted_text_never_leaves_its_segment(text in "[a2fF%/.?\\\\#\r\n-]{0,5}") {
        for taken in [
            PublisherId::parse(&text).is_ok(),
            DeviceId::parse(&text).is_ok(),
            RegistrationId::parse(&text).is_ok(),
        ] {
            if taken {
                prop_assert!(!text.contains(['/', '\\', '\r', '\n', '\0']));
                prop_assert!(!matches!(text.as_str(), "" | "." | ".."));
                prop_assert!(!has_percent_escape(&text));
            }
        }
    }
}
