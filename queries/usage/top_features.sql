-- The events seen most: users, share of all, how long they take (median and 95th percentile) and how often they fail.
-- Ties go to the event that was seen first.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param top int4 = 20
-- @param platform text = null
-- @timeout 30s
-- @chart bar x=name y=events
-- @sample from=2026-01-01 to=2026-04-01 top=10 platform=web
WITH seen AS (
    SELECT e.id, e.name, e.user_id, CAST((e.properties->>'duration_ms') AS float8) AS duration_ms, (e.properties->>'ok') AS ok
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant) AND e.occurred_at >= $from AND e.occurred_at < $to
        AND ($platform IS NULL OR (e.properties->>'platform') = $platform)
), feature AS (
    SELECT name, count(*) AS events, count(DISTINCT user_id) AS users, min(id) AS first_id,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS median_ms,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
        round(100.0 * count(*) FILTER (WHERE ok = 'false') / nullif(count(ok), 0), 2) AS failed_percent
    FROM seen
    GROUP BY name
), ranked AS (
    SELECT feature.*, row_number() OVER (ORDER BY events DESC, first_id) AS place,
        round(100.0 * events / nullif(sum(events) OVER (), 0), 2) AS share_percent
    FROM feature
)
SELECT place, name, events, users, share_percent, median_ms, p95_ms, failed_percent
FROM ranked
WHERE place <= $top
ORDER BY place
