-- The customers of each plan who paid most, in US dollars net of refunds, and their share of what the plan brought in.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param top int4 = 5
-- @param plan text = null
-- @timeout 10s
-- @chart table
-- @sample from=2025-01-01 to=2026-01-01 top=3 plan=starter
WITH paid AS (
    SELECT i.plan_id, s.user_id, count(*) AS payments, CAST(sum((p.amount - p.refunded_amount) * i.usd_rate) AS numeric(18,2))
        AS paid_usd
    FROM payments p
    JOIN invoices i ON i.id = p.invoice_id
    JOIN subscriptions s ON s.id = i.subscription_id
    WHERE ($tenant IS NULL OR p.tenant_id = $tenant) AND ($tenant IS NULL OR i.tenant_id = $tenant)
        AND ($tenant IS NULL OR s.tenant_id = $tenant)
        AND p.attempted_at >= $from AND p.attempted_at < $to AND p.status IN ('succeeded', 'refunded')
    GROUP BY i.plan_id, s.user_id
), ranked AS (
    SELECT plan_id, user_id, payments, paid_usd,
        row_number() OVER (PARTITION BY plan_id ORDER BY paid_usd DESC, user_id) AS place,
        sum(paid_usd) OVER (PARTITION BY plan_id) AS plan_usd
    FROM paid
)
SELECT pl.code AS plan, r.place, r.user_id, u.email, u.tenant_id, r.payments, r.paid_usd,
    round(100.0 * r.paid_usd / nullif(r.plan_usd, 0), 2) AS share_percent
FROM ranked r
JOIN plans pl ON pl.id = r.plan_id
JOIN users u ON u.id = r.user_id
WHERE ($tenant IS NULL OR u.tenant_id = $tenant) AND r.place <= $top AND ($plan IS NULL OR pl.code = $plan)
ORDER BY r.plan_id, r.place
