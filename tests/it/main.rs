//! The integration tests: one binary, so that it links once; real servers, started by the tests on free ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod cache_redis;
mod equality;
mod postgres_connect;
mod postgres_inspect;
mod postgres_speed;
mod postgres_types;
mod support;
mod support_redis;
mod tidy;
