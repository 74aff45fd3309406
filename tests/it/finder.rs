//! The finder: random statements, on real Postgres and on the engine, through a real snapshot and the one door.
//!
//! A statement that both answer, but not equally, is a fault: it is made as small as it can be and still differ, and shown with its
//! seed. One that the engine refuses with a clear error is counted by its error, and one that shows a difference of
//! `sql::differences` by that; one that fails inside the engine is a fault too.
//!
//! `FINDER_SECONDS` and `FINDER_SEED` say how long and from where; `make sqlfuzz` runs it for longer, from the time of day.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::StreamExt;
use pilaster::sql::differences::find_in;
use tokio_postgres::Client;

use crate::{
    compare::{Difference, Rows, compare_to_scale, connect},
    fuzz_sql::{Query, Schema, corpus, generate, has_idle, is_ordered, letters, random, shrink, sql},
    slt::{load_corpus, on_engine, on_postgres, sort_rows},
    support::{Locale, Postgres},
    support_server::{Server, Settings, take_snapshot},
};

/// What a run does that says nothing else: two minutes, with all that is around it, and on a fast machine so many schemas, so that it is
/// always the same statements.
const SECONDS: u64 = 100;
const SCHEMAS: u64 = 3;
/// A quotient of Postgres has 16 digits; what an expression adds to it may have more behind the point.
const QUOTIENT_SCALE_MAX: usize = 12;
/// Statements over one schema before the next.
const PER_SCHEMA: u64 = 4_000;
/// How often a statement is made smaller, at most, and for how long.
const SHRINKS_MAX: usize = 400;
const SHRINK_TIME: Duration = Duration::from_secs(15);
/// Faults that are shown.
const SHOWN_MAX: usize = 40;
/// Of one kind.
const SHOWN_OF_A_KIND: usize = 15;
/// Statements at a time: one computes while another travels.
const TOGETHER: usize = 4;
/// Statements that are judged together.
const SOME: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn random_statements_are_answered_as_postgres_does() {
    let end = Instant::now() + Duration::from_secs(setting("FINDER_SECONDS").unwrap_or(SECONDS));
    let mut seed = setting("FINDER_SEED").unwrap_or(1);
    let postgres = Postgres::private_in(Locale::Icu, &[], "");
    let mut tally = Tally::default();
    let mut round = 0;
    let rounds = setting("FINDER_SECONDS").map_or(SCHEMAS, |_| u64::MAX);
    while Instant::now() < end && round < rounds {
        let schema = if round % 2 == 0 { corpus() } else { random(seed) };
        let place = Place::open(&postgres, &format!("finder_{round}"), &schema).await;
        let seeds: Vec<u64> = (seed..seed + PER_SCHEMA).collect();
        for some in seeds.chunks(SOME).take_while(|_| Instant::now() < end) {
            let verdicts = futures::stream::iter(some).map(|seed| {
                let query = generate(*seed, &schema);
                let place = &place;
                async move { (*seed, place.verdict(&query).await, query) }
            });
            // All are in before one is made smaller: an answer that nobody fetches holds up those behind it.
            let verdicts: Vec<_> = verdicts.buffered(TOGETHER).collect().await;
            for (at, verdict, query) in verdicts {
                if let Verdict::Fault(kind, how) = &verdict
                    && tally.shows(kind)
                {
                    let (smallest, how) = place.smallest(&query, kind, how.clone()).await;
                    let fault = format!("seed {at}: {kind}: {how}\n{}", sql(&smallest));
                    println!("{fault}\n");
                    tally.faults.push(fault);
                }
                tally.add(verdict, &sql(&query));
            }
        }
        seed += PER_SCHEMA;
        round += 1;
    }
    println!("finder: {tally}");
    assert!(tally.faults.is_empty(), "{} faults, for example:\n\n{}", tally.fault_count, tally.faults.join("\n\n"));
}

/// How two answers to the query differ.
pub(crate) fn difference(query: &Query, mut first: Rows, mut second: Rows) -> Difference {
    let letters = letters(query);
    if !is_ordered(query) {
        sort_rows(&mut first, &letters);
        sort_rows(&mut second, &letters);
    }
    let is_quotient = |column: usize| letters.as_bytes().get(column) == Some(&b'Q');
    compare_to_scale(&first, &second, |column, _| is_quotient(column).then_some(QUOTIENT_SCALE_MAX))
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch is not configuration")]
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A database and an engine over a snapshot of it.
struct Place {
    client: Client,
    server: Server,
    _store: tempfile::TempDir,
}

#[derive(Debug)]
enum Verdict {
    Equal,
    /// Both refuse it.
    BothFail,
    /// The engine says what it cannot do.
    Refused(String),
    /// It shows a difference that is known.
    Listed(&'static str),
    /// The engine answers what Postgres gives up on: the order in which rows are looked at decides whether a value fails.
    Answered,
    Fault(&'static str, String),
}

impl Place {
    async fn open(postgres: &Postgres, name: &str, schema: &Schema) -> Self {
        let url = postgres.database(name);
        if schema.setup.is_empty() {
            load_corpus(&url);
        }
        let (client, connection) = connect(&url).await;
        drop(connection);
        client.batch_execute(&schema.setup).await.unwrap();
        client.batch_execute("SET statement_timeout = '10s'").await.unwrap();
        let store = tempfile::tempdir().unwrap();
        take_snapshot(&url, store.path());
        let server = Settings::replica(store.path()).env("PILASTER__ENGINE__TIMEOUT", "10s").start();
        Self { client, server, _store: store }
    }

    async fn verdict(&self, query: &Query) -> Verdict {
        let text = sql(query);
        match (self.compared(query, &text).await, find_in(&text).first()) {
            (Verdict::Fault("rows" | "columns" | "accepts", _), Some(found)) => Verdict::Listed(found.difference.key),
            (verdict, _) => verdict,
        }
    }

    async fn compared(&self, query: &Query, text: &str) -> Verdict {
        match tokio::join!(on_postgres(&self.client, text), on_engine(&self.server, text)) {
            (_, Err((_, message))) if is_fault(&message) => {
                let log = self.server.log();
                let last = log.lines().rev().find(|line| line.contains("panicked")).unwrap_or("no panic is in the log");
                Verdict::Fault("fails", format!("{message}: {last}"))
            }
            (Err(_), Err(_)) => Verdict::BothFail,
            // Values, and time.
            (Err(state), Ok(_)) if state.starts_with("22") || state.starts_with("57") => Verdict::Answered,
            // Nobody reads what it would refuse.
            (Err(_), Ok(_)) if has_idle(query) => Verdict::Answered,
            (Err(state), Ok(_)) => Verdict::Fault("accepts", state),
            (Ok(_), Err((state, message))) => Verdict::Refused(format!("{state} {}", outline(&message))),
            (Ok(theirs), Ok(ours)) => {
                let difference = difference(query, theirs, ours);
                match (difference.rows, difference.columns) {
                    (Some(how), _) => Verdict::Fault("rows", how),
                    (None, Some(how)) => Verdict::Fault("columns", how),
                    (None, None) => Verdict::Equal,
                }
            }
        }
    }

    /// The smallest statement that has a fault of the same kind.
    async fn smallest(&self, query: &Query, kind: &str, how: String) -> (Query, String) {
        let (mut smallest, mut how) = (query.clone(), how);
        let (mut tries, end) = (0, Instant::now() + SHRINK_TIME);
        'smaller: loop {
            for candidate in shrink(&smallest) {
                tries += 1;
                if tries > SHRINKS_MAX || Instant::now() > end {
                    break 'smaller;
                }
                if let Verdict::Fault(same, why) = self.verdict(&candidate).await
                    && same == kind
                {
                    (smallest, how) = (candidate, why);
                    continue 'smaller;
                }
            }
            break;
        }
        (smallest, how)
    }
}

/// An error that tells of the engine rather than of the statement.
fn is_fault(message: &str) -> bool {
    message.starts_with("internal") || message.is_empty() || message.contains("the reply was cut")
}

/// The message without what is particular to one statement.
fn outline(message: &str) -> String {
    let mut outline = String::new();
    let mut quoted = false;
    for letter in message.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted && outline.len() > 60 => {}
            digit if digit.is_ascii_digit() => outline.push('0'),
            letter => outline.push(letter),
        }
    }
    outline.chars().take(70).collect()
}

#[derive(Default)]
struct Tally {
    equal: u64,
    both_fail: u64,
    answered: u64,
    refused: BTreeMap<String, (u64, String)>,
    kinds: BTreeMap<&'static str, usize>,
    listed: BTreeMap<&'static str, u64>,
    fault_count: u64,
    faults: Vec<String>,
}

impl Tally {
    /// Whether one more fault of the kind is worth the time that it takes to make it small.
    fn shows(&mut self, kind: &'static str) -> bool {
        let shown = self.kinds.entry(kind).or_default();
        *shown += 1;
        *shown <= SHOWN_OF_A_KIND && self.faults.len() < SHOWN_MAX
    }

    fn add(&mut self, verdict: Verdict, text: &str) {
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::BothFail => self.both_fail += 1,
            Verdict::Answered => self.answered += 1,
            Verdict::Listed(key) => *self.listed.entry(key).or_default() += 1,
            Verdict::Refused(why) => {
                let (count, example) = self.refused.entry(why).or_insert_with(|| (0, text.to_owned()));
                *count += 1;
                if text.len() < example.len() {
                    text.clone_into(example);
                }
            }
            Verdict::Fault(..) => self.fault_count += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let refused: u64 = self.refused.values().map(|(count, _)| count).sum();
        let listed: u64 = self.listed.values().sum();
        let all = self.equal + self.both_fail + self.answered + refused + listed + self.fault_count;
        writeln!(
            formatter,
            "{all} statements: {} equal, {} fail on both, {} only on Postgres, {refused} refused, {listed} listed {:?}, {} faults",
            self.equal, self.both_fail, self.answered, self.listed, self.fault_count
        )?;
        let mut why: Vec<_> = self.refused.iter().collect();
        why.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (why, (count, example)) in why.into_iter().take(30) {
            writeln!(formatter, "  {count} refused: {why}: {example}")?;
        }
        Ok(())
    }
}
