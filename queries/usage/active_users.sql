-- Users active on a day, in the 7 and in the 28 days up to it, and how sticky the product is: daily over 28-day users.
-- @param from date = 2026-04-01
-- @param to date = 2026-07-01
-- @timeout 30s
-- @chart line x=day y=daily
-- @sample from=2026-03-01 to=2026-04-01
WITH user_day AS (
    SELECT DISTINCT e.user_id, CAST(date_trunc('day', e.occurred_at) AS date) AS active_on
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant)
        AND e.occurred_at >= CAST($from - INTERVAL '27 days' AS date) AND e.occurred_at < $to
), windowed AS (
    SELECT c.day, count(DISTINCT CASE WHEN u.active_on = c.day THEN u.user_id END) AS daily,
        count(DISTINCT CASE WHEN u.active_on >= CAST(c.day - INTERVAL '6 days' AS date) THEN u.user_id END) AS weekly,
        count(DISTINCT u.user_id) AS monthly
    FROM calendar c
    LEFT JOIN user_day u ON u.active_on <= c.day AND u.active_on >= CAST(c.day - INTERVAL '27 days' AS date)
    WHERE c.day >= $from AND c.day < $to
    GROUP BY c.day
)
SELECT day, daily, weekly, monthly, round(100.0 * daily / nullif(monthly, 0), 1) AS stickiness_percent
FROM windowed
ORDER BY day
