//! A child process and a directory that do not outlive us, however we end.
//!
//! A small shell holds the reading end of a pipe from us and is the parent of the guarded program.
//! When the pipe ends, because we dropped it, panicked or were killed, it kills the program by the
//! process id that only its parent can know to be current, and removes the directory. It runs in a
//! process group of its own, so that Ctrl-C on ours does not end it before its work is done.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{Error, Result};

/// Reads one verb a line; a start is followed by the count of words and one word a line.
const GUARD: &str = r#"
dir=$1 keep=$2 pid=
end() { if [ -n "$pid" ]; then kill -KILL "$pid"; wait "$pid"; pid=; fi 2>/dev/null; }
while IFS= read -r verb; do
  case $verb in
    start)
      IFS= read -r left || break
      set --
      while [ "$left" -gt 0 ]; do IFS= read -r word || break 2; set -- "$@" "$word"; left=$((left - 1)); done
      "$@" </dev/null >"$dir/log" 2>&1 &
      pid=$!; echo "$pid" ;;
    stop) end; echo ok ;;
    suspend) kill -STOP "$pid"; echo ok ;;
    resume) kill -CONT "$pid"; echo ok ;;
  esac
done
end
[ "$keep" = keep ] || rm -rf -- "$dir"
"#;

/// A guarded directory with at most one guarded program.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: PathBuf,
}

impl Guard {
    /// Guards a new directory below the system's temporary one; it is removed at the end.
    ///
    /// # Errors
    /// `Io`: the directory or the shell could not be made.
    pub fn over_new_directory(prefix: &str) -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(Error::io("make a state directory"))?;
        let guard = Self::start_shell(made.path().to_owned(), "remove")?;
        // From here on the shell removes it.
        let _ = made.keep();
        Ok(guard)
    }

    /// Guards programs that use an existing directory, which stays when the guard ends.
    ///
    /// # Errors
    /// `Io`: the shell could not be started.
    pub fn over_kept_directory(directory: &Path) -> Result<Self> {
        Self::start_shell(directory.to_owned(), "keep")
    }

    fn start_shell(directory: PathBuf, end: &str) -> Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(&directory)
            .arg(end)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io("start /bin/sh"))?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().ok_or(Error::State("the guard has no output"))?;
        Ok(Self { shell, orders, answers: BufReader::new(answers), directory })
    }

    /// The guarded directory; the program's output is in the file `log` there.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the program wrote since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
            .unwrap_or_default()
    }

    /// Starts a program and returns its process id.
    ///
    /// # Errors
    /// `State`: a word holds a line break, or the guard has ended.
    pub fn start(&mut self, words: &[String]) -> Result<u32> {
        if words.iter().any(|word| word.contains('\n')) {
            return Err(Error::State("a word of the command holds a line break"));
        }
        let order = format!("start\n{}\n{}", words.len(), words.join("\n"));
        self.order(&order)?
            .parse()
            .map_err(|_not_a_number| Error::State("the guard gave no process id"))
    }

    /// Kills the program (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// `Io`, `State`: the guard has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.order("stop").map(drop)
    }

    /// Stops the program where it is (SIGSTOP).
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn suspend(&mut self) -> Result<()> {
        self.order("suspend").map(drop)
    }

    /// Lets a suspended program go on (SIGCONT).
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub fn resume(&mut self) -> Result<()> {
        self.order("resume").map(drop)
    }

    fn order(&mut self, order: &str) -> Result<String> {
        let orders = self.orders.as_mut().ok_or(Error::State("the guard has ended"))?;
        writeln!(orders, "{order}").map_err(Error::io("give the guard an order"))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(Error::io("read the guard's answer"))?;
        if answer.is_empty() {
            return Err(Error::State("the guard has ended"));
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A guard that cannot be waited for has nothing left to tell us.
        let _ = self.shell.wait();
    }
}
