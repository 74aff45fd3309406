-- Events, users and failures by month and platform. An empty platform is the month's total, in which a user of two platforms
-- counts once.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param platforms text[] = null
-- @timeout 30s
-- @chart line x=month y=users series=platform
-- @sample from=2026-01-01 to=2026-07-01 platforms=ios platforms=android
SELECT month, platform, count(*) AS events, count(DISTINCT user_id) AS users,
    round(100.0 * count(*) FILTER (WHERE ok = 'false') / nullif(count(ok), 0), 2) AS failed_percent
FROM (
    SELECT CAST(date_trunc('month', e.occurred_at) AS date) AS month, e.user_id, (e.properties->>'platform') AS platform,
        (e.properties->>'ok') AS ok
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant) AND e.occurred_at >= $from AND e.occurred_at < $to
) AS seen
WHERE $platforms IS NULL OR platform = ANY($platforms)
GROUP BY GROUPING SETS ((month, platform), (month))
ORDER BY month, platform NULLS LAST
