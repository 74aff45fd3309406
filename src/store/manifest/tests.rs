use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    let columns = vec![Column {
        name: "id".into(),
        postgres_type: "int8".into(),
        declared_type: "bigint".into(),
        column_type: ColumnType::Int64,
        nullable: false,
        treatment: Treatment::Plain,
        enum_labels: Vec::new(),
        collation: None,
        fidelity: Fidelity::default(),
    }];
    let files = vec![DataFile {
        path: "tables/public.t/run/part-0.parquet".into(),
        rows: 3,
        bytes: 100,
        blake3: Digest::from(blake3::hash(b"x")),
        footer_bytes: 50,
        columns: vec![ColumnStatistics { nulls: 0, min: Some("1".into()), max: Some("3".into()) }],
    }];
    Manifest {
        format: Manifest::FORMAT,
        version: SnapshotVersion::FIRST,
        run_id: RunId::generate(),
        as_of: Utc::now(),
        published_at: Utc::now(),
        duration_ms: 12,
        source: SourceIdentity {
            system_identifier: "7".into(),
            database: "app".into(),
            server_version: "15.18".into(),
            encoding: "UTF8".into(),
            collation: Collation { provider: "icu".into(), locale: "en-US".into(), version: None },
            lsn: Some("0/1".into()),

            transactions: None,
        },
        tables: vec![Table {
            name: TableName::new("public", "t"),
            excluded_columns: Vec::new(),
            primary_key: vec!["id".into()],
            foreign_keys: Vec::new(),
            mode: TableMode::Full,
            cursor: None,
            sort_order: Vec::new(),
            row_count: 3,
            digest: Table::content_digest(&columns, &files),
            columns,
            files,
        }],
    }
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let written = manifest();
    assert_eq!(Manifest::from_bytes(&written.to_bytes()).unwrap(), written);
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bytes = manifest().to_bytes();
    for index in 0..bytes.len() - 1 {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1;
        assert!(Manifest::from_bytes(&flipped).is_err(), "byte {index} of the manifest");
    }
    for length in 0..bytes.len() - 1 {
        assert!(Manifest::from_bytes(&bytes[..length]).is_err(), "cut at {length}");
    }
}

fn one_more_file(manifest: &mut Manifest, rows: u64, bytes: u64) {
    let file = manifest.tables[0].files[0].clone();
    manifest.tables[0].files.push(DataFile { rows, bytes, ..file });
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    let check = |change: fn(&mut Manifest), expect: &str| {
        let mut changed = manifest();
        change(&mut changed);
        let error = Manifest::from_bytes(&changed.to_bytes()).unwrap_err();
        assert!(error.message().contains(expect), "{error}");
    };
    check(|it| it.format = 9, "format 9");
    check(|it| it.tables[0].row_count = 4, "its files have 3 rows");
    check(|it| it.tables[0].files[0].path = "tables/../../etc/passwd".into(), "leaves the store");
    check(|it| it.tables[0].files[0].columns.clear(), "statistics of other columns");
    check(|it| it.tables[0].columns[0].name = "other".into(), "its digest is not that");
    check(|it| one_more_file(it, u64::MAX, 0), "more rows or bytes than there can be");
    check(|it| one_more_file(it, 0, u64::MAX), "more rows or bytes than there can be");
}

#[test]
fn no_two_tables_share_a_folder() {
    let check = |schema: &str, table: &str, expect: &str| {
        assert_eq!(TableName::new(schema, table).folder(), expect);
    };
    check("public", "users", "public.users");
    check("public", "Odd Name", "public.Odd=20Name");
    check("a.b", "c", "a=2eb.c");
    check("a", "b.c", "a.b=2ec");
    check("..", "/etc", "=2e=2e.=2fetc");
}

#[test]
fn versions_sort_as_their_file_names() {
    let check = |name: &str, expect: Option<u64>| {
        assert_eq!(SnapshotVersion::from_file_name(name).map(SnapshotVersion::get), expect, "{name}");
    };
    check("00000000000000000001.json", Some(1));
    check("00000000000000000000.json", None);
    check("1.json", None);
    check(".draft-00000000-0000-0000-0000-000000000000", None);
    assert_eq!(SnapshotVersion::FIRST.next().file_name(), "00000000000000000002.json");
}

proptest! {
    #[test]
    fn bytes_from_outside_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Manifest::from_bytes(&bytes);
    }
}
