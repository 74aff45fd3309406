-- The tables that the corpus reads. Small, odd on purpose, and the same on every run.

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'Ecstatic');

-- Numbers at and around the edges of their types.
CREATE TABLE numbers (
    id int PRIMARY KEY,
    i2 smallint,
    i4 int,
    i8 bigint,
    f4 real,
    f8 double precision,
    n numeric(12, 4),
    n0 numeric(20, 0),
    nb numeric
);
INSERT INTO numbers VALUES
    (1, 0, 0, 0, 0, 0, 0, 0, 0),
    (2, 1, 1, 1, 1, 1, 1, 1, 1),
    (3, -1, -1, -1, -1, -1, -1, -1, -1),
    (4, 32767, 2147483647, 9223372036854775807, 3.4e38, 1.7e308, 99999999.9999, 99999999999999999999, 12345678901234567890.123456789),
    (5, -32768, -2147483648, -9223372036854775808, -3.4e38, -1.7e308, -99999999.9999, -99999999999999999999, -0.000000001),
    (6, 7, 7, 7, 0.1, 0.1, 0.1, 7, 0.1),
    (7, 10, 10, 10, 2.5, 2.5, 2.5, 10, 2.50),
    (8, -7, -7, -7, -2.5, -2.5, -2.5, -7, -2.500),
    (9, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (10, 3, 3, 3, 0.285, 0.285, 0.2850, 3, 0.285),
    (11, 100, 1000000, 10000000000, 1e-10, 1e-300, 0.0001, 1000000, 1e-9),
    (12, 42, 42, 42, 3.14159, 3.141592653589793, 3.1416, 42, 3.14159265358979323846),
    (13, 42, 42, 42, 1.005, 1.005, 1.0050, 42, 1.005),
    (14, -42, 123456, 1234567890123, 123456.789, 123456.789, 123456.7890, 123456, 123456.789),
    (15, 5, 5, 5, 0.5, 0.5, 0.5, 5, 0.5),
    (16, 5, 5, 5, 1.5, 1.5, 1.5, 5, 1.5);

-- Text of many scripts, cases and paddings.
CREATE TABLE texts (
    id int PRIMARY KEY,
    t text,
    v varchar(20),
    c char(8),
    m mood
);
INSERT INTO texts VALUES
    (1, 'apple', 'apple', 'apple', 'happy'),
    (2, 'Apple', 'Apple', 'Apple', 'sad'),
    (3, 'banana', 'banana', 'banana', 'ok'),
    (4, 'Banana split', 'Banana split', 'Banana', 'ok'),
    (5, 'cherry', 'cherry', 'cherry', 'Ecstatic'),
    (6, '', '', '', NULL),
    (7, NULL, NULL, NULL, NULL),
    (8, ' leading', ' leading', ' lead', 'happy'),
    (9, 'trailing ', 'trailing ', 'trail ', 'sad'),
    (10, 'émile', 'émile', 'émile', 'ok'),
    (11, 'Emile', 'Emile', 'Emile', 'ok'),
    (12, 'emile', 'emile', 'emile', 'happy'),
    (13, 'zebra', 'zebra', 'zebra', 'happy'),
    (14, 'Zürich', 'Zürich', 'Zürich', 'sad'),
    (15, 'co-op', 'co-op', 'co-op', 'ok'),
    (16, 'coop', 'coop', 'coop', 'ok'),
    (17, 'a_b%c', 'a_b%c', 'a_b%c', 'ok'),
    (18, E'tab\tand\nline', 'tab', 'tab', NULL),
    (19, 'straße', 'straße', 'straße', 'happy'),
    (20, '日本語', '日本語', '日本語', 'Ecstatic'),
    (21, '😀 smile', '😀 smile', '😀', 'happy'),
    (22, '10', '10', '10', 'ok'),
    (23, '9', '9', '9', 'ok'),
    (24, 'it''s "quoted" \ back', 'it''s', 'it''s', 'sad');

-- Dates and times around DST, leap years, epochs and far away.
CREATE TABLE times (
    id int PRIMARY KEY,
    d date,
    ts timestamp,
    tz timestamptz,
    t time,
    iv interval
);
INSERT INTO times VALUES
    (1, '1970-01-01', '1970-01-01 00:00:00', '1970-01-01 00:00:00+00', '00:00:00', '0'),
    (2, '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789012+00', '12:34:56.789012', '1 day'),
    (3, '2024-03-31', '2024-03-31 02:30:00', '2024-03-31 01:30:00+00', '02:30:00', '24 hours'),
    (4, '2024-10-27', '2024-10-27 02:30:00', '2024-10-27 00:30:00+00', '23:59:59.999999', '1 month'),
    (5, '2023-12-31', '2023-12-31 23:59:59.999999', '2023-12-31 23:59:59.999999+00', '23:59:59', '-1 month 3 days 04:05:06.789'),
    (6, '2024-01-31', '2024-01-31 00:00:00', '2024-01-31 00:00:00-05', '06:00:00', '1 year 2 months 3 days'),
    (7, NULL, NULL, NULL, NULL, NULL),
    (8, '1900-03-01', '1900-03-01 06:07:08', '1900-03-01 06:07:08+00', '06:07:08', '-00:00:01'),
    (9, '1582-10-15', '1582-10-15 00:00:00', '1582-10-15 00:00:00+00', '01:00:00', '36 hours'),
    (10, '0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '01:02:03.000004', '30 days'),
    (11, '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59+00', '13:00:00', '100 years'),
    (12, '2024-12-30', '2024-12-30 10:00:00', '2024-12-30 10:00:00+02', '10:00:00', '12:30:00'),
    (13, '2021-01-03', '2021-01-03 00:00:00.5', '2021-01-03 00:00:00.5+00', '00:00:00.5', '1.5 seconds'),
    (14, '2020-02-29', '2020-02-29 23:00:00', '2020-02-29 23:00:00+00', '23:00:00', '-1 days +02:00:00');

-- JSON, arrays, and the rest.
CREATE TABLE docs (
    id int PRIMARY KEY,
    j json,
    jb jsonb
);
INSERT INTO docs VALUES
    (1, '{"a": 1, "b": {"c": "x"}, "tags": ["p", "q"]}', '{"a": 1, "b": {"c": "x"}, "tags": ["p", "q"]}'),
    (2, '{"a":2.50,"b":{"c":"y"},"tags":[]}', '{"a":2.50,"b":{"c":"y"},"tags":[]}'),
    (3, '{"a": "text", "b": null}', '{"a": "text", "b": null}'),
    (4, '{"a": true}', '{"a": true}'),
    (5, '[1, 2, {"x": "deep"}]', '[1, 2, {"x": "deep"}]'),
    (6, '"only a string"', '"only a string"'),
    (7, '12345678901234567890.10', '12345678901234567890.10'),
    (8, 'null', 'null'),
    (9, NULL, NULL),
    (10, '{"b":1,"a":2,"aa":3}', '{"b":1,"a":2,"aa":3}'),
    (11, '{"quote": "say \"hi\"", "uni": "\u00e9", "nl": "a\nb"}', '{"quote": "say \"hi\"", "uni": "\u00e9", "nl": "a\nb"}'),
    (12, '{}', '{}'),
    (13, '[]', '[]'),
    (14, '{"event": "login", "ms": 120, "ok": true, "user": {"id": 7, "plan": "pro"}}', '{"event": "login", "ms": 120, "ok": true, "user": {"id": 7, "plan": "pro"}}'),
    (15, '{"event": "search", "ms": 80.5, "ok": false, "user": {"id": 8, "plan": "free"}}', '{"event": "search", "ms": 80.5, "ok": false, "user": {"id": 8, "plan": "free"}}');

CREATE TABLE lists (
    id int PRIMARY KEY,
    ai int[],
    at text[],
    an numeric(8, 2)[],
    ad date[]
);
INSERT INTO lists VALUES
    (1, '{1,2,3}', '{a,b,c}', '{1.50,2.25}', '{2024-01-01,2024-02-29}'),
    (2, '{}', '{}', '{}', '{}'),
    (3, NULL, NULL, NULL, NULL),
    (4, '{3,NULL,1}', '{c,NULL,a}', '{NULL,0.10}', '{NULL}'),
    (5, '{5}', '{"with, comma","with \"quote\""," space "}', '{-3.00}', '{1999-12-31}'),
    (6, '{2,2,2}', '{b,b,""}', '{9.99,9.99}', '{2024-01-01}'),
    (7, '{3,4,5,6}', '{NULL,"NULL",x}', '{100.00,200.00,300.00}', '{2024-03-01,2024-01-01}');

CREATE TABLE misc (
    id int PRIMARY KEY,
    b bool,
    u uuid,
    y bytea
);
INSERT INTO misc VALUES
    (1, true, '00000000-0000-0000-0000-000000000000', '\x'),
    (2, false, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\xdeadbeef'),
    (3, NULL, NULL, NULL),
    (4, true, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\x00ff'),
    (5, false, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'text bytes'),
    (6, true, '12345678-1234-4234-8234-123456789abc', '\x7f80');

-- A small business: customers, orders, items, and employees who lead each other.
CREATE TABLE customers (
    id int PRIMARY KEY,
    name text NOT NULL,
    country varchar(2),
    plan text,
    signed_up date NOT NULL,
    credit numeric(10, 2)
);
INSERT INTO customers VALUES
    (1, 'Acme', 'US', 'pro', '2023-01-15', 1000.00),
    (2, 'Bolt', 'DE', 'free', '2023-02-20', NULL),
    (3, 'Crest', 'US', 'pro', '2023-02-28', 250.50),
    (4, 'dune', 'FR', 'team', '2023-05-05', 0.00),
    (5, 'Élan', 'FR', 'free', '2023-07-14', 10.01),
    (6, 'Fable', NULL, 'team', '2024-01-01', 99999.99),
    (7, 'Gale', 'DE', NULL, '2024-02-29', -5.00),
    (8, 'Haven', 'US', 'free', '2024-03-10', 250.50);

CREATE TABLE orders (
    id int PRIMARY KEY,
    customer_id int,
    placed_at timestamptz NOT NULL,
    status text NOT NULL,
    total numeric(10, 2) NOT NULL,
    discount double precision
);
INSERT INTO orders
SELECT id,
       CASE WHEN id % 25 = 0 THEN NULL ELSE 1 + (id * 7 % 9) END,
       timestamptz '2023-01-01 00:00:00+00' + id * interval '17 hours 13 minutes',
       (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + id % 4],
       round((id * 37 % 1000)::numeric / 7, 2),
       CASE WHEN id % 10 = 0 THEN NULL ELSE (id % 30) / 100.0 END
FROM generate_series(1, 500) AS id;

CREATE TABLE items (
    order_id int NOT NULL,
    line int NOT NULL,
    product text NOT NULL,
    quantity int NOT NULL,
    price numeric(8, 3) NOT NULL,
    PRIMARY KEY (order_id, line)
);
INSERT INTO items
SELECT order_id, line, (ARRAY['bolt', 'nut', 'gear', 'cog', 'Axle'])[1 + (order_id + line * 3) % 5],
       1 + (order_id * line) % 9, round((order_id * 13 % 977)::numeric / 11, 3)
FROM generate_series(1, 500) AS order_id, generate_series(1, 3) AS line
WHERE (order_id + line) % 3 <> 0;

CREATE TABLE employees (
    id int PRIMARY KEY,
    name text NOT NULL,
    boss_id int,
    department text,
    salary numeric(10, 2),
    hired date
);
INSERT INTO employees VALUES
    (1, 'Ada', NULL, 'board', 300000.00, '2010-01-01'),
    (2, 'Ben', 1, 'sales', 120000.00, '2012-03-04'),
    (3, 'Cleo', 1, 'tech', 150000.00, '2011-11-11'),
    (4, 'Dan', 2, 'sales', 70000.00, '2019-06-30'),
    (5, 'Eve', 3, 'tech', 110000.00, '2018-02-01'),
    (6, 'Fay', 3, 'tech', 110000.00, '2020-09-09'),
    (7, 'Gus', 5, 'tech', 65000.50, '2022-12-24'),
    (8, 'Hal', 2, 'sales', NULL, '2023-04-01'),
    (9, 'Ida', NULL, NULL, 50000.00, NULL);

CREATE TABLE nothing (
    id int PRIMARY KEY,
    i int,
    n numeric(10, 2),
    t text,
    ts timestamptz
);
