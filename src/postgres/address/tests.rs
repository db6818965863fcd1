use super::*;

const SECRET: &str = "s3cr3t";

fn parse(url: &str, variables: &[(&str, &str)]) -> Result<Address, Refusal> {
    let environment = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Address::new((!url.is_empty()).then_some(url), &environment)
}

fn refused(url: &str, variables: &[(&str, &str)]) -> Refusal {
    let refusal = parse(url, variables)
        .err()
        .unwrap_or_else(|| panic!("{url} {variables:?} was accepted"));
    let said = format!("{refusal:?}");
    assert!(!said.contains(SECRET), "{url}: {said}");
    refusal
}

fn servers_of(url: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let address = parse(url, variables).unwrap_or_else(|refusal| panic!("{url}: {refusal:?}"));
    let shown =
        |server: &Server| format!("{} {}", server.host.as_deref().unwrap_or("-"), server.port);
    address.servers.iter().map(shown).collect()
}

#[test]
fn hosts_and_ports_are_read_as_libpq_reads_them() {
    for (url, servers) in [
        ("postgres://", &["- 5432"][..]),
        ("postgresql://h/db", &["h 5432"]),
        ("postgres://u:p@h:6543/db", &["h 6543"]),
        ("postgres://u@[::1]:5433/db", &["::1 5433"]),
        ("postgres://u@[fe80::1]/db", &["fe80::1 5432"]),
        ("postgres://h1,h2/db", &["h1 5432", "h2 5432"]),
        (
            "postgres://h1:1,h2,[::1]:3/db",
            &["h1 1", "h2 5432", "::1 3"],
        ),
        ("postgres://h1,h2/db?port=7", &["h1 7", "h2 7"]),
        ("postgres:///db?host=h1,h2&port=1,2", &["h1 1", "h2 2"]),
        ("postgres://%2Fvar%2Frun/db", &["/var/run 5432"]),
        ("postgres:///db?host=/var/run&port=7", &["/var/run 7"]),
        ("postgres:///db?hostaddr=127.0.0.1", &["127.0.0.1 5432"]),
    ] {
        assert_eq!(servers_of(url, &[]), servers, "{url}");
    }
}

#[test]
fn what_a_url_leaves_open_comes_from_the_environment() {
    let variables = [
        ("PGHOST", "h1,h2"),
        ("PGPORT", "7"),
        ("PGUSER", "me"),
        ("PGPASSWORD", "mine"),
        ("PGDATABASE", "d"),
    ];
    assert_eq!(servers_of("", &variables), ["h1 7", "h2 7"]);
    assert_eq!(servers_of("postgres://other/db", &variables), ["other 7"]);
    let address = parse("postgres://you@other:9/db", &variables).ok().unwrap();
    let values = [address.user, address.password, address.database].map(Option::unwrap);
    assert_eq!(values, ["you", "mine", "db"]);
}

#[test]
fn what_is_percent_encoded_is_decoded_and_a_plus_is_a_plus() {
    let address = parse(
        "postgres://u%40x:p%2F%40%23+y@h/d%62?options=-c%20a%3Db",
        &[],
    )
    .ok()
    .unwrap();
    let values = [address.user, address.password, address.database].map(Option::unwrap);
    assert_eq!(values, ["u@x", "p/@#+y", "db"]);
    assert_eq!(address.options, [("a".to_owned(), "b".to_owned())]);
}

#[test]
fn options_are_settings_with_their_values() {
    let options = |text: &str| parse("", &[("PGOPTIONS", text)]).map(|address| address.options);
    let read = options(r"-c a=1  -cb=x\ y --some-name=z\\").ok().unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(read, ["a=1", "b=x y", r"some_name=z\"]);
    for nonsense in ["-c", "-c a", "-d 5", "s3cr3t"] {
        assert!(
            refused("", &[("PGOPTIONS", nonsense)])
                .what
                .starts_with("PGOPTIONS "),
            "{nonsense}"
        );
    }
}

#[test]
fn whatever_cannot_be_read_is_refused_without_a_value() {
    for url in [
        "postgres://u:s3cr3t@h:port/db",
        "postgres://u:s3cr3t@h:0/db",
        "postgres://u:s3cr3t@h:65536/db",
        "postgres://u:s3cr3t@lo cal/db",
        "postgres://u:s3cr3t#x@h/db",
        "postgres://u:x/s3cr3t@h/db",
        "postgres://u:x?s3cr3t@h/db",
        "postgres://u:x?a&s3cr3t=1@h/db",
        "postgres://u:s3cr3t%zz@h/db",
        "postgres://u:s3cr3t%ff@h/db",
        "postgres://u:s3cr3t%00@h/db",
        "postgres://u:s3cr3t@[::1/db",
        "postgres://u:s3cr3t@[x]/db",
        "postgres://u:s3cr3t@[::1]5432/db",
        "postgres://u:s3cr3t@h1,h2/db?port=1,2,3",
        "postgres://u:s3cr3t@h/db?sslmode",
        "mysql://u:s3cr3t@h/db",
        "host=h password=s3cr3t",
        "s3cr3t",
    ] {
        assert!(
            refused(url, &[])
                .hint
                .contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE")
                || url.contains("port=1,2,3"),
            "{url}"
        );
    }
}

#[test]
fn a_parameter_that_is_not_honoured_is_refused_by_its_name() {
    let unknown =
        ["pasword", "ssl-mode", "options[search_path]", "sslmod"].map(|name| (name, "not known"));
    let unsupported = UNSUPPORTED
        .iter()
        .map(|unsupported| (unsupported.name, "not supported"));
    for (name, words) in unknown.into_iter().chain(unsupported) {
        let refusal = refused(&format!("postgres://u@h/db?{name}={SECRET}"), &[]);
        assert_eq!(refusal.what, format!("the parameter '{name}' is {words}"));
        assert!(!refusal.hint.is_empty() && !refusal.of_environment);
    }
    // What looks like part of a password is not shown.
    for name in ["s3cr3t", "s3cr3t%20x"] {
        assert_eq!(
            refused(&format!("postgres://u@h/db?{name}=x"), &[]).what,
            "the parameter is not known"
        );
    }
}

#[test]
fn a_variable_that_is_not_honoured_is_refused_by_its_name() {
    for unsupported in UNSUPPORTED {
        let Some(variable) = unsupported.variable else {
            continue;
        };
        for url in ["", "postgres://u@h/db"] {
            let refusal = refused(url, &[(variable, SECRET)]);
            assert!(
                refusal.what.starts_with(&format!("{variable} is set")) && refusal.of_environment
            );
        }
        for harmless in unsupported.harmless {
            assert!(
                parse("", &[(variable, harmless)]).is_ok(),
                "{variable}={harmless}"
            );
        }
    }
    for (variable, value) in [
        ("PGPORT", "s3cr3t"),
        ("PGSSLMODE", "s3cr3t"),
        ("PGSSLMODE", "allow"),
        ("PGCONNECT_TIMEOUT", "0"),
        ("PGTARGETSESSIONATTRS", "s3cr3t"),
        ("PGHOSTADDR", "127.0.0.2"),
        ("PGSSLCERT", "s3cr3t"),
        ("PGSSLKEY", "-----BEGIN PRIVATE KEY-----s3cr3t"),
    ] {
        let refusal = refused("postgres://u@h/db", &[(variable, value)]);
        assert!(
            refusal.what.starts_with(variable) && refusal.of_environment,
            "{refusal:?}"
        );
    }
}

#[test]
fn a_root_certificate_is_used_wherever_the_connection_is_encrypted() {
    let mode = |parameters: &str| {
        let address =
            parse(&format!("postgres://u@h/db?{parameters}"), &[]).map_err(|refusal| refusal.what);
        address.map(|address| format!("{:?} {}", address.tls.mode, address.tls.root.is_some()))
    };
    for (parameters, expected) in [
        ("", "Prefer false"),
        ("ssl=true", "Require false"),
        ("sslmode=require", "Require false"),
        ("sslmode=require&sslrootcert=f", "VerifyCa true"),
        ("sslmode=verify-ca&sslrootcert=f", "VerifyCa true"),
        ("sslmode=verify-full&sslrootcert=f", "VerifyFull true"),
        ("sslrootcert=system", "VerifyFull false"),
    ] {
        assert_eq!(mode(parameters).unwrap(), expected, "{parameters}");
    }
    assert!(mode("sslmode=require&sslrootcert=system").is_err());
    assert!(mode("sslmode=allow").is_err());
    // The file in libpq's default place.
    let home = std::env::temp_dir().join(format!("daybook-home-{}", std::process::id()));
    std::fs::create_dir_all(home.join(".postgresql")).unwrap();
    std::fs::write(home.join(".postgresql/root.crt"), "").unwrap();
    let address = parse(
        "postgres://u@h/db?sslmode=require",
        &[("HOME", home.to_str().unwrap())],
    )
    .ok()
    .unwrap();
    std::fs::remove_dir_all(home).unwrap();
    assert!(matches!(address.tls.mode, PgSslMode::VerifyCa) && address.tls.root.is_some());
}
