//! The machine of the page's reader: a folder that stands for its root, with the old units in it and stand-ins for the
//! programs that are not here.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::support::World;
use crate::support::program::Ended;

const UNIT: &str = "idb-interaction-telemetry-aggregator";

/// What the old system's unit runs.
pub const OLD_LINE: &str = "/home/stats/.virtualenvs/idb-backend/bin/python /home/stats/.virtualenvs/idb-backend/bin/idb --journal -v collect-stats";

/// Notes what it is told. Starting a service runs what its unit says, with the settings of the file that it names.
const SYSTEMCTL: &str = r#"#!/bin/bash
echo "systemctl $*" >>"$ROOT/told"
[[ $1 == start && $2 == *.service ]] || exit 0
unit=$ROOT/etc/systemd/system/$2
settings=$(sed -n 's/^EnvironmentFile=//p' "$unit")
line=$(sed -n 's/^ExecStart=//p' "$unit")
set -a; . "$ROOT$settings"; set +a
exec ${line//\/home\/stats/$ROOT/home/stats}
"#;

const NOTES_WHAT_IT_IS_TOLD: &str = r#"#!/bin/bash
echo "${0##*/} $*" >>"$ROOT/told"
"#;

/// Where the page's commands are typed.
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// With the old system installed, and daybook in the home of its user, with the settings of a world.
    pub fn new(world: &World) -> Self {
        let machine = Self {
            root: std::env::temp_dir().join(format!("daybook-moving-{}", world.prefix)),
        };
        let settings = world
            .settings()
            .map(|(name, value)| format!("{name}='{value}'\n"));
        machine.write("home/stats/daybook.env", &settings.concat(), 0o600);
        machine.write(
            &format!("etc/systemd/system/{UNIT}.service"),
            &format!("[Service]\nExecStart={OLD_LINE}\n"),
            0o644,
        );
        machine.write(
            &format!("etc/systemd/system/{UNIT}.timer"),
            "[Timer]\nOnCalendar=*-*-* 9:00:00\n",
            0o644,
        );
        machine.write("bin/systemctl", SYSTEMCTL, 0o755);
        machine.write("bin/journalctl", NOTES_WHAT_IT_IS_TOLD, 0o755);
        machine.write(
            "home/stats/.virtualenvs/idb-backend/bin/idb",
            NOTES_WHAT_IT_IS_TOLD,
            0o755,
        );
        fs::create_dir_all(machine.root.join("root")).unwrap();
        for folder in ["bin", "home/stats/.local/bin"] {
            fs::create_dir_all(machine.root.join(folder)).unwrap();
            symlink(
                env!("CARGO_BIN_EXE_daybook"),
                machine.root.join(folder).join("daybook"),
            )
            .unwrap();
        }
        machine
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Types commands, in the checkout and with the settings loaded. Whatever they name below the root is in the folder.
    pub async fn run(&self, world: &World, commands: &str) -> Ended {
        let root = self.root.to_str().unwrap();
        let mut script = commands.to_owned();
        for folder in ["/etc/", "/root/", "/home/"] {
            script = script.replace(folder, &format!("{root}{folder}"));
        }
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
            .env_clear()
            .envs(world.settings())
            .env("ROOT", root)
            .env("HOME", self.root.join("home/stats"));
        command
            .env("PATH", format!("{root}/bin:/usr/bin:/bin"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.output().await.expect("run bash").into()
    }

    /// What `systemctl` and the other stand-ins were told since the last time that this was asked.
    pub fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.root.join("told")).unwrap_or_default();
        let _ = fs::remove_file(self.root.join("told"));
        told.lines().map(str::to_owned).collect()
    }

    /// A unit that is in place.
    pub fn unit(&self, kind: &str) -> String {
        fs::read_to_string(self.root.join(format!("etc/systemd/system/{UNIT}.{kind}"))).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A unit of this repository.
pub fn new_unit(kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    fs::read_to_string(folder.join(format!("{UNIT}.{kind}"))).unwrap()
}
