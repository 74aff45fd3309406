#!/usr/bin/env bash
# Run by the PostgreSQL container when its volume is new: makes the role that Pilaster reads with, which may only read.
set -euo pipefail
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=demo \
    --set=password="$(cat /run/secrets/reader_password)" <<'SQL'
CREATE ROLE pilaster LOGIN PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO pilaster;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO pilaster;
SQL
