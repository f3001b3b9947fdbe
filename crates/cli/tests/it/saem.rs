//! Runs the command in a home of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// All of it as one text, with what differs between machines replaced.
    pub(crate) fn shown(&self, home: &Path) -> String {
        let text = format!("exit code: {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr);
        text.replace(&home.display().to_string(), "HOME")
    }
}

/// The command with this home, these arguments, and nothing of the surroundings.
pub(crate) fn saem(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saem"));
    command.args(arguments).env_clear().env("SAEM_HOME", home).env("HOME", home).env("HF_HUB_OFFLINE", "1");
    command.env("SAEM_PIP", "/no/such/pip").stdin(Stdio::null());
    for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE", "LD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs it to its end, in English.
pub(crate) fn run(home: &Path, arguments: &[&str]) -> Ran {
    finish(&mut saem(home, arguments))
}

/// Runs it to its end, in Korean.
pub(crate) fn run_korean(home: &Path, arguments: &[&str]) -> Ran {
    finish(saem(home, arguments).env("LANG", "ko_KR.UTF-8"))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A table of texts and their labels, to tune with.
pub(crate) fn reviews() -> String {
    let rows: String = (0..24).map(|row| format!("Review number {row} of the water,{}\n", row % 2)).collect();
    format!("text,label\n{rows}")
}
