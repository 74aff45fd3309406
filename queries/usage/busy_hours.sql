-- When people work: events and users by weekday (1 = Monday) and hour, in UTC.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 30s
-- @chart heatmap x=hour y=weekday value=events
-- @sample from=2025-10-01 to=2026-01-01
SELECT CAST(extract(isodow FROM e.occurred_at) AS int4) AS weekday, CAST(extract(hour FROM e.occurred_at) AS int4) AS hour,
    count(*) AS events, count(DISTINCT e.user_id) AS users
FROM events e
WHERE ($tenant IS NULL OR e.tenant_id = $tenant) AND e.occurred_at >= $from AND e.occurred_at < $to
GROUP BY 1, 2
ORDER BY 1, 2
