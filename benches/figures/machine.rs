//! The machine that the figures were measured on.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::postgres;
use crate::process::{DAYBOOK, run};
use crate::setting::Setting;

/// The facts, sorted by name.
pub async fn facts(setting: &Setting) -> Result<Map<String, Value>, Error> {
    let Value::Object(mut facts) = json!({
        // With BENCH_APART this process may use only some of them.
        "cores": std::env::var("BENCH_CORES")?.parse::<usize>()?,
        "cpu": line_of("/proc/cpuinfo", "model name")?,
        "memory": line_of("/proc/meminfo", "MemTotal")?,
        "load_at_the_start": std::fs::read_to_string("/proc/loadavg")?.split(' ').next(),
        "postgres": postgres::version(&setting.database("s")?).await?,
        "elasticsearch": setting.elastic.version().await?,
        "rustc": run(Command::new("rustc").arg("--version"))?.stdout.trim(),
        "daybook": run(Command::new(DAYBOOK).arg("--version"))?.stdout.trim(),
        "history_days": setting.history_days,
    }) else {
        return Err("the facts are no object".into());
    };
    // Settings that affect the figures.
    for name in ["DAYBOOK_MEMORY", "DAYBOOK_TERMS", "BENCH_APART"] {
        if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
            facts.insert(name.to_lowercase(), value.into());
        }
    }
    Ok(facts)
}

fn line_of(file: &str, name: &str) -> Result<String, Error> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line
        .map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']))
        .to_owned())
}
