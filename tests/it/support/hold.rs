//! Holds the program at a place, by taking a lock that it needs, so that a test can act while it waits there.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::process::Child;

use super::World;

/// Where to hold the program.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Before it reads the first delta row.
    Reading,
    /// Before it writes to the indices behind the aliases, or switches the aliases.
    Projecting,
}

/// A lock that the program waits for; released when this is dropped.
pub struct Hold {
    _connection: PgConnection,
}

impl World {
    /// Holds every run that reaches this place from now on.
    pub async fn hold_at(&self, place: Place) -> Hold {
        let lock = match place {
            Place::Reading => {
                "BEGIN; LOCK TABLE daybook.interaction_delta IN ACCESS EXCLUSIVE MODE"
            }
            Place::Projecting => "SELECT pg_advisory_lock(x'646179626f6f6c'::bigint)",
        };
        let mut connection = self.sql().await;
        sqlx::raw_sql(lock)
            .execute(&mut connection)
            .await
            .expect("take the lock");
        Hold {
            _connection: connection,
        }
    }

    /// Waits until a run is held: blocked in the server, or retrying the lock after the run was recorded.
    pub async fn until_held(&self) {
        self.until(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
             OR EXISTS (SELECT FROM pg_stat_activity a JOIN daybook.run_start r ON a.application_name LIKE '%' || r.run_id
                 WHERE a.datname = current_database() AND a.query LIKE 'SELECT pg_try_advisory_lock%')",
        )
        .await;
    }

    /// Waits until the server has noticed that the program is gone, and has released its locks.
    pub async fn until_gone(&self) {
        self.until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'daybook %')",
        )
        .await;
    }

    /// Waits until a query returns true.
    pub async fn until(&self, sql: &str) {
        let waiting = async {
            while self.value(sql).await != "true" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .unwrap_or_else(|_| panic!("still not: {sql}"));
    }
}

/// Sends a signal to the program.
pub async fn signal(name: &str, program: &Child) {
    let command = format!("kill -s {name} {}", program.id().expect("the program runs"));
    let sent = tokio::process::Command::new("sh")
        .args(["-c", &command])
        .status()
        .await
        .expect("run kill");
    assert!(sent.success(), "{command}");
}
