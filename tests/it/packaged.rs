//! The Debian package, installed. script/lib/try-package.sh runs this, in whose overlay it is.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::World;
use crate::support::journey::{Newcomer, assert_steps, follow};
use crate::support::program::Ended;

const SERVICE: &str = "usr/lib/systemd/system/idb-interaction-telemetry-aggregator.service";

/// The root of a file system into which the package was installed.
struct Installed(PathBuf);

impl Installed {
    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What the unit sets, with the package's changes to it.
    fn of_unit(&self, name: &str) -> Vec<String> {
        let changes = format!("{SERVICE}.d/10-package.conf");
        let text = self.read(SERVICE) + &self.read(&changes);
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        // An empty value takes those before it back.
        values.fold(Vec::new(), |mut values, value| {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.to_owned());
            }
            values
        })
    }
}

/// The administrator, who runs it as the unit does.
impl Newcomer for Installed {
    async fn run(&self, arguments: &[&str]) -> Ended {
        // Of what can be set only once, the last value counts.
        let last = |name| self.of_unit(name).pop().unwrap();
        let started = last("ExecStart");
        let (program, of_unit) = started.split_once(' ').unwrap();
        assert_eq!(of_unit, "apply");
        let user = format!("{}:{}", last("User"), last("Group"));
        let mut command = Command::new("chroot");
        command
            .arg(format!("--userspec={user}"))
            .arg(&self.0)
            .args(["/usr/bin/env", "--ignore-environment"])
            .args(self.of_unit("Environment"))
            .arg(program)
            .args(arguments);
        command.output().await.unwrap().into()
    }

    fn set(&mut self, hint: &str, variable: &str, value: &str) {
        let (_, place) = hint
            .split_once("; its key in ")
            .expect("the file and the key");
        let (file, key) = place.split_once(" is ").unwrap();
        assert_eq!(format!("DAYBOOK_{}", key.to_uppercase()), variable);
        let file = self.0.join(Path::new(file).strip_prefix("/").unwrap());
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{key} = \"{value}\"\n")).unwrap();
    }
}

#[tokio::test]
#[ignore = "script/lib/try-package.sh installs the package and runs this"]
async fn doctor_leads_from_the_installed_package_to_a_first_applied_day() {
    let root = std::env::var("DAYBOOK_TEST_ROOT").expect("where the package is installed");
    let mut installed = Installed(root.into());
    let world = World::unmigrated().await;
    let prefix = "; its key in /etc/daybook/daybook.toml is index_prefix";
    installed.set(prefix, "DAYBOOK_INDEX_PREFIX", &world.prefix);
    let done = follow(&world, &mut installed).await;
    let steps = [
        "ledger_url",
        "migrate",
        "tables stats",
        "elasticsearch_url",
        "apply",
    ];
    assert_steps(&done, &steps);
    let ended = installed.run(&["doctor", "--json"]).await.assert_exit(0);
    let ledger = ended.messages_of("check").into_iter();
    let mut ledger = ledger.filter(|check| check["area"] == "ledger");
    assert!(ledger.any(|check| check["check"] == "reachable"));
    world.end().await;
}
