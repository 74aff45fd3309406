//! Integration tests: one binary, so that it links once.

mod cache;
mod cache_redis;
mod support_redis;
