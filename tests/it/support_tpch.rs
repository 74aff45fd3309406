//! TPC-H's data and queries, for tests and benchmarks.

use std::{
    fmt::Display,
    io::{BufWriter, Write},
    path::Path,
    process::Command,
};

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

/// The tables, with keys.
pub(crate) const SCHEMA: &str = include_str!("tpch/schema.sql");
/// Each with the specification's validation parameters.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("q01", include_str!("tpch/q01.sql")),
    ("q02", include_str!("tpch/q02.sql")),
    ("q03", include_str!("tpch/q03.sql")),
    ("q04", include_str!("tpch/q04.sql")),
    ("q05", include_str!("tpch/q05.sql")),
    ("q06", include_str!("tpch/q06.sql")),
    ("q07", include_str!("tpch/q07.sql")),
    ("q08", include_str!("tpch/q08.sql")),
    ("q09", include_str!("tpch/q09.sql")),
    ("q10", include_str!("tpch/q10.sql")),
    ("q11", include_str!("tpch/q11.sql")),
    ("q12", include_str!("tpch/q12.sql")),
    ("q13", include_str!("tpch/q13.sql")),
    ("q14", include_str!("tpch/q14.sql")),
    ("q15", include_str!("tpch/q15.sql")),
    ("q16", include_str!("tpch/q16.sql")),
    ("q17", include_str!("tpch/q17.sql")),
    ("q18", include_str!("tpch/q18.sql")),
    ("q19", include_str!("tpch/q19.sql")),
    ("q20", include_str!("tpch/q20.sql")),
    ("q21", include_str!("tpch/q21.sql")),
    ("q22", include_str!("tpch/q22.sql")),
];

/// What `TPCH_SCALE` says.
#[expect(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
pub(crate) fn scale(default: f64) -> f64 {
    std::env::var("TPCH_SCALE").map_or(default, |scale| scale.parse().expect("TPCH_SCALE is a number"))
}

/// Makes the data in `folder` and loads it.
pub(crate) fn load(url: &str, schema: &str, folder: &Path, scale: f64) {
    let tables = [
        write(folder, "region", RegionGenerator::new(scale, 1, 1).iter()),
        write(folder, "nation", NationGenerator::new(scale, 1, 1).iter()),
        write(folder, "part", PartGenerator::new(scale, 1, 1).iter()),
        write(folder, "supplier", SupplierGenerator::new(scale, 1, 1).iter()),
        write(folder, "partsupp", PartSuppGenerator::new(scale, 1, 1).iter()),
        write(folder, "customer", CustomerGenerator::new(scale, 1, 1).iter()),
        write(folder, "orders", OrderGenerator::new(scale, 1, 1).iter()),
        write(folder, "lineitem", LineItemGenerator::new(scale, 1, 1).iter()),
    ];
    let mut psql = Command::new("psql");
    psql.args([url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", schema]);
    for copy in &tables {
        psql.args(["-c", copy]);
    }
    psql.args(["-c", include_str!("tpch/indexes.sql")]);
    assert!(psql.status().unwrap().success(), "TPC-H cannot be loaded");
}

/// Writes a table's rows as the specification's own tool does, and says how psql reads them.
fn write(folder: &Path, table: &str, rows: impl Iterator<Item = impl Display>) -> String {
    let path = folder.join(table);
    let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
    for row in rows {
        let row = row.to_string();
        // The tool ends the last field too.
        writeln!(file, "{}", row.strip_suffix('|').unwrap()).unwrap();
    }
    file.flush().unwrap();
    format!("\\copy {table} FROM '{}' WITH (DELIMITER '|')", path.display())
}
