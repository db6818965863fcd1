//! Checks of this machine: the timer and its service, and the memory that a run may use.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chrono::{FixedOffset, Local, NaiveDate, Offset as _};

use super::check::Checks;
use super::subject::Subject;
use crate::clock;
use crate::day::TimeZone;
use crate::memory::Memory;

const TIMER: &str = "idb-interaction-telemetry-aggregator.timer";
const SERVICE: &str = "idb-interaction-telemetry-aggregator.service";

/// Checks the machine.
pub(super) async fn examine(subject: &Subject<'_>, checks: &mut Checks) {
    let asking = tokio::task::spawn_blocking(|| (show(TIMER), show(SERVICE))).await;
    let (timer, service) = asking.unwrap_or_default();
    match (&timer, &service) {
        (Some(timer), Some(service)) => {
            self::timer(timer, checks);
            self::service(service, checks);
        }
        _ => checks.ok("timer", "not checked: systemd does not run here"),
    }
    memory(
        subject.memory,
        service
            .as_ref()
            .and_then(|service| service.get("MemoryMax")?.parse().ok()),
        of_this_machine(),
        checks,
    );
}

/// Checks that the last day of the ledger is over when the timer fires.
pub(super) fn time_zone(zone: TimeZone, checks: &mut Checks) {
    let here = clock::now().with_timezone(&Local);
    let offset = here.offset().fix();
    if is_over_at_nine(here.date_naive(), offset, zone) {
        checks.ok("time zone", format!("UTC{offset}"));
    } else {
        checks.warning(
            "time zone",
            format!("when the timer fires (09:00 at UTC{offset}), the previous day is not over in {zone}: it is applied a day late"),
            format!("systemctl edit {TIMER}: OnCalendar=*-*-* 09:00:00 {zone}"),
        );
    }
}

fn is_over_at_nine(date: NaiveDate, offset: FixedOffset, zone: TimeZone) -> bool {
    let at_nine = date
        .and_hms_opt(9, 0, 0)
        .and_then(|nine| nine.and_local_timezone(offset).single());
    at_nine.is_none_or(|nine| zone.day_of(nine.to_utc()).date() >= date)
}

type Properties = BTreeMap<String, String>;

/// The properties of a unit; none if systemd does not run.
fn show(unit: &str) -> Option<Properties> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let output = Command::new("systemctl")
        .args(["show", unit, "--property"])
        .arg("LoadState,UnitFileState,ActiveState,NextElapseUSecRealtime,Result,ExecMainStatus,MemoryMax")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Some(
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn property<'p>(of: &'p Properties, name: &str) -> &'p str {
    of.get(name).map_or("", String::as_str)
}

fn timer(timer: &Properties, checks: &mut Checks) {
    if property(timer, "LoadState") != "loaded" {
        checks.warning(
            "timer",
            "the timer is not installed: nothing runs daily",
            format!("install {TIMER} and {SERVICE} (docs/installing.md), then: systemctl enable --now {TIMER}"),
        );
    } else if property(timer, "ActiveState") != "active" {
        checks.warning(
            "timer",
            "the timer is not started: nothing runs daily",
            format!("systemctl enable --now {TIMER}"),
        );
    } else if property(timer, "UnitFileState") != "enabled" {
        checks.warning(
            "timer",
            "the timer runs, but not after the next boot",
            format!("systemctl enable {TIMER}"),
        );
    } else {
        let next = property(timer, "NextElapseUSecRealtime");
        checks.ok("timer", format!("enabled; next run {next}"));
    }
}

fn service(service: &Properties, checks: &mut Checks) {
    if property(service, "ActiveState") == "failed" {
        let result = property(service, "Result");
        let code = property(service, "ExecMainStatus");
        checks.warning(
            "service",
            format!("the last run failed ({result}, exit code {code})"),
            format!("journalctl -u {SERVICE} -n 30"),
        );
    } else if property(service, "LoadState") == "loaded" {
        checks.ok("service", "installed");
    }
}

/// Compares the memory limit with what the unit and the machine allow.
fn memory(limit: Memory, of_unit: Option<u64>, of_machine: Option<u64>, checks: &mut Checks) {
    let limit = limit.bytes();
    let megabytes = |bytes: u64| format!("{} MB", bytes >> 20);
    let (allowed, by) = match (of_unit, of_machine) {
        (Some(unit), machine) if machine.is_none_or(|machine| unit <= machine) => {
            (unit, "the unit's MemoryMax=")
        }
        (_, Some(machine)) => (machine, "this machine"),
        _ => return checks.ok("memory", format!("the limit is {}", megabytes(limit))),
    };
    let text = format!(
        "the limit is {}, {by} allows {}",
        megabytes(limit),
        megabytes(allowed)
    );
    // A large event needs several times its size on top of the limit.
    if limit > allowed / 2 {
        checks.warning(
            "memory",
            text,
            "keep DAYBOOK_MEMORY below half of it, or the kernel may kill a run",
        );
    } else {
        checks.ok("memory", text);
    }
}

/// What the machine or the container allows, in bytes.
fn of_this_machine() -> Option<u64> {
    let number = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let information = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = information
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map(|kilobytes| kilobytes << 10);
    let of_container = number("/sys/fs/cgroup/memory.max");
    total.into_iter().chain(of_container).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::{Area, Level};

    fn properties(text: &str) -> Properties {
        let words = text.split(' ').filter_map(|word| word.split_once('='));
        words
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn result(examine: impl FnOnce(&mut Checks)) -> (Level, String) {
        let mut checks = Checks::new(Area::Machine);
        examine(&mut checks);
        let found = checks.into_found().remove(0);
        (found.level, found.message + &found.hint.unwrap_or_default())
    }

    #[test]
    fn a_timer_is_installed_started_and_enabled() {
        let of = |text: &str| result(|checks| timer(&properties(text), checks));
        let (level, text) = of("LoadState=not-found ActiveState=inactive");
        assert_eq!(level, Level::Warning);
        assert!(text.contains("not installed"), "{text}");
        let (level, text) = of("LoadState=loaded ActiveState=inactive UnitFileState=enabled");
        assert_eq!(level, Level::Warning);
        assert!(text.contains("enable --now"), "{text}");
        let (level, text) = of("LoadState=loaded ActiveState=active UnitFileState=disabled");
        assert_eq!(level, Level::Warning);
        assert!(text.contains("next boot"), "{text}");
        let (level, _) = of("LoadState=loaded ActiveState=active UnitFileState=enabled");
        assert_eq!(level, Level::Ok);
    }

    #[test]
    fn far_in_the_east_the_day_of_utc_is_not_over_at_nine() {
        let date = NaiveDate::from_ymd_opt(2020, 2, 16).unwrap();
        let over = |hours: i32, zone: &str| {
            let offset = FixedOffset::east_opt(hours * 3600).unwrap();
            is_over_at_nine(date, offset, zone.parse().unwrap())
        };
        assert!(over(0, "UTC") && over(-11, "UTC") && over(9, "UTC"));
        assert!(!over(10, "UTC"));
        assert!(over(10, "Australia/Sydney"));
        assert!(!over(1, "Pacific/Honolulu"));
    }

    #[test]
    fn a_failed_service_is_reported() {
        let (level, text) = result(|checks| {
            service(
                &properties(
                    "LoadState=loaded ActiveState=failed Result=exit-code ExecMainStatus=1",
                ),
                checks,
            );
        });
        assert_eq!(level, Level::Warning);
        assert!(
            text.contains("exit code 1") && text.contains("journalctl"),
            "{text}"
        );
    }

    #[test]
    fn the_memory_limit_stays_below_half_of_what_is_allowed() {
        const GB: u64 = 1 << 30;
        let of = |unit, machine| {
            result(|checks| memory("512M".parse().unwrap(), unit, machine, checks)).0
        };
        assert_eq!(of(Some(2 * GB), Some(8 * GB)), Level::Ok);
        assert_eq!(of(Some(GB - 1), Some(8 * GB)), Level::Warning);
        assert_eq!(of(Some(2 * GB), Some(GB - 1)), Level::Warning);
        assert_eq!(of(None, Some(8 * GB)), Level::Ok);
        assert_eq!(of(None, None), Level::Ok);
    }
}
