//! Checks for how long the certificate of a server is still valid.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;

use super::check::Checks;
use crate::certificate::{Begin, expiry};
use crate::clock;
use crate::text::counted;

/// A certificate is reported when it expires sooner than this: time for those who renew it by hand.
const SOON: TimeDelta = TimeDelta::days(30);

/// The answer is not worth more time.
const LONGEST: Duration = Duration::from_secs(1);

/// Checks the certificates of some servers. Reports the one that expires first; nothing if none can be seen.
pub(super) async fn examine(
    servers: impl IntoIterator<Item = (String, u16)>,
    begin: Begin,
    checks: &mut Checks,
) {
    let mut first: Option<(DateTime<Utc>, String)> = None;
    for (host, port) in servers {
        let asked = timeout(LONGEST, expiry(&host, port, begin)).await;
        if let Ok(Some(expiry)) = asked
            && first.as_ref().is_none_or(|(first, _)| expiry < *first)
        {
            first = Some((expiry, host));
        }
    }
    if let Some((expiry, host)) = first {
        report(expiry, &host, clock::now(), checks);
    }
}

fn report(expiry: DateTime<Utc>, host: &str, now: DateTime<Utc>, checks: &mut Checks) {
    let left = expiry - now;
    let days = u64::try_from(left.num_days()).unwrap_or(0);
    let text = format!(
        "that of {host} is valid for another {}, until {}",
        counted(days, "day", "days"),
        expiry.format("%Y-%m-%d %H:%M UTC")
    );
    if left < SOON {
        checks.warning(
            "certificate",
            text,
            "renew it on the server before then: afterwards no run can connect",
        );
    } else {
        checks.ok("certificate", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::{Area, Level};

    #[test]
    fn a_certificate_is_reported_thirty_days_before_it_expires() {
        let now = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
        let level = |left: TimeDelta| {
            let mut checks = Checks::new(Area::Ledger);
            report(now + left, "db", now, &mut checks);
            checks.into_found().remove(0).level
        };
        assert_eq!(level(TimeDelta::days(30)), Level::Ok);
        assert_eq!(
            level(TimeDelta::days(30) - TimeDelta::seconds(1)),
            Level::Warning
        );
        assert_eq!(level(TimeDelta::days(-1)), Level::Warning);
    }
}
