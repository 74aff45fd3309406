use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_parts(Some(("pilaster.toml", file)), &environment)
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.snapshot.schemas, ["public"]);
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n[snapshot]\nconnections = 2\nschemas = [\"a\", \"b\"]";
    let config = load(
        file,
        &[
            ("PILASTER__SERVER__LISTEN", "127.0.0.1:2"),
            ("PILASTER__ENGINE__MEMORY", "2GiB"),
            ("PILASTER__SNAPSHOT__EXCLUDE_TABLES", "public.a, public.b"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.snapshot.connections, 2);
    assert_eq!(config.snapshot.schemas, ["a", "b"]);
    assert_eq!(config.snapshot.exclude_tables, ["public.a", "public.b"]);
    assert_eq!(config.engine.memory.map(ByteSize::bytes), Some(2 << 30));
}

#[test]
fn tables_keep_their_dotted_names() {
    let file = "[tables.\"public.Invoices\"]\nexclude_columns = [\"note\"]\n\
                [tables.\"public.Invoices\".columns.amount]\nout_of_range = \"null\"";
    let config = load(file, &[]).unwrap();
    let table = &config.tables["public.Invoices"];
    assert_eq!(table.exclude_columns, ["note"]);
    assert_eq!(table.columns["amount"].out_of_range, OutOfRange::Null);
}

#[test]
fn secrets_come_from_files_and_stay_out_of_debug_output() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgresql://u:canary@h/d\n").unwrap();
    let config = load("", &[("PILASTER__POSTGRES__URL_FILE", path.to_str().unwrap())]).unwrap();
    assert_eq!(config.postgres.url.as_ref().unwrap().expose_secret(), "postgresql://u:canary@h/d");
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn other_programs_variables_are_honoured() {
    let check = |environment: &[(&str, &str)], expect: &str| {
        let config = load("", environment).unwrap();
        assert_eq!(config.postgres.url.unwrap().expose_secret(), expect);
    };
    check(&[("DATABASE_URL", "postgresql://h/d")], "postgresql://h/d");
    check(&[("PGHOST", "/run"), ("PGUSER", "it's"), ("PGDATABASE", "d")], r"host='/run' user='it\'s' dbname='d'");
    assert!(load("", &[("PGUSER", "u")]).unwrap().postgres.url.is_none());
}

#[test]
fn what_is_wrong_is_said() {
    let check = |file: &str, expect: &[&str]| {
        let error = load(file, &[]).unwrap_err();
        for part in expect {
            assert!(error.message().contains(part), "{error} lacks {part:?}");
        }
    };
    check("[server]\nlissten = 1", &["pilaster.toml", "lissten"]);
    check("[server", &["pilaster.toml"]);
    check("[engine]\ntimeout = \"soon\"", &["\"soon\" is not a duration"]);
    check("[engine]\nmemory = \"2 parsecs\"", &["is not a size"]);
    check("[snapshot]\nconnections = 0", &["snapshot.connections is 0"]);
    check("[store]\nprune_grace = \"1m\"", &["store.prune_grace"]);
    check("[cache]\nredis_url = \"redis://localhost\"", &["cache.hmac_key is missing"]);
    check("[cache]\nhmac_key = \"short\"", &["not 32 bytes"]);
    check("[tables.invoices]\n", &["does not name a schema"]);
}

#[test]
fn sizes_and_durations_are_read_as_people_write_them() {
    let check = |text: &str, bytes: Option<u64>, milliseconds: Option<u64>| {
        assert_eq!(parse_bytes(text), bytes, "{text} as bytes");
        assert_eq!(parse_duration(text).map(|it| it.as_millis() as u64), milliseconds, "{text} as a duration");
    };
    check("17", Some(17), None);
    check("64MiB", Some(64 << 20), None);
    check("1 GB", Some(1_000_000_000), None);
    check("250ms", None, Some(250));
    check("2s", None, Some(2_000));
    check("3h", None, Some(10_800_000));
    check("", None, None);
    check("-1s", None, None);
    check("99999999999999999999d", None, None);
    check("99999999999TiB", None, None);
}
