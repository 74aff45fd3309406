-- Fills the demo's tables; run after schema.sql (its head has the command).
--
-- Every value is a hash of the id of its row, never a draw from a sequence of random numbers, so the same scale gives the
-- same rows whatever the plan, the server's version or its settings. The story ends at a fixed "today".
--
--   scale (psql variable, or DEMO_SCALE in the environment; default 1): 1 is about 2.6 million events of 400 tenants.
--   0.01 is for tests. Tenants grow with the square root of scale and are never fewer than 24.

\set ON_ERROR_STOP on
\if :{?scale}
\else
  \set scale `echo "${DEMO_SCALE:-1}"`
\endif

\set starts '(timestamptz ''2023-07-01 00:00:00+00'')'
\set ends   '(timestamptz ''2026-07-01 00:00:00+00'')'

BEGIN;
SET LOCAL timezone = 'UTC';
SET LOCAL jit = off;
SET LOCAL synchronous_commit = off;
SET LOCAL work_mem = '256MB';
SET LOCAL maintenance_work_mem = '512MB';
SET LOCAL client_min_messages = warning;

-- Chance -----------------------------------------------------------------------------------------------------------------

-- A number in [0, 1) that depends on nothing but its arguments. Each use has a salt of its own.
CREATE FUNCTION pg_temp.chance(id bigint, salt integer) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ((hashint8extended(id, salt) >> 12) & 4503599627370495)::float8 / 4503599627370496::float8
$$;

-- A normal deviate (Box and Muller).
CREATE FUNCTION pg_temp.normal(id bigint, salt integer) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sqrt(-2 * ln(1 - pg_temp.chance(id, salt))) * cos(2 * pi() * pg_temp.chance(id, salt + 1))
$$;

-- One text of a list.
CREATE FUNCTION pg_temp.one_of(list text[], id bigint, salt integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT list[1 + floor(cardinality(list) * pg_temp.chance(id, salt))::integer]
$$;

-- An hour of the day in UTC: office hours with a dip at noon, an evening tail, shifted by region.
CREATE FUNCTION pg_temp.hour_of_day(u float8, region text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (('{0,6,7,7,7,8,8,8,8,8,8,9,9,9,9,9,9,9,9,9,9,10,10,10,10,10,10,10,10,10,10,10,11,11,11,11,11,11,11,11,11,12,12,12,
        12,12,13,13,13,13,13,13,13,14,14,14,14,14,14,14,14,14,14,15,15,15,15,15,15,15,15,15,16,16,16,16,16,16,16,16,17,17,17,17,
        17,18,18,18,19,19,20,20,20,21,21,21,22,22,23,23}'::integer[])[1 + floor(u * 100)::integer]
        + CASE region WHEN 'us' THEN 6 WHEN 'apac' THEN 17 ELSE 0 END) % 24
$$;

-- A moment on the day of `at`, at an hour when people work there.
CREATE FUNCTION pg_temp.at_work(at timestamptz, region text, id bigint, salt integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT date_trunc('day', at) + make_interval(hours => pg_temp.hour_of_day(pg_temp.chance(id, salt), region),
        secs => floor(3600 * pg_temp.chance(id, salt + 1)))
$$;

-- Shared tables ------------------------------------------------------------------------------------------------------------

INSERT INTO plans VALUES
    (1, 'starter', 'Starter', 12.00, 5, true),
    (2, 'pro', 'Pro', 29.00, 50, true),
    (3, 'business', 'Business', 59.00, 250, true),
    (4, 'enterprise', 'Enterprise', 99.00, NULL, false);

INSERT INTO sla_policies VALUES
    ('low', '24 hours', '7 days'),
    ('normal', '8 hours', '3 days'),
    ('high', '4 hours', '24 hours'),
    ('urgent', '1 hour', '8 hours');

INSERT INTO calendar
SELECT day, date_trunc('month', day), date_trunc('week', day), extract(isodow FROM day) >= 6
FROM generate_series(timestamp '2023-01-01', '2027-12-31', '1 day') AS day;

-- Tenants ------------------------------------------------------------------------------------------------------------------

-- Size falls with the id as 1 / id ^ 1.15, so tenant 1 is the largest and the last one the smallest.
CREATE TEMP TABLE tenant_size ON COMMIT DROP AS
SELECT id, count(*) OVER () AS tenants, power(id, -1.15) / sum(power(id, -1.15)) OVER () AS share,
    CASE WHEN pg_temp.chance(id, 1) < 0.45 THEN 'us' WHEN pg_temp.chance(id, 1) < 0.85 THEN 'eu' ELSE 'apac' END AS region
FROM generate_series(1, greatest(24, round(400 * sqrt(:scale::float8)))::bigint) AS id;

INSERT INTO tenants
SELECT id, md5('tenant ' || id)::uuid, 'tenant-' || id, 'Tenant ' || id,
    (CASE WHEN id <= greatest(3, tenants * 0.03) THEN 'enterprise' WHEN id <= tenants * 0.25 THEN 'growth'
        ELSE 'startup' END)::tenant_tier,
    region,
    CASE region WHEN 'us' THEN 'USD' WHEN 'apac' THEN 'AUD'
        ELSE pg_temp.one_of(ARRAY['EUR', 'EUR', 'EUR', 'GBP', 'CHF'], id, 2) END,
    jsonb_build_object('theme', pg_temp.one_of(ARRAY['light', 'dark'], id, 3),
        'retention_days', (ARRAY[90, 365, 1095])[1 + floor(3 * pg_temp.chance(id, 4))::integer],
        'features', jsonb_build_object('sso', id <= tenants * 0.1, 'api', pg_temp.chance(id, 5) < 0.5)),
    pg_temp.at_work(
        :starts + make_interval(days => floor(600 * power(pg_temp.chance(id, 6), 1.5) * least(1, id / 20.0))::integer),
        region, id, 7)
FROM tenant_size;

-- Users --------------------------------------------------------------------------------------------------------------------

-- One row per user with what their life on the platform looks like: until when they come, and how often in a week.
CREATE TEMP TABLE person ON COMMIT DROP AS
WITH seed AS (
    SELECT s.id AS tenant_id, t.region, t.tier, t.created_at AS tenant_since, n, s.id * 10000000 + n AS seed
    FROM tenant_size s
    JOIN tenants t USING (id)
    CROSS JOIN generate_series(1, (14 + round(28000 * :scale::float8 * s.share))::bigint) AS n
), born AS (
    -- More users each month than the month before, and few on a weekend.
    SELECT *, tenant_since + (:ends - interval '1 day' - tenant_since) * power(pg_temp.chance(seed, 10), 0.78) AS wished FROM seed
), settled AS (
    SELECT *, pg_temp.at_work(CASE WHEN extract(isodow FROM wished) < 6 OR pg_temp.chance(seed, 11) < 0.35 THEN wished
        ELSE wished - interval '2 days' END, region, seed, 12) AS at
    FROM born
), numbered AS (
    SELECT row_number() OVER (ORDER BY greatest(at, tenant_since), tenant_id, n) AS id, tenant_id, region, tier, seed,
        greatest(at, tenant_since) AS created_at,
        pg_temp.chance(seed, 14) < CASE tier WHEN 'enterprise' THEN 0.58 ELSE 0.48 END AS pays
    FROM settled
)
SELECT id, tenant_id, region, tier, created_at, pays,
    least(:ends, created_at + make_interval(secs => 86400 * (CASE
        WHEN pg_temp.chance(seed, 15) < CASE WHEN pays THEN 0.04 ELSE 0.38 END THEN 9 * pg_temp.chance(seed, 16)
        ELSE -430 * ln(1 - pg_temp.chance(seed, 16)) + CASE WHEN pays THEN 90 ELSE 0 END END))) AS active_until,
    least(12, 0.34 * exp(1.05 * pg_temp.normal(seed, 17))) * CASE WHEN pays THEN 1.5 ELSE 0.8 END AS sessions_a_week
FROM numbered;

-- Sessions: the first at the sign-up, the others spread over the user's time, thinned out on weekends and in holidays.
CREATE TEMP TABLE session ON COMMIT DROP AS
WITH candidate AS (
    SELECT p.id AS user_id, p.tenant_id, k, p.id * 4096 + k AS seed, p.created_at,
        CASE WHEN k = 0 THEN p.created_at ELSE pg_temp.at_work(
            p.created_at + (p.active_until - p.created_at) * power(pg_temp.chance(p.id * 4096 + k, 20), 1.15),
            p.region, p.id * 4096 + k, 21) END AS started_at
    FROM person p
    CROSS JOIN generate_series(0, least(1500, floor(1 + 0.85 * p.sessions_a_week
        * extract(epoch FROM p.active_until - p.created_at) / 604800))::bigint) AS k
), kept AS (
    SELECT *, 1 + floor(14 * power(pg_temp.chance(seed, 23), 2))::integer AS event_count FROM candidate
    WHERE started_at >= created_at AND started_at < :ends - interval '1 hour'
        AND (k = 0 OR pg_temp.chance(seed, 24) < CASE extract(isodow FROM started_at) WHEN 5 THEN 0.85 WHEN 6 THEN 0.22
            WHEN 7 THEN 0.3 ELSE 1 END
            * CASE extract(month FROM started_at) WHEN 12 THEN 0.74 WHEN 8 THEN 0.82 WHEN 7 THEN 0.9 WHEN 1 THEN 0.92 ELSE 1 END)
)
SELECT user_id, tenant_id, k, started_at, event_count, md5('session ' || seed)::uuid AS session_id,
    (sum(event_count) OVER (ORDER BY started_at, user_id, k ROWS UNBOUNDED PRECEDING) - event_count)::bigint AS events_before
FROM kept;

INSERT INTO users
SELECT p.id, p.tenant_id, 'user-' || p.id || '@tenant-' || p.tenant_id || '.example',
    CASE WHEN pg_temp.chance(p.id, 30) < 0.93 THEN 'User ' || p.id END,
    '{demo}' || md5('password ' || p.id),
    (CASE WHEN pg_temp.chance(p.id, 31) < 0.86 THEN 'member' WHEN pg_temp.chance(p.id, 31) < 0.97 THEN 'admin'
        ELSE 'owner' END)::user_role,
    CASE WHEN pg_temp.chance(p.id, 32) < 0.8 THEN pg_temp.one_of(CASE p.region WHEN 'us' THEN '{en-US,en-US,en-US,es-US}'::text[]
        WHEN 'eu' THEN '{en-GB,de-DE,fr-FR,it-IT}' ELSE '{en-AU,ja-JP,en-SG,ko-KR}' END, p.id, 33) END,
    CASE WHEN pg_temp.chance(p.id, 34) < 0.9 THEN pg_temp.one_of(CASE p.region WHEN 'us' THEN '{US,US,US,CA}'::text[]
        WHEN 'eu' THEN '{GB,DE,FR,IT}' ELSE '{AU,JP,SG,KR}' END, p.id, 35) END,
    p.active_until >= :ends - interval '30 days',
    CASE WHEN pg_temp.chance(p.id, 36) < 0.7 THEN pg_temp.chance(p.id, 37) < 0.4 END,
    p.created_at,
    s.last_at AT TIME ZONE 'UTC',
    CASE WHEN pg_temp.chance(p.id, 38) < 0.08 THEN '2001:db8::'::inet + floor(1e6 * pg_temp.chance(p.id, 39))::bigint
        WHEN pg_temp.chance(p.id, 38) < 0.92 THEN (ARRAY['192.0.2.0', '198.51.100.0', '203.0.113.0']::inet[])[1 + p.id % 3]
            + floor(256 * pg_temp.chance(p.id, 39))::bigint END
FROM person p
LEFT JOIN (SELECT user_id, max(started_at) AS last_at FROM session WHERE k > 0 GROUP BY user_id) s ON s.user_id = p.id
ORDER BY p.id;

-- Events -------------------------------------------------------------------------------------------------------------------

-- A first session walks through the onboarding as far as it gets; after that, names follow Zipf's law: forty with a name
-- of their own and a long tail of automations.
INSERT INTO events
WITH step AS (
    SELECT s.events_before + j AS id, s.tenant_id, s.user_id, s.session_id, s.k, s.started_at, j,
        CASE WHEN s.k = 0 AND j <= 4 THEN 0 ELSE floor(power(260, pg_temp.chance(s.events_before + j, 40)))::integer END AS rank,
        floor(10 * pg_temp.chance(s.user_id * 4096 + s.k, 41))::integer AS device
    FROM session s
    CROSS JOIN generate_series(1, s.event_count) AS j
    ORDER BY 1
)
SELECT id, tenant_id, user_id, session_id,
    CASE WHEN rank = 0 THEN (ARRAY['user.signedup', 'onboarding.started', 'project.created', 'member.invited'])[j]
        WHEN rank <= 40 THEN (ARRAY['page.viewed', 'report.viewed', 'dashboard.opened', 'record.updated', 'search.performed',
            'record.created', 'filter.applied', 'comment.added', 'report.exported', 'file.uploaded', 'notification.read',
            'chart.zoomed', 'record.deleted', 'project.created', 'task.completed', 'share.created', 'settings.changed',
            'member.invited', 'import.started', 'import.finished', 'api.called', 'webhook.delivered', 'template.used',
            'alert.triggered', 'integration.connected', 'view.saved', 'column.pinned', 'bulk.edited', 'role.changed',
            'key.rotated', 'billing.opened', 'plan.compared', 'schedule.created', 'mention.added', 'shortcut.used',
            'export.failed', 'theme.changed', 'feedback.sent', 'audit.viewed', 'help.opened'])[rank]
        ELSE 'automation.rule' || rank END,
    -- Phones report whole seconds, so their events tie.
    started_at + make_interval(secs => CASE WHEN device IN (6, 7) THEN 40 * (j - 1)
        ELSE round((40 * (j - 1) + 39 * pg_temp.chance(id, 42))::numeric, 3)::float8 END),
    ('{"platform":"' || (ARRAY['web', 'web', 'web', 'web', 'web', 'web', 'ios', 'android', 'desktop', 'api'])[device + 1] || '"'
        || CASE WHEN pg_temp.chance(id, 43) < 0.82 THEN ',"duration_ms":'
            || least(60000, round(exp(4.4 + rank % 7 * 0.3 + 0.9 * pg_temp.normal(id, 44))))::integer ELSE '' END
        || CASE WHEN pg_temp.chance(id, 46) < CASE rank WHEN 9 THEN 0.06 WHEN 19 THEN 0.09 WHEN 21 THEN 0.04 ELSE 0.012 END
            THEN ',"ok":false' WHEN pg_temp.chance(id, 46) < 0.9 THEN ',"ok":true' ELSE '' END
        || CASE WHEN rank IN (9, 19, 20) THEN ',"rows":' || floor(exp(3 + 5 * pg_temp.chance(id, 47)))::integer
            || ',"format":"' || pg_temp.one_of(ARRAY['csv', 'xlsx', 'pdf'], id, 48) || '"' ELSE '' END
        || '}')::jsonb
FROM step;

-- Subscriptions --------------------------------------------------------------------------------------------------------------

CREATE TEMP TABLE subscriber ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY started_at, user_id) AS id, * FROM (
    SELECT id AS user_id, tenant_id, tier,
        created_at + make_interval(secs => floor(86400 * 35 * power(pg_temp.chance(id, 50), 2))) AS started_at
    FROM person WHERE pays) AS payer
WHERE started_at < :ends - interval '1 hour';

-- Month by month: what a subscription is worth from its m-th anniversary on.
CREATE TEMP TABLE subscription_month ON COMMIT DROP AS
WITH RECURSIVE month AS (
    SELECT s.id, 0 AS m, s.started_at AS anniversary, s.started_at, true AS active, plan_id,
        CASE plan_id WHEN 1 THEN 1 + floor(5 * power(u, 3)) WHEN 2 THEN 1 + floor(30 * power(u, 3))
            WHEN 3 THEN 3 + floor(80 * power(u, 4)) ELSE 20 + floor(380 * power(u, 5)) END::integer AS quantity
    FROM subscriber s
    CROSS JOIN LATERAL (SELECT pg_temp.chance(s.id, 51) + CASE tier WHEN 'enterprise' THEN 0.04 ELSE 0 END AS p,
        pg_temp.chance(s.id, 52) AS u) AS draw
    CROSS JOIN LATERAL (SELECT CASE WHEN p < 0.5 THEN 1 WHEN p < 0.84 THEN 2 WHEN p < 0.97 THEN 3 ELSE 4 END AS plan_id) AS chosen
  UNION ALL
    SELECT id, m + 1, started_at + make_interval(months => m + 1), started_at,
        CASE WHEN active THEN u >= leaves ELSE u < 0.035 END,
        CASE WHEN NOT active OR u < leaves THEN plan_id
            WHEN u < leaves + 0.012 THEN least(4, plan_id + 1)
            WHEN u < leaves + 0.018 THEN greatest(1, plan_id - 1) ELSE plan_id END,
        CASE WHEN NOT active OR u < leaves + 0.018 THEN quantity
            WHEN u < leaves + 0.052 THEN quantity + 1 + floor(quantity * 0.6 * v * v)::integer
            WHEN u < leaves + 0.072 THEN greatest(1, quantity - 1 - floor(quantity * 0.5 * v * v)::integer) ELSE quantity END
    FROM (SELECT *, pg_temp.chance(id * 64 + m + 1, 53) AS u, pg_temp.chance(id * 64 + m + 1, 54) AS v,
            CASE WHEN m < 3 THEN 0.05 ELSE 0.026 END * (ARRAY[1.35, 1, 0.7, 0.35])[plan_id] AS leaves FROM month) AS before
    WHERE started_at + make_interval(months => m + 1) < :ends - interval '1 hour'
), priced AS (
    SELECT month.*, CASE WHEN active THEN monthly_price * quantity ELSE 0 END::numeric(12,2) AS mrr
    FROM month
    JOIN plans ON plans.id = plan_id
)
SELECT *, lag(mrr) OVER w AS mrr_before, lag(plan_id) OVER w AS plan_before FROM priced WINDOW w AS (PARTITION BY id ORDER BY m);

-- Leaving and returning happen on an anniversary, other changes some days after one.
INSERT INTO subscription_changes
SELECT row_number() OVER (ORDER BY changed_at, id), tenant_id, id, plan_id, quantity, mrr, reason, changed_at
FROM (
    SELECT m.id, s.tenant_id, m.plan_id, m.quantity, m.mrr,
        CASE WHEN m.mrr = 0 THEN pg_temp.one_of(ARRAY['price', 'missing feature', 'closed down', 'payment failed', NULL, NULL],
            m.id * 64 + m.m, 55) END AS reason,
        CASE WHEN m = 0 THEN anniversary WHEN mrr = 0 OR mrr_before = 0 THEN date_trunc('day', anniversary)
            ELSE anniversary + make_interval(secs => floor(86400 * 20 * pg_temp.chance(m.id * 64 + m.m, 56))) END AS changed_at
    FROM subscription_month m
    JOIN subscriber s USING (id)
    WHERE mrr_before IS NULL OR mrr <> mrr_before) AS change
WHERE changed_at < :ends;

-- Invoices and payments ------------------------------------------------------------------------------------------------------

-- Billed on each anniversary for the month ahead. due_on, paid_at and the attempts follow from what kind of payer it is.
CREATE TEMP TABLE bill ON COMMIT DROP AS
WITH due AS (
    SELECT s.tenant_id, s.user_id, m.id AS subscription_id, t.currency, m.m, m.anniversary::date AS period_start,
        (m.started_at + make_interval(months => m.m + 1))::date AS period_end,
        CASE WHEN m.mrr_before > 0 AND m.mrr > 0 THEN m.plan_before ELSE m.plan_id END AS plan_id,
        CASE WHEN m.mrr_before > 0 AND m.mrr > 0 THEN m.mrr_before ELSE m.mrr END AS usd,
        CASE WHEN m.m = 0 THEN m.anniversary ELSE date_trunc('day', m.anniversary) + interval '2 hours'
            + make_interval(secs => floor(5400 * pg_temp.chance(m.id * 64 + m.m, 60))) END AS issued_at,
        (CASE t.currency WHEN 'USD' THEN 1 WHEN 'EUR' THEN 1.085 WHEN 'GBP' THEN 1.271 WHEN 'CHF' THEN 1.132 ELSE 0.661 END
            * CASE t.currency WHEN 'USD' THEN 1 ELSE 0.96 + 0.08
                * pg_temp.chance((m.anniversary::date - date '2020-01-01') / 7, 61) END)::numeric(10,6) AS usd_rate,
        CASE t.currency WHEN 'EUR' THEN 0.19 WHEN 'GBP' THEN 0.20 WHEN 'CHF' THEN 0.081 WHEN 'AUD' THEN 0.10
            ELSE 0 END AS tax_rate,
        CASE t.tier WHEN 'enterprise' THEN 30 ELSE 14 END AS days_to_pay
    FROM subscription_month m
    JOIN subscriber s USING (id)
    JOIN tenants t ON t.id = s.tenant_id
    WHERE m.mrr > 0
), numbered AS (
    SELECT row_number() OVER (ORDER BY issued_at, subscription_id) AS id,
        row_number() OVER (PARTITION BY tenant_id ORDER BY issued_at, subscription_id) AS nth, due.*,
        round(usd / usd_rate, 2) AS subtotal, round(round(usd / usd_rate, 2) * tax_rate, 2) AS tax,
        issued_at::date + days_to_pay AS due_on,
        CASE WHEN pg_temp.chance(user_id, 62) < 0.68 THEN 'card' WHEN pg_temp.chance(user_id, 62) < 0.82 THEN 'debit'
            WHEN pg_temp.chance(user_id, 62) < 0.96 THEN 'transfer' ELSE 'wallet' END AS method
    FROM due
    WHERE issued_at < :ends
), tried AS (
    -- 0 attempts: void. fails = attempts: it is never paid.
    SELECT *, CASE WHEN u < 0.004 THEN 0 WHEN u < 0.032 THEN 3 WHEN u < 0.09 THEN 2 ELSE 1 END AS attempts,
        CASE WHEN u < 0.004 THEN 0 WHEN u < 0.018 THEN 3 WHEN u < 0.032 THEN 2 WHEN u < 0.09 THEN 1 ELSE 0 END AS fails,
        issued_at + make_interval(secs => floor(CASE method
            WHEN 'transfer' THEN 86400 * least(120, days_to_pay * exp(-0.75 + 0.8 * pg_temp.normal(id, 64)))
            WHEN 'debit' THEN 86400 * (1 + 2 * pg_temp.chance(id, 64)) ELSE 60 + 900 * pg_temp.chance(id, 64) END)) AS first_try
    FROM numbered CROSS JOIN LATERAL (SELECT pg_temp.chance(id, 63) AS u) AS draw
)
SELECT *, CASE WHEN attempts > fails AND first_try + (attempts - 1) * interval '3 days' < :ends
    THEN first_try + (attempts - 1) * interval '3 days' END AS paid_at
FROM tried;

INSERT INTO invoices
SELECT id, tenant_id, subscription_id, plan_id, 'T' || tenant_id || '-' || lpad(nth::text, 6, '0'),
    (CASE WHEN attempts = 0 THEN 'void' WHEN paid_at IS NOT NULL THEN 'paid'
        WHEN due_on < (:ends)::date - 120 THEN 'uncollectible' ELSE 'open' END)::invoice_status,
    currency, subtotal, tax, subtotal + tax, usd_rate, period_start, period_end, issued_at, due_on
FROM bill
ORDER BY id;

INSERT INTO payments
WITH try AS (
    SELECT b.*, attempt, b.id * 4 + attempt AS seed, first_try + (attempt - 1) * interval '3 days' AS attempted_at,
        attempt > fails AS good
    FROM bill b
    CROSS JOIN generate_series(1, b.attempts) AS attempt
), refunded AS (
    SELECT *, CASE WHEN good AND pg_temp.chance(seed, 70) < 0.016
        AND attempted_at + make_interval(secs => 86400 * floor(1 + 40 * pg_temp.chance(seed, 71))) < :ends
        THEN attempted_at + make_interval(secs => 86400 * floor(1 + 40 * pg_temp.chance(seed, 71))) END AS refunded_at,
        CASE WHEN pg_temp.chance(seed, 72) < 0.6 THEN 1 ELSE round(pg_temp.chance(seed, 73)::numeric, 2) * 0.8 + 0.1 END AS part
    FROM try
    WHERE attempted_at < :ends
)
SELECT row_number() OVER (ORDER BY attempted_at, id, attempt), tenant_id, id, md5('payment ' || seed)::uuid, attempt, method,
    (CASE WHEN NOT good THEN 'failed' WHEN refunded_at IS NOT NULL AND part = 1 THEN 'refunded'
        WHEN method = 'debit' AND attempted_at >= :ends - interval '2 days' THEN 'pending' ELSE 'succeeded' END)::payment_status,
    subtotal + tax, currency, CASE WHEN refunded_at IS NOT NULL THEN round((subtotal + tax) * part, 2) ELSE 0 END, refunded_at,
    CASE WHEN NOT good THEN pg_temp.one_of(CASE method
        WHEN 'card' THEN '{card_declined,card_declined,insufficient_funds,expired_card,processing_error}'::text[]
        WHEN 'debit' THEN '{insufficient_funds,insufficient_funds,mandate_revoked,account_closed,processing_error}'::text[]
        ELSE '{wrong_amount,wrong_amount,processing_error,account_closed,processing_error}'::text[] END, seed, 74) END,
    attempted_at,
    CASE WHEN good AND NOT (method = 'debit' AND attempted_at >= :ends - interval '2 days')
        THEN attempted_at::date + CASE method WHEN 'card' THEN 2 WHEN 'debit' THEN 3 WHEN 'wallet' THEN 1 ELSE 0 END END
FROM refunded
ORDER BY 1;

INSERT INTO subscriptions
SELECT s.id, s.tenant_id, s.user_id, c.plan_id, c.quantity,
    (CASE WHEN c.mrr = 0 THEN 'canceled' WHEN s.started_at >= :ends - interval '14 days' THEN 'trialing'
        WHEN late.subscription_id IS NOT NULL THEN 'past_due' ELSE 'active' END)::subscription_status,
    c.mrr, CASE WHEN pg_temp.chance(s.id, 57) < 0.6 THEN interval '14 days'
        WHEN pg_temp.chance(s.id, 57) < 0.7 THEN interval '1 month' END,
    s.started_at, CASE WHEN c.mrr = 0 THEN c.changed_at END
FROM subscriber s
JOIN (SELECT DISTINCT ON (subscription_id) * FROM subscription_changes ORDER BY subscription_id, changed_at DESC) c
    ON c.subscription_id = s.id
LEFT JOIN (SELECT DISTINCT subscription_id FROM invoices WHERE status = 'open' AND due_on < (:ends)::date) late
    ON late.subscription_id = s.id
ORDER BY s.id;

-- Tickets --------------------------------------------------------------------------------------------------------------------

-- Times are whole seconds. Answers take a share of what the policy allows, log-normal, larger for the urgent ones, on a weekend,
-- and in two bad weeks of February 2026.
CREATE TEMP TABLE talk ON COMMIT DROP AS
WITH asked AS (
    SELECT p.tenant_id, p.id AS user_id, p.created_at AS born_at, p.id * 64 + n AS seed,
        pg_temp.at_work(p.created_at + make_interval(secs => -86400 * 400 * ln(1 - pg_temp.chance(p.id * 64 + n, 80))), p.region,
            p.id * 64 + n, 81) AS asked_at,
        CASE WHEN pg_temp.chance(p.id * 64 + n, 83) < 0.25 THEN 'low' WHEN pg_temp.chance(p.id * 64 + n, 83) < 0.75 THEN 'normal'
            WHEN pg_temp.chance(p.id * 64 + n, 83) < 0.93 THEN 'high' ELSE 'urgent' END::ticket_priority AS priority
    FROM person p
    CROSS JOIN generate_series(1, least(40, floor(-2.7 * ln(1 - pg_temp.chance(p.id, 84))))::bigint) AS n
), weekdays AS (
    SELECT asked.*, greatest(asked_at, born_at) AS created_at, a.first_response, a.resolution,
        CASE WHEN extract(isodow FROM asked_at) >= 6 THEN 2.4 ELSE 1 END
            * CASE WHEN asked_at >= timestamptz '2026-02-09 00:00+00' AND asked_at < timestamptz '2026-02-21 00:00+00'
                THEN 2.2 ELSE 1 END
            * CASE priority WHEN 'low' THEN 0.22 WHEN 'normal' THEN 0.28 WHEN 'high' THEN 0.35 ELSE 0.42 END AS slow
    FROM asked JOIN sla_policies a USING (priority)
    WHERE asked_at < :ends AND (extract(isodow FROM asked_at) < 6 OR pg_temp.chance(seed, 85) < 0.3)
), answered AS (
    SELECT *, created_at + make_interval(secs => floor(120 + slow * extract(epoch FROM first_response)
        * exp(pg_temp.normal(seed, 86)))) AS answered_at
    FROM weekdays
)
SELECT row_number() OVER (ORDER BY created_at, seed) AS id, *,
    pg_temp.one_of(ARRAY['email', 'email', 'email', 'web', 'web', 'chat', 'chat', 'api'], seed, 89) AS channel,
    CASE WHEN pg_temp.chance(seed, 88) >= 0.007 THEN greatest(answered_at + interval '5 minutes',
        created_at + make_interval(secs => floor(slow * extract(epoch FROM resolution)
            * exp(1.05 * pg_temp.normal(seed, 90))))) END AS wished_end
FROM answered;

INSERT INTO tickets
SELECT id, tenant_id, user_id, md5('ticket ' || id)::uuid,
    'Ticket ' || id || ': ' || pg_temp.one_of(ARRAY['the export does not finish', 'an invoice looks wrong', 'I cannot sign in',
        'a chart shows no data', 'how do I invite a colleague', 'the import skips rows', 'please change our plan',
        'a webhook arrives twice'], seed, 91),
    channel, priority,
    (CASE WHEN wished_end < :ends - interval '7 days' THEN 'closed' WHEN wished_end < :ends THEN 'solved'
        WHEN answered_at >= :ends THEN 'new' WHEN pg_temp.chance(seed, 92) < 0.4 THEN 'pending' ELSE 'open' END)::ticket_status,
    pg_temp.one_of(ARRAY['{}', '{billing}', '{bug}', '{bug,export}', '{question}', '{question,billing}', '{bug,import,data}',
        '{login}', '{vip}', '{feature}']::text[], seed, 93)::text[],
    CASE WHEN answered_at < :ends THEN 1 + floor(24 * power(pg_temp.chance(seed, 94), 2)) END,
    resolution, coalesce(wished_end < :ends AND pg_temp.chance(seed, 95) < 0.05, false),
    CASE WHEN wished_end < :ends AND pg_temp.chance(seed, 96) < 0.34
        THEN greatest(1, 5 - floor(6 * power(pg_temp.chance(seed, 97), 3))) END,
    created_at, created_at + first_response, created_at + resolution, CASE WHEN wished_end < :ends THEN wished_end END
FROM talk
ORDER BY id;

-- The question, a robot's receipt, sometimes an internal note, the first answer, some back and forth, the last word.
INSERT INTO ticket_messages
WITH said AS (
    SELECT id, tenant_id, seed, 0 AS n, 'customer' AS author, false AS is_internal, created_at AS at FROM talk
  UNION ALL
    SELECT id, tenant_id, seed, 1, 'bot', false, created_at + interval '1 second' FROM talk WHERE channel IN ('email', 'web')
  UNION ALL
    SELECT id, tenant_id, seed, 2, 'agent', true, created_at + date_trunc('second', (answered_at - created_at) * 0.6) FROM talk
        WHERE pg_temp.chance(seed, 100) < 0.2
  UNION ALL
    SELECT id, tenant_id, seed, 3, 'agent', false, answered_at FROM talk
  UNION ALL
    SELECT id, tenant_id, seed, 3 + n, CASE WHEN n % 2 = 0 THEN 'agent' ELSE 'customer' END, false,
        date_trunc('second', answered_at + (coalesce(wished_end, :ends) - answered_at) * (n / 10.0))
    FROM talk CROSS JOIN generate_series(1, floor(8 * power(pg_temp.chance(seed, 101), 2))::integer) AS n
    WHERE answered_at < :ends
  UNION ALL
    SELECT id, tenant_id, seed, 20, 'agent', false, wished_end FROM talk WHERE wished_end > answered_at + interval '5 minutes'
)
SELECT row_number() OVER (ORDER BY at, id, n), tenant_id, id, author, is_internal,
    CASE author WHEN 'bot' THEN 'We have received your message and will answer as soon as we can.' ELSE
        pg_temp.one_of(ARRAY['Thank you for the details.', 'It happens each time I try.', 'I have attached a screenshot.',
            'Could you say which browser this is?', 'We found the cause and are working on it.',
            'This is fixed now, please try again.', 'Is there any news?', 'It works, thank you.'], seed * 32 + n, 102)
        || CASE WHEN pg_temp.chance(seed * 32 + n, 103) < 0.5 THEN ' '
            || repeat('More detail follows here. ', 1 + floor(6 * pg_temp.chance(seed * 32 + n, 104))::integer) ELSE '' END END,
    at
FROM said
WHERE at < :ends
ORDER BY 1;

-- Keys and indexes -------------------------------------------------------------------------------------------------------------

ALTER TABLE plans ADD PRIMARY KEY (id), ADD UNIQUE (code);
ALTER TABLE sla_policies ADD PRIMARY KEY (priority);
ALTER TABLE calendar ADD PRIMARY KEY (day);
ALTER TABLE tenants ADD PRIMARY KEY (id), ADD UNIQUE (slug);
ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (tenant_id, email);
ALTER TABLE subscriptions ADD PRIMARY KEY (id);
ALTER TABLE subscription_changes ADD PRIMARY KEY (id);
ALTER TABLE invoices ADD PRIMARY KEY (id), ADD UNIQUE (tenant_id, number);
ALTER TABLE payments ADD PRIMARY KEY (id), ADD UNIQUE (invoice_id, attempt);
ALTER TABLE events ADD PRIMARY KEY (id);
ALTER TABLE tickets ADD PRIMARY KEY (id), ADD UNIQUE (public_id);
ALTER TABLE ticket_messages ADD PRIMARY KEY (id);

CREATE INDEX ON users (tenant_id, created_at);
CREATE INDEX ON subscriptions (tenant_id, status);
CREATE INDEX ON subscriptions (user_id);
CREATE INDEX ON subscription_changes (tenant_id, changed_at);
CREATE INDEX ON subscription_changes (subscription_id, changed_at);
CREATE INDEX ON invoices (tenant_id, issued_at);
CREATE INDEX ON invoices (subscription_id);
CREATE INDEX ON invoices (due_on) WHERE status = 'open';
CREATE INDEX ON payments (tenant_id, attempted_at);
CREATE INDEX ON events (tenant_id, occurred_at);
CREATE INDEX ON events (user_id, occurred_at);
CREATE INDEX ON tickets (tenant_id, created_at);
CREATE INDEX ON tickets (tenant_id, status) WHERE solved_at IS NULL;
CREATE INDEX ON tickets USING gin (tags);
CREATE INDEX ON ticket_messages (ticket_id, created_at);
CREATE INDEX ON ticket_messages (tenant_id);

ALTER TABLE users ADD FOREIGN KEY (tenant_id) REFERENCES tenants;
ALTER TABLE subscriptions ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (user_id) REFERENCES users,
    ADD FOREIGN KEY (plan_id) REFERENCES plans;
ALTER TABLE subscription_changes ADD FOREIGN KEY (tenant_id) REFERENCES tenants,
    ADD FOREIGN KEY (subscription_id) REFERENCES subscriptions,
    ADD FOREIGN KEY (plan_id) REFERENCES plans;
ALTER TABLE invoices ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (subscription_id) REFERENCES subscriptions,
    ADD FOREIGN KEY (plan_id) REFERENCES plans, ADD CHECK (total = subtotal + tax);
ALTER TABLE payments ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (invoice_id) REFERENCES invoices,
    ADD CHECK (refunded_amount BETWEEN 0 AND amount);
ALTER TABLE events ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE tickets ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (user_id) REFERENCES users,
    ADD CHECK (satisfaction BETWEEN 1 AND 5);
ALTER TABLE ticket_messages ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (ticket_id) REFERENCES tickets;

COMMIT;

-- Outside the transaction: as an old, well-kept database would be, with statistics and clean pages.
VACUUM (ANALYZE) plans, sla_policies, calendar, tenants, users, subscriptions, subscription_changes, invoices, payments, events,
    tickets, ticket_messages;
