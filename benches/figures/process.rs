//! Runs a program and measures its time, its processor time and the peak of its resident memory.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daybook::clock::Stopwatch;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::Value;

use crate::Error;

/// The program to measure.
pub const DAYBOOK: &str = env!("CARGO_BIN_EXE_daybook");

/// How often to ask the kernel for the peak. What a process takes in its last moment may be missed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The cost and the output of a process that succeeded.
#[derive(Debug)]
pub struct Ended {
    pub seconds: f64,
    /// User and system time of the process itself.
    pub cpu_seconds: f64,
    pub peak_megabytes: f64,
    pub stdout: String,
}

/// `daybook` with these arguments, databases and index prefix.
pub struct Daybook {
    pub source_url: String,
    pub ledger_url: String,
    pub elasticsearch_url: String,
    pub prefix: String,
    pub terms: Terms,
}

/// Which terms have documents.
#[derive(Clone, Copy)]
pub enum Terms {
    /// daybook's default.
    Default,
    /// None.
    None,
    /// Of every dimension and stat type.
    Every,
    /// As set by the caller of the bench.
    OfCaller,
}

impl Daybook {
    /// Runs it with `--json`. Fails with how it ended.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended, Error> {
        let mut command = Command::new(DAYBOOK);
        command
            .args(arguments)
            .arg("--json")
            .env("DAYBOOK_SOURCE_URL", &self.source_url)
            .env("DAYBOOK_LEDGER_URL", &self.ledger_url)
            .env("DAYBOOK_ELASTICSEARCH_URL", &self.elasticsearch_url)
            .env("DAYBOOK_INDEX_PREFIX", &self.prefix);
        match self.terms {
            Terms::Default => command.env_remove("DAYBOOK_TERMS"),
            Terms::None => command.env("DAYBOOK_TERMS", "none"),
            Terms::Every => command.env("DAYBOOK_TERMS", "countries,geocodes,items,queries"),
            Terms::OfCaller => &mut command,
        };
        run(&mut command)
    }
}

/// Runs a program to its end, keeping its standard output. It must succeed.
pub fn run(command: &mut Command) -> Result<Ended, Error> {
    let cpu_before = cpu_of_children()?;
    let start = Stopwatch::start();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let (peak_kilobytes, output, seconds) = watch(child, start)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // Without the environment, which holds passwords.
        let program = command.get_program().to_string_lossy().into_owned();
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        return Err(format!(
            "{program} {}: {}\n{said}",
            arguments.join(" "),
            output.status
        )
        .into());
    }
    Ok(Ended {
        seconds,
        cpu_seconds: cpu_of_children()? - cpu_before,
        peak_megabytes: peak_kilobytes * 1024.0 / 1e6,
        stdout: String::from_utf8(output.stdout)?,
    })
}

/// Waits for the end, while another thread polls the peak.
fn watch(child: Child, start: Stopwatch) -> Result<(f64, std::process::Output, f64), Error> {
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut peak = 0.0;
            while !ended.load(Ordering::Relaxed) {
                peak = peak_kilobytes(&status_file).unwrap_or(peak);
                std::thread::sleep(BETWEEN_LOOKS);
            }
            peak
        });
        let output = child.wait_with_output();
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        let peak = looking
            .join()
            .map_err(|_| "the thread that looks at the memory panicked")?;
        Ok((peak, output?, seconds))
    })
}

/// The peak of a process that is still running.
fn peak_kilobytes(status_file: &str) -> Option<f64> {
    let status = std::fs::read_to_string(status_file).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The processor time of all children that have ended so far; the bench runs one at a time.
fn cpu_of_children() -> Result<f64, Error> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.try_into()?).as_secs_f64())
}

impl Ended {
    /// The messages of a type in its output.
    pub fn messages(&self, message_type: &str) -> Vec<Value> {
        let lines = self
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|message| message["message_type"] == message_type)
            .collect()
    }

    /// A number from the first message that has it.
    pub fn number(&self, field: &str) -> Result<f64, Error> {
        let mut messages = self
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let number = messages.find_map(|message| message[field].as_f64());
        number.ok_or_else(|| format!("daybook did not say {field}:\n{}", self.stdout).into())
    }
}
