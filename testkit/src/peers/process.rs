//! One running program: its output is collected while it runs, and it is killed when the value is dropped.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::{PATIENCE, PeerError};

/// A program that was started, with everything it has written so far.
#[derive(Debug)]
pub(super) struct Process {
    program: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    transcript: Arc<Transcript>,
    readers: Vec<JoinHandle<()>>,
}

/// Standard output and standard error in the order in which their lines arrived.
#[derive(Debug, Default)]
struct Transcript {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    text: String,
    open_streams: usize,
}

impl Process {
    /// Starts `program` with `arguments`, all three standard streams piped.
    pub(super) fn start<A: AsRef<OsStr>>(
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, PeerError> {
        let started = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PeerError::Missing { program });
            }
            Err(error) => return Err(PeerError::Io { program, error }),
        };
        let transcript = Arc::new(Transcript::default());
        transcript.lock().open_streams = 2;
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stream| transcript.follow(stream)));
        readers.extend(child.stderr.take().map(|stream| transcript.follow(stream)));
        let stdin = child.stdin.take();
        Ok(Self { program, child, stdin, transcript, readers })
    }

    /// Writes `text` to the program's standard input.
    pub(super) fn send(&mut self, text: &str) -> Result<(), PeerError> {
        let Some(stdin) = self.stdin.as_mut() else { return Ok(()) };
        match stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()) {
            // The program ended before it read us: the wait that follows reports that with its output.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(PeerError::Io { program: self.program, error }),
            Ok(()) => Ok(()),
        }
    }

    /// Waits until `found` answers with a value for the output so far.
    ///
    /// `expected` says in words what is waited for, for the error message.
    pub(super) fn wait_for<R>(
        &self,
        expected: &str,
        found: impl Fn(&str) -> Option<R>,
    ) -> Result<R, PeerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.transcript.lock();
        loop {
            if let Some(result) = found(&written.text) {
                return Ok(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if written.open_streams == 0 || left.is_zero() {
                return Err(PeerError::NoAnswer {
                    program: self.program,
                    expected: expected.to_owned(),
                    output: written.text.clone(),
                });
            }
            written =
                self.transcript.changed.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the program's standard input, waits until it ends and returns all it wrote.
    pub(super) fn finish(mut self) -> Result<String, PeerError> {
        let status = self.end()?;
        let output = self.output();
        if status.success() {
            return Ok(output);
        }
        Err(PeerError::Failed { program: self.program, status: status.code(), output })
    }

    /// What the program has written so far.
    pub(super) fn output(&self) -> String {
        self.transcript.lock().text.clone()
    }

    fn end(&mut self) -> Result<ExitStatus, PeerError> {
        drop(self.stdin.take());
        // Both streams end when the program does, so this wait is also the limit on how long it may take.
        self.wait_until_closed()?;
        let status = self.child.wait().map_err(|error| PeerError::Io { program: self.program, error })?;
        for reader in self.readers.drain(..) {
            // A reader ends with its stream and has nothing to report.
            let _ = reader.join();
        }
        Ok(status)
    }

    fn wait_until_closed(&self) -> Result<(), PeerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.transcript.lock();
        while written.open_streams > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PeerError::NoAnswer {
                    program: self.program,
                    expected: "the end of its output".to_owned(),
                    output: written.text.clone(),
                });
            }
            written =
                self.transcript.changed.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Transcript {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let transcript = Arc::clone(self);
        thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            // A line that is not UTF-8 (session data) is kept with replacement characters.
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                transcript.lock().text.push_str(&String::from_utf8_lossy(&line));
                transcript.changed.notify_all();
                line.clear();
            }
            transcript.lock().open_streams -= 1;
            transcript.changed.notify_all();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Process::start("no-such-program-resumption", [""; 0]).unwrap_err();
        assert!(matches!(error, PeerError::Missing { .. }));
        assert!(error.to_string().contains("apt-get install no-such-program-resumption"));
    }

    #[test]
    fn output_is_collected_and_the_status_reported() {
        let mut echo = Process::start("cat", [""; 0]).unwrap();
        echo.send("one\n").unwrap();
        echo.wait_for("one", |text| text.contains("one").then_some(())).unwrap();
        echo.send("two\n").unwrap();
        assert_eq!(echo.finish().unwrap(), "one\ntwo\n");

        let failing = Process::start("sh", ["-c", "echo broken >&2; exit 3"]).unwrap();
        let error = failing.finish().unwrap_err();
        assert!(
            matches!(error, PeerError::Failed { status: Some(3), ref output, .. } if output == "broken\n")
        );
    }

    #[test]
    fn waiting_for_what_never_comes_ends_with_the_program() {
        let quick = Process::start("sh", ["-c", "echo something else"]).unwrap();
        let error = quick.wait_for("the answer", |text| text.contains("answer").then_some(())).unwrap_err();
        assert!(error.to_string().contains("never wrote \"the answer\""));
        assert!(error.to_string().contains("something else"));
    }

    #[test]
    fn dropping_kills_the_program() {
        let sleeper = Process::start("sh", ["-c", "echo $$; exec sleep 1000"]).unwrap();
        let id = sleeper.wait_for("its id", |text| text.strip_suffix('\n').map(str::to_owned)).unwrap();
        drop(sleeper);
        assert!(!std::path::Path::new(&format!("/proc/{id}/cmdline")).exists());
    }
}
