-- Tickets opened and solved each day, and how many were waiting at its end.
-- @param from date = 2026-04-01
-- @param to date = 2026-07-01
-- @param priority text = null
-- @timeout 10s
-- @chart line x=day y=backlog
-- @sample from=2026-01-01 to=2026-04-01 priority=high
WITH ticket AS (
    SELECT CAST(date_trunc('day', t.created_at) AS date) AS opened_on, CAST(date_trunc('day', t.solved_at) AS date) AS solved_on
    FROM tickets t
    WHERE ($tenant IS NULL OR t.tenant_id = $tenant) AND ($priority IS NULL OR CAST(t.priority AS text) = $priority)
), change AS (
    SELECT opened_on AS day, 1 AS opened, 0 AS solved FROM ticket
    UNION ALL
    SELECT solved_on, 0, 1 FROM ticket WHERE solved_on IS NOT NULL
), running AS (
    SELECT c.day, coalesce(sum(h.opened), 0) AS opened, coalesce(sum(h.solved), 0) AS solved,
        CAST(sum(coalesce(sum(h.opened - h.solved), 0)) OVER (ORDER BY c.day) AS int8) AS backlog
    FROM calendar c
    LEFT JOIN change h ON h.day = c.day
    WHERE c.day < $to
    GROUP BY c.day
)
SELECT day, opened, solved, backlog
FROM running
WHERE day >= $from
ORDER BY day
