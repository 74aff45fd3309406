-- Money collected each month, net of refunds, in US dollars, against the same month a year earlier.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 10s
-- @chart line x=month y=collected_usd
-- @sample from=2025-01-01 to=2026-01-01
WITH collected AS (
    SELECT CAST(date_trunc('month', p.attempted_at) AS date) AS month, count(*) AS payments,
        CAST(sum((p.amount - p.refunded_amount) * i.usd_rate) AS numeric(18,2)) AS usd
    FROM payments p
    JOIN invoices i ON i.id = p.invoice_id
    WHERE ($tenant IS NULL OR p.tenant_id = $tenant) AND ($tenant IS NULL OR i.tenant_id = $tenant)
        AND p.status IN ('succeeded', 'refunded')
    GROUP BY 1
), months AS (
    SELECT DISTINCT month, CAST(month - INTERVAL '1 year' AS date) AS month_a_year_before
    FROM calendar
    WHERE month >= $from AND month < $to
)
SELECT m.month, coalesce(c.payments, 0) AS payments, coalesce(c.usd, 0.00) AS collected_usd, b.usd AS collected_usd_year_before,
    round(100.0 * (c.usd - b.usd) / nullif(b.usd, 0), 1) AS change_percent
FROM months m
LEFT JOIN collected c ON c.month = m.month
LEFT JOIN collected b ON b.month = m.month_a_year_before
ORDER BY m.month
