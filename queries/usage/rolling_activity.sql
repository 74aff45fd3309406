-- Events and sessions by day with 7-day and 28-day averages, which iron out weekends and months.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 30s
-- @chart line x=day y=events_7_days
-- @sample from=2025-11-01 to=2026-02-01
WITH daily AS (
    SELECT CAST(date_trunc('day', e.occurred_at) AS date) AS day, count(*) AS events, count(DISTINCT e.session_id) AS sessions
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant)
        AND e.occurred_at >= CAST($from - INTERVAL '27 days' AS date) AND e.occurred_at < $to
    GROUP BY 1
), every_day AS (
    SELECT c.day, coalesce(d.events, 0) AS events, coalesce(d.sessions, 0) AS sessions
    FROM calendar c
    LEFT JOIN daily d ON d.day = c.day
    WHERE c.day >= CAST($from - INTERVAL '27 days' AS date) AND c.day < $to
), rolling AS (
    SELECT day, events, sessions,
        sum(events) OVER (ORDER BY day RANGE BETWEEN INTERVAL '6 days' PRECEDING AND CURRENT ROW) AS in_7_days,
        sum(events) OVER (ORDER BY day RANGE BETWEEN INTERVAL '27 days' PRECEDING AND CURRENT ROW) AS in_28_days
    FROM every_day
)
SELECT day, events, sessions, round(1.0 * in_7_days / 7, 1) AS events_7_days, round(1.0 * in_28_days / 28, 1) AS events_28_days
FROM rolling
WHERE day >= $from
ORDER BY day
