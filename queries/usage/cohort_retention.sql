-- Of the users who signed up in a month, how many still came n months later.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 30s
-- @chart heatmap x=months_later y=cohort value=retained_percent
-- @sample from=2025-01-01 to=2026-01-01
WITH cohort AS (
    SELECT u.id AS user_id, CAST(date_trunc('month', u.created_at) AS date) AS cohort
    FROM users u
    WHERE ($tenant IS NULL OR u.tenant_id = $tenant) AND u.created_at >= $from AND u.created_at < $to
), active AS (
    SELECT DISTINCT e.user_id, CAST(date_trunc('month', e.occurred_at) AS date) AS month
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant) AND e.occurred_at >= $from
), kept AS (
    SELECT c.cohort, count(*) AS active_users,
        CAST(12 * (extract(year FROM a.month) - extract(year FROM c.cohort))
            + extract(month FROM a.month) - extract(month FROM c.cohort) AS int4) AS months_later
    FROM cohort c
    JOIN active a ON a.user_id = c.user_id
    GROUP BY c.cohort, 3
), cohort_size AS (
    SELECT cohort, count(*) AS users
    FROM cohort
    GROUP BY cohort
)
SELECT k.cohort, k.months_later, z.users, k.active_users,
    round(100.0 * k.active_users / nullif(z.users, 0), 1) AS retained_percent
FROM kept k
JOIN cohort_size z ON z.cohort = k.cohort
ORDER BY k.cohort, k.months_later
