-- Minutes until a person first answers, by month and priority: median, 90th and 99th percentile. Robots and internal notes do
-- not count; answered is how many tickets have an answer at all.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param priority text = null
-- @timeout 10s
-- @chart line x=month y=p90_minutes series=priority
-- @sample from=2025-01-01 to=2026-01-01 priority=normal
WITH answer AS (
    SELECT m.ticket_id, min(m.created_at) AS answered_at
    FROM ticket_messages m
    WHERE ($tenant IS NULL OR m.tenant_id = $tenant) AND m.author = 'agent' AND NOT m.is_internal
    GROUP BY m.ticket_id
), waited AS (
    SELECT CAST(date_trunc('month', t.created_at) AS date) AS month, CAST(t.priority AS text) AS priority,
        (CAST(extract(epoch FROM a.answered_at) AS float8) - CAST(extract(epoch FROM t.created_at) AS float8)) / 60.0 AS minutes
    FROM tickets t
    LEFT JOIN answer a ON a.ticket_id = t.id
    WHERE ($tenant IS NULL OR t.tenant_id = $tenant) AND t.created_at >= $from AND t.created_at < $to
)
SELECT month, priority, count(*) AS tickets, count(minutes) AS answered,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY minutes) AS p50_minutes,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY minutes) AS p90_minutes,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY minutes) AS p99_minutes
FROM waited
WHERE $priority IS NULL OR priority = $priority
GROUP BY month, priority
ORDER BY month, CASE priority WHEN 'urgent' THEN 1 WHEN 'high' THEN 2 WHEN 'normal' THEN 3 ELSE 4 END
