//! Random tables of several tenants, as the database of one of them alone and as one that others' rows are in too.

use std::fmt::Write as _;

use super::{
    Kind, Random, Schema,
    schema::{Column, create_table, insert_rows, random_table},
};

/// Tables whose rows are tenants'.
pub(crate) struct Tenants {
    /// What statements read.
    pub(crate) schema: Schema,
    /// The tenant who asks.
    pub(crate) tenant: &'static str,
    /// Makes the tables with the rows that the tenant sees.
    pub(crate) alone: String,
    /// Makes them with others' rows among these.
    pub(crate) among_others: String,
    /// `pilaster.toml`: whose rows the tables hold.
    pub(crate) config: String,
    /// Tables that the tenant does not see at all.
    pub(crate) denied: Vec<String>,
}

/// The tenant column's type, who asks, and others.
const KINDS: &[(&str, Option<Kind>, &str, &[&str])] = &[
    ("int8", Some(Kind::Int8), "7", &["8", "-7", "9223372036854775807", "NULL"]),
    ("int4", Some(Kind::Int4), "-1", &["1", "0", "2147483647", "NULL"]),
    ("int2", Some(Kind::Int2), "3", &["4", "-32768", "NULL"]),
    ("text", Some(Kind::Text), "Émile", &["'emile'", "''", "'Émile '", "'é'", "NULL"]),
    ("varchar(20)", Some(Kind::Varchar), "a_b%c", &["'a_b%c '", "'A_b%c'", "NULL"]),
    ("char(6)", None, "ab", &["'ab c'", "'AB'", "''", "NULL"]),
    (
        "uuid",
        None,
        "0190b6a4-7c1e-7a3b-9f52-3c1d2e4f5a6b",
        &["'0190b6a4-7c1e-7a3b-9f52-3c1d2e4f5a6c'", "'00000000-0000-0000-0000-000000000000'", "NULL"],
    ),
];

/// A few random tables with random rows and policies.
pub(crate) fn tenants(seed: u64) -> Tenants {
    let mut random = Random::new(seed);
    let (declared, kind, tenant, others) = *random.pick(KINDS);
    let (mut tables, mut denied) = (Vec::new(), Vec::new());
    let (mut alone, mut among_others) = (String::new(), String::new());
    let mut config = format!(
        "[access]\ntenant_type = \"{}\"\n",
        declared.split('(').next().unwrap().replace("int2", "int4").replace("varchar", "text").replace("char", "text")
    );
    for number in 1..=3 + random.below(2) {
        let mut table = random_table(&mut random, number);
        let is_of_tenants = number == 1 || random.chance(70);
        let is_denied = !is_of_tenants && random.chance(40);
        let (mut create, mut own, mut before, mut after) = Default::default();
        let column = if is_of_tenants { format!(", tenant {declared}") } else { String::new() };
        // Of a bare numeric, the width is measured over all rows.
        create_table(&mut create, &mut random, &table, &["numeric(12,2)", "numeric(18,4)", "numeric(20,0)"], &column);
        let theirs = |_: &mut Random| is_of_tenants.then(|| format!("'{tenant}'"));
        let strange = |random: &mut Random| Some((*random.pick(others)).to_owned());
        insert_rows(&mut own, &mut random, &table, 1..=table.row_count, theirs);
        if is_of_tenants {
            let count = *random.pick(&[0, 1, 20, 200]);
            insert_rows(&mut before, &mut random, &table, 1_001..=1_000 + count, strange);
            insert_rows(&mut after, &mut random, &table, 5_001..=5_001 + count, strange);
        }
        // NaN in every seventh row of a float, whosever it is.
        let floats = table
            .columns
            .iter()
            .filter(|column| column.kind == Kind::Float8)
            .map(|column| format!("UPDATE {} SET {} = 'NaN' WHERE id % 7 = 3;\n", table.name, column.name));
        let nans: String = floats.collect();
        alone += &format!("{create}{own}{nans}");
        among_others += &format!("{create}{before}{own}{after}{nans}");
        let policy = match (is_of_tenants, is_denied) {
            (true, _) => "tenant = \"tenant\"",
            (_, true) => "access = \"denied\"",
            _ => "access = \"shared\"",
        };
        let _ = writeln!(config, "[tables.\"public.{}\"]\n{policy}", table.name);
        if is_denied {
            denied.push(table.name.clone());
        }
        if let (true, Some(kind)) = (is_of_tenants, kind) {
            table.columns.push(Column { name: "tenant".to_owned(), kind, is_key: false, is_wild: false });
        }
        tables.push(table);
    }
    let schema = Schema { tables, setup: String::new() };
    Tenants { schema, tenant, alone, among_others, config, denied }
}
