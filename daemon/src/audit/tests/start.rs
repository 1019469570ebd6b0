//! What the start finds of a log that is not as it is remembered.

use wire::audit::Hex32;

use super::checkpoints::notebook;
use super::*;

/// A log of three files with the last checkpoint in the file of this number, and lines after it.
fn log(holder: usize) -> (Audit, Mark) {
    let audit = Audit::new();
    let settings = Settings { path: audit.path(), rotate_bytes: ROTATE_BYTES_MIN, keep: None };
    let writer = open(&settings).unwrap().start(1, audit.clock.clone()).unwrap();
    let notebook = notebook(&audit);
    for number in 0..3 {
        if number == holder {
            writer.witnessed_by(Arc::clone(&notebook) as _);
            writer.shared.lock().upkeep.witness = None;
        }
        let files = || older_files(&audit.path()).unwrap().len();
        let length = || fs::metadata(audit.path()).map_or(0, |it| it.len());
        while number < 2 && files() == number {
            if length() < ROTATE_BYTES_MIN {
                append(&writer, &request(&"k".repeat(1000)));
            }
        }
    }
    append(&writer, &request("k"));
    drop(writer);
    let marks = notebook.marks.lock().unwrap();
    assert_eq!(marks.len(), 1);
    let mark = marks[0];
    drop(marks);
    (audit, mark)
}

fn file(audit: &Audit, number: usize) -> PathBuf {
    let older = older_files(&audit.path()).unwrap();
    older.get(number).map_or_else(|| audit.path(), |older| older.path.clone())
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[track_caller]
fn check(audit: &Audit, mark: Mark, expected: Result<(), &str>) {
    let checked = audit.open().and_then(|mut tail| tail.check(mark).map(drop));
    match (checked, expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err(part)) => {
            let error = error.to_string();
            assert!(error.contains(part) && error.contains("one backup"), "{error}");
        }
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}

#[test]
fn whole_log_is_accepted_in_whichever_file_the_checkpoint_is() {
    for holder in 0..3 {
        let (audit, mark) = log(holder);
        check(&audit, mark, Ok(()));
    }
}

#[test]
fn checkpoint_far_from_the_end_of_a_long_file_is_found() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    writer.shared.lock().upkeep.witness = None;
    while fs::metadata(audit.path()).unwrap().len() < 3 * 1024 * 1024 {
        append(&writer, &request(&"k".repeat(3000)));
    }
    drop(writer);
    let mark = notebook.marks.lock().unwrap()[0];
    check(&audit, mark, Ok(()));
    let mut all = lines(&audit.path());
    let at = all.len() / 2;
    all[at] = String::from_utf8(all[at].clone()).unwrap().replace("seal", "show").into_bytes();
    fs::write(audit.path(), all.concat()).unwrap();
    check(&audit, mark, Err("is broken after sequence"));
}

#[test]
fn log_cut_off_before_the_checkpoint_is_refused() {
    for holder in 0..3 {
        let (audit, mark) = log(holder);
        for later in (holder + 1..3).rev() {
            let path = file(&audit, later);
            fs::remove_file(path).unwrap();
        }
        let path = file(&audit, holder);
        let mut left = lines(&path);
        let at = left
            .iter()
            .position(|line| line.starts_with(format!("{{\"seq\":{},", mark.sequence).as_bytes()));
        left.truncate(at.unwrap());
        fs::write(&path, left.concat()).unwrap();
        if holder < 2 {
            // What the attacker leaves is the newest file.
            fs::rename(&path, audit.path()).unwrap();
        }
        check(&audit, mark, Err("was cut off: it ends at sequence"));
    }
}

#[test]
fn lines_cut_off_after_the_checkpoint_are_not_noticed() {
    let (audit, mark) = log(2);
    let mut left = lines(&audit.path());
    left.pop();
    fs::write(audit.path(), left.concat()).unwrap();
    check(&audit, mark, Ok(()));
}

#[test]
fn log_written_anew_is_refused() {
    let (audit, mark) = log(2);
    let mut chain = Chain::new();
    let mut forged = Vec::new();
    for _ in 0..mark.sequence + 5 {
        chain.append(&request("forged"), &mut forged).unwrap();
    }
    for older in older_files(&audit.path()).unwrap() {
        fs::remove_file(older.path).unwrap();
    }
    fs::write(audit.path(), forged).unwrap();
    check(&audit, mark, Err("was written anew"));
}

#[test]
fn remembered_hash_of_another_line_is_refused() {
    let (audit, mark) = log(1);
    check(&audit, Mark { hash: Hex32([0; 32]), ..mark }, Err("was written anew"));
}

#[test]
fn log_without_the_file_of_the_checkpoint_is_refused() {
    let (audit, mark) = log(0);
    fs::remove_file(file(&audit, 0)).unwrap();
    check(&audit, mark, Err("older files of the audit"));
}

#[test]
fn log_without_a_file_between_is_refused() {
    let (audit, mark) = log(0);
    fs::remove_file(file(&audit, 1)).unwrap();
    check(&audit, mark, Err("is broken after sequence"));
}

#[test]
fn log_whose_older_file_was_shortened_is_refused() {
    let (audit, mark) = log(0);
    let path = file(&audit, 0);
    let mut left = lines(&path);
    left.pop();
    fs::write(&path, left.concat()).unwrap();
    check(&audit, mark, Err("is broken after sequence"));
}

#[test]
fn edited_line_after_the_checkpoint_is_refused() {
    let (audit, mark) = log(0);
    let path = file(&audit, 1);
    let mut left = lines(&path);
    left[1] = String::from_utf8(left[1].clone()).unwrap().replace("seal", "show").into_bytes();
    fs::write(&path, left.concat()).unwrap();
    check(&audit, mark, Err("is broken after sequence"));
}

#[test]
fn checkpoint_after_the_one_that_is_remembered_is_told() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    append(&writer, &request("k"));
    drop(writer);
    let marks = notebook.marks.lock().unwrap().clone();
    let after = audit.open().unwrap().check(marks[0]).unwrap().unwrap();
    assert_eq!(wire::audit::line_hash(&after), marks[1].hash);
    assert_eq!(audit.open().unwrap().check(marks[1]).unwrap(), None);
}
