-- Attempts to collect by month and method: how many fail, how many of those invoices are paid by a later attempt, and what
-- stays lost.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param method text = null
-- @timeout 10s
-- @chart line x=month y=failed_percent series=method
-- @sample from=2025-01-01 to=2025-07-01 method=card
WITH attempt AS (
    SELECT CAST(date_trunc('month', p.attempted_at) AS date) AS month, p.method, p.attempted_at, p.invoice_id, p.attempt,
        p.amount * i.usd_rate AS usd, CAST(p.status AS text) AS status,
        max(CASE WHEN p.status <> 'failed' THEN p.attempt ELSE 0 END) OVER (PARTITION BY p.invoice_id) AS paid_by_attempt,
        max(p.attempt) OVER (PARTITION BY p.invoice_id) AS last_attempt
    FROM payments p
    JOIN invoices i ON i.id = p.invoice_id
    WHERE ($tenant IS NULL OR p.tenant_id = $tenant) AND ($tenant IS NULL OR i.tenant_id = $tenant)
)
SELECT month, method, count(*) AS attempts,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    round(100.0 * count(*) FILTER (WHERE status = 'failed') / nullif(count(*), 0), 2) AS failed_percent,
    count(*) FILTER (WHERE status = 'failed' AND paid_by_attempt > attempt) AS paid_later,
    CAST(coalesce(sum(usd) FILTER (WHERE status = 'failed' AND paid_by_attempt = 0 AND attempt = last_attempt), 0)
        AS numeric(18,2)) AS lost_usd
FROM attempt
WHERE attempted_at >= $from AND attempted_at < $to AND ($method IS NULL OR method = $method)
GROUP BY month, method
ORDER BY month, method
