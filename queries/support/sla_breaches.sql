-- Tickets whose first answer or solution came later than promised, by priority. The last row is all priorities. A ticket that
-- still waits counts as late once its time has passed at the end of the period.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 10s
-- @chart bar x=priority y=solution_late_percent
-- @sample from=2025-01-01 to=2026-01-01
WITH answer AS (
    SELECT m.ticket_id, min(m.created_at) AS answered_at
    FROM ticket_messages m
    WHERE ($tenant IS NULL OR m.tenant_id = $tenant) AND m.author = 'agent' AND NOT m.is_internal
    GROUP BY m.ticket_id
), kept AS (
    SELECT CAST(t.priority AS text) AS priority,
        CASE t.priority WHEN 'urgent' THEN 1 WHEN 'high' THEN 2 WHEN 'normal' THEN 3 ELSE 4 END AS priority_no,
        t.first_response_due_at < coalesce(a.answered_at, CAST($to AS timestamptz)) AS answer_late,
        t.due_at < coalesce(t.solved_at, CAST($to AS timestamptz)) AS solution_late
    FROM tickets t
    LEFT JOIN answer a ON a.ticket_id = t.id
    WHERE ($tenant IS NULL OR t.tenant_id = $tenant) AND t.created_at >= $from AND t.created_at < $to
)
SELECT coalesce(priority, 'all') AS priority, count(*) AS tickets,
    count(*) FILTER (WHERE answer_late) AS answer_late,
    round(100.0 * count(*) FILTER (WHERE answer_late) / nullif(count(*), 0), 1) AS answer_late_percent,
    count(*) FILTER (WHERE solution_late) AS solution_late,
    round(100.0 * count(*) FILTER (WHERE solution_late) / nullif(count(*), 0), 1) AS solution_late_percent
FROM kept
GROUP BY GROUPING SETS ((priority_no, priority), ())
ORDER BY priority_no NULLS LAST
