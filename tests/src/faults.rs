//! Storage that fails: the preloaded library of `tests/faults/`, and the file by which it is told
//! which call on which files fails, and how.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Calls that change files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// write(2) and its relatives.
    Writes,
    /// fsync(2), fdatasync(2).
    Syncs,
    /// rename(2) and its relatives.
    Renames,
    /// ftruncate(2), fallocate(2).
    Truncates,
    /// open(2) with `O_CREAT`.
    Creates,
    /// unlink(2).
    Unlinks,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `EIO`: the device is broken.
    Broken,
    /// `ENOSPC`: there is no room.
    Full,
    /// `EROFS`: the file system was remounted read-only.
    ReadOnly,
    /// A write takes half of its bytes.
    Short,
    /// A write says that it is done and is not, as are all after it on that file, and each sync of
    /// it fails with `EIO`: the kernel cannot write back what it took.
    Lost,
}

/// How many calls fail, from the first that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// That one.
    Once,
    /// All, until [`Faults::disarm`].
    UntilDisarmed,
}

/// The library for one daemon, and the file that steers it.
#[derive(Debug)]
pub struct Faults {
    dir: TempDir,
    control: File,
}

// The control file, as faults.c has it: eight words, then two paths.
const KINDS: u64 = 0;
const FIRST: u64 = 4;
const LAST: u64 = 8;
const HOW: u64 = 12;
const SEEN: u64 = 16;
const FIRED: u64 = 20;
const LOST: u64 = 24;
const LOADED: u64 = 28;
const BELOW: u64 = 32;
const CONTROL_BYTES: u64 = BELOW + 2 * 4096;

impl Faults {
    /// Compiles the library. Nothing fails yet.
    ///
    /// # Panics
    /// When it does not compile.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("faults-").tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/faults.c");
        let output = Command::new("cc")
            .args(["-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-O1"])
            .args(["-Wall", "-Werror", "-o"])
            .arg(dir.path().join("faults.so"))
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let control = dir.path().join("control");
        let control = File::options().read(true).write(true).create_new(true).open(control);
        let control = control.unwrap();
        control.set_len(CONTROL_BYTES).unwrap();
        Self { dir, control }
    }

    /// What a daemon is started with to be steered by this.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let file = |name| self.dir.path().join(name);
        vec![("LD_PRELOAD", file("faults.so")), ("FAULTS_CONTROL", file("control"))]
    }

    /// Lets the n-th of these calls on files whose path begins so fail, counted from now.
    pub fn arm(&self, below: &Path, calls: Calls, how: How, first: u32, lasting: Lasting) {
        self.disarm();
        let last = match lasting {
            Lasting::Once => first,
            Lasting::UntilDisarmed => u32::MAX,
        };
        let how = match how {
            How::Broken => rustix::io::Errno::IO.raw_os_error().unsigned_abs(),
            How::Full => rustix::io::Errno::NOSPC.raw_os_error().unsigned_abs(),
            How::ReadOnly => rustix::io::Errno::ROFS.raw_os_error().unsigned_abs(),
            How::Short => 0x10000,
            How::Lost => 0x10001,
        };
        let mut path = fs::canonicalize(below).unwrap().into_os_string().into_encoded_bytes();
        path.push(0);
        self.control.write_all_at(&path, BELOW).unwrap();
        for (place, word) in [(FIRST, first), (LAST, last), (HOW, how), (SEEN, 0), (FIRED, 0)] {
            self.write(place, word);
        }
        let kinds = match calls {
            Calls::Writes => 1,
            Calls::Syncs => 2,
            Calls::Renames => 4,
            Calls::Truncates => 8,
            Calls::Creates => 16,
            Calls::Unlinks => 32,
        };
        self.write(KINDS, kinds);
    }

    /// Lets everything through again.
    pub fn disarm(&self) {
        self.write(KINDS, 0);
        self.write(LOST, 0);
    }

    /// How many such calls there were since it was armed.
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.read(SEEN)
    }

    /// How many of them failed.
    #[must_use]
    pub fn fired(&self) -> u32 {
        self.read(FIRED)
    }

    /// Whether a daemon has loaded the library.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.read(LOADED) == 1
    }

    fn write(&self, place: u64, word: u32) {
        self.control.write_all_at(&word.to_le_bytes(), place).unwrap();
    }

    fn read(&self, place: u64) -> u32 {
        let mut word = [0; 4];
        self.control.read_exact_at(&mut word, place).unwrap();
        u32::from_le_bytes(word)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}
