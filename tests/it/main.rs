//! The integration tests: one binary, so that it links once; real servers, started by the tests on free ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, clippy::type_complexity, reason = "tests are data, and say what they skip")]

mod access;
mod access_tokens;
mod audit;
mod cache;
mod cache_redis;
mod certify;
mod check;
mod compare;
mod dead;
mod demo;
mod equality;
mod finder;
mod fuzz_sql;
mod fuzzed;
mod http;
mod http_catalogue;
mod http_sql;
mod http_stream;
mod nodes;
mod postgres_connect;
mod postgres_inspect;
mod postgres_speed;
mod postgres_types;
mod rollout;
mod rollout_tenants;
mod rollout_trip;
mod sandbox;
mod slt;
mod snapshot;
mod snapshot_crash;
mod snapshot_ddl;
mod snapshot_types;
mod sql_docs;
mod support;
mod support_access;
mod support_certificates;
mod support_pilaster;
mod support_redis;
mod support_server;
mod support_snapshot;
mod support_tpch;
mod tenancy;
mod tenancy_fuzz;
mod tidy;
mod tpch;
