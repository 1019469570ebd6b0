//! Files set aside and begun anew, by us and by other programs, and a crash at every step.

use super::checkpoints::notebook;
use super::*;

/// An audit that rotates at 16 KiB.
fn settings(audit: &Audit, keep: Option<usize>) -> Settings {
    Settings { path: audit.path(), rotate_bytes: ROTATE_BYTES_MIN, keep }
}

fn start(audit: &Audit, keep: Option<usize>) -> AuditWriter {
    open(&settings(audit, keep)).unwrap().start(1, audit.clock.clone()).unwrap()
}

fn olders(audit: &Audit) -> Vec<u64> {
    older_files(&audit.path()).unwrap().iter().map(|file| file.first).collect()
}

/// The contents of all files, in order.
fn whole(audit: &Audit) -> Vec<u8> {
    let older = older_files(&audit.path()).unwrap();
    let mut bytes: Vec<u8> = older.iter().flat_map(|it| fs::read(&it.path).unwrap()).collect();
    bytes.extend(audit.content());
    bytes
}

/// Writes until the newest file begins anew.
fn rotate(audit: &Audit, writer: &AuditWriter) {
    let before = olders(audit).last().copied();
    let patience = Instant::now() + Duration::from_secs(20);
    let length = || fs::metadata(audit.path()).map_or(0, |it| it.len());
    while olders(audit).last().copied() == before {
        assert!(Instant::now() < patience, "it was not rotated");
        if length() < ROTATE_BYTES_MIN {
            append(writer, &request(&"k".repeat(1000)));
        }
    }
}

#[test]
fn file_at_its_length_is_set_aside_and_the_chain_goes_on() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    for _ in 0..3 {
        rotate(&audit, &writer);
    }
    append(&writer, &request("last"));
    drop(writer);
    assert_eq!(olders(&audit).len(), 3);
    assert_eq!(olders(&audit)[0], 1);
    let entries = verify(&whole(&audit));
    assert_eq!(entries.last().unwrap().key.as_deref(), Some("last"));
    for file in older_files(&audit.path()).unwrap() {
        let length = fs::metadata(&file.path).unwrap().len();
        assert!(length >= ROTATE_BYTES_MIN, "{length}");
        let first = fs::read(&file.path).unwrap();
        let first = first.split(|byte| *byte == b'\n').next().unwrap().to_vec();
        assert_eq!(wire::audit::read_line(&first).unwrap().seq, file.first);
    }
}

#[test]
fn file_one_byte_short_of_its_length_is_not_set_aside() {
    let settings = Settings { rotate_bytes: 100, ..Settings::at("x") };
    assert!(settings.is_full(100) && !settings.is_full(99));
    assert!(!Settings { rotate_bytes: 0, ..settings }.is_full(u64::MAX));
}

#[test]
fn file_that_is_set_aside_has_a_checkpoint_at_its_end() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    writer.witnessed_by(notebook(&audit));
    let size = |audit: &Audit| fs::metadata(audit.path()).unwrap().len();
    while size(&audit) + 2000 < ROTATE_BYTES_MIN {
        append(&writer, &request(&"k".repeat(1000)));
    }
    append(&writer, &request(&"k".repeat(3000)));
    let patience = Instant::now() + Duration::from_secs(20);
    while olders(&audit).is_empty() {
        assert!(Instant::now() < patience, "it was not rotated");
        std::thread::yield_now();
    }
    let older = fs::read(&older_files(&audit.path()).unwrap()[0].path).unwrap();
    assert_eq!(verify(&older).last().unwrap().kind, Kind::Checkpoint);
}

#[test]
fn next_run_goes_on_whatever_step_a_crash_came_at() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    rotate(&audit, &writer);
    append(&writer, &request("k"));
    drop(writer);
    let first = older_files(&audit.path()).unwrap()[0].path.clone();
    let second = audit.content();
    // The file was set aside, and no new one made.
    fs::remove_file(audit.path()).unwrap();
    drop(start(&audit, None));
    // A new one was made, and has no line.
    let _lines_of_that_run = fs::remove_file(audit.path());
    fs::write(audit.path(), "").unwrap();
    drop(start(&audit, None));
    assert_eq!(verify(&whole(&audit)).len(), verify(&fs::read(&first).unwrap()).len() + 1);
    // It has a torn line, the first one of this file.
    for torn in [&second[..3], &second[..60]] {
        fs::write(audit.path(), torn).unwrap();
        drop(start(&audit, None));
        let entries = verify(&whole(&audit));
        assert_eq!(entries.last().unwrap().torn_bytes, Some(u64::try_from(torn.len()).unwrap()));
        assert_eq!(olders(&audit).len(), 1);
    }
    // Something else has its name.
    fs::write(audit.path(), "my only password").unwrap();
    assert!(open(&settings(&audit, None)).is_err());
    assert_eq!(audit.content(), b"my only password");
}

#[test]
fn file_that_another_program_moved_gets_an_older_name_and_none_of_its_lines_is_lost() {
    for left_empty in [false, true] {
        let audit = Audit::new();
        let writer = start(&audit, None);
        append(&writer, &request("before"));
        let moved = audit.path().with_file_name("audit.log.1");
        fs::rename(audit.path(), &moved).unwrap();
        if left_empty {
            // As the `create` of logrotate does.
            fs::write(audit.path(), "").unwrap();
        }
        append(&writer, &request("meanwhile"));
        writer.look_for_file();
        let patience = Instant::now() + Duration::from_secs(20);
        while olders(&audit).is_empty() {
            assert!(Instant::now() < patience, "nobody looked");
            std::thread::yield_now();
        }
        fs::remove_file(moved).unwrap();
        append(&writer, &request("after"));
        drop(writer);
        let keys: Vec<_> = verify(&whole(&audit)).into_iter().filter_map(|it| it.key).collect();
        assert_eq!(keys, ["before", "meanwhile", "after"]);
        drop(start(&audit, None));
        let _whole = verify(&whole(&audit));
    }
}

#[test]
fn file_that_another_program_replaced_is_written_on_where_it_is() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    let moved = audit.path().with_file_name("elsewhere");
    fs::rename(audit.path(), &moved).unwrap();
    fs::write(audit.path(), "something else").unwrap();
    append(&writer, &request("k"));
    writer.shared.keep();
    append(&writer, &request("k"));
    writer.shared.keep();
    assert_eq!(audit.content(), b"something else");
    assert_eq!(verify(&fs::read(&moved).unwrap()).len(), 3);
    // Out of the way, it is done at the next look.
    fs::remove_file(audit.path()).unwrap();
    audit.hand.advance(CHECKPOINT_EVERY);
    writer.shared.keep();
    append(&writer, &request("k"));
    drop(writer);
    assert_eq!(verify(&whole(&audit)).len(), 4);
}

#[test]
fn file_that_another_program_removed_stops_everything() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    fs::remove_file(audit.path()).unwrap();
    append(&writer, &request("k"));
    writer.shared.keep();
    assert!(matches!(writer.append(&request("k")), Err(AuditError::Unsynced { .. })));
}

#[test]
fn oldest_files_beyond_those_kept_are_removed_and_the_log_says_so() {
    let audit = Audit::new();
    let writer = start(&audit, Some(2));
    for _ in 0..5 {
        rotate(&audit, &writer);
    }
    drop(writer);
    assert_eq!(olders(&audit).len(), 2);
    let content = whole(&audit);
    let mut verifier = Verifier::continued();
    for line in content.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
        verifier.feed(line).unwrap();
    }
    let summary = verifier.finish();
    assert_eq!(summary.first_sequence, olders(&audit)[0]);
    assert_eq!(summary.removed_through, Some(summary.first_sequence - 1));
    assert!(summary.begins_in_order());
}

#[test]
fn file_that_the_next_start_needs_is_not_removed() {
    let audit = Audit::new();
    let writer = start(&audit, Some(1));
    let forgetful = checkpoints::Notebook { forgetful: true, ..Default::default() };
    writer.witnessed_by(Arc::new(forgetful));
    for _ in 0..3 {
        rotate(&audit, &writer);
    }
    assert_eq!(olders(&audit).len(), 3, "nothing is remembered, so that all may be needed");
}

#[test]
fn file_goes_on_where_no_new_one_can_be_made() {
    let audit = Audit::new();
    let writer = start(&audit, None);
    // A directory has the name that the older file would get.
    fs::create_dir(audit.dir.path().join("audit.log.000000000001")).unwrap();
    while fs::metadata(audit.path()).unwrap().len() < 2 * ROTATE_BYTES_MIN {
        append(&writer, &request(&"k".repeat(1000)));
    }
    writer.shared.keep();
    drop(writer);
    let _whole = audit.verified();
}
