//! A login for one test. Roles belong to the whole server, so its name is unique and it is dropped at the end.

use super::Servers;
use super::World;

/// A role that can log in and has no other privileges.
pub struct Login {
    pub role: String,
    pub password: String,
    pub ledger_url: String,
}

impl Login {
    /// A role named after the world.
    pub async fn new(world: &World) -> Self {
        Self::named(world, "login").await
    }

    /// One of several roles of a world.
    pub async fn named(world: &World, name: &str) -> Self {
        let role = format!("{}_{name}", world.prefix);
        let password = format!("secret-of-{}", world.prefix);
        world
            .execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"))
            .await;
        let mut url: url::Url = world.ledger_url.parse().expect("a URL");
        url.set_username(&role).expect("a URL with a host");
        url.set_password(Some(&password))
            .expect("a URL with a host");
        Self {
            role,
            password,
            ledger_url: url.into(),
        }
    }

    /// Ends the world, then drops the role, which by then owns nothing and has no privileges.
    pub async fn end(self, world: World) {
        let servers = world.servers.clone();
        world.end().await;
        self.drop(&servers).await;
    }

    /// Drops the role, once the world has ended.
    pub async fn drop(self, servers: &Servers) {
        servers.execute(&format!("DROP ROLE {}", self.role)).await;
    }
}
