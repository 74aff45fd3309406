-- Monthly recurring revenue, paying subscriptions and seats at the end of each month, by plan.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param plans text[] = null
-- @timeout 10s
-- @chart line x=month y=mrr series=plan
-- @sample from=2025-01-01 to=2026-01-01 plans=starter plans=pro
WITH state AS (
    SELECT c.plan_id, c.quantity, c.mrr, c.changed_at,
        lead(c.changed_at) OVER (PARTITION BY c.subscription_id ORDER BY c.changed_at, c.id) AS changed_again_at
    FROM subscription_changes c
    WHERE ($tenant IS NULL OR c.tenant_id = $tenant)
), months AS (
    SELECT DISTINCT month, CAST(month + INTERVAL '1 month' AS date) AS month_after
    FROM calendar
    WHERE month >= $from AND month < $to
)
SELECT m.month, p.code AS plan, count(*) AS subscriptions, sum(s.quantity) AS seats, sum(s.mrr) AS mrr
FROM months m
JOIN state s ON s.changed_at < m.month_after AND (s.changed_again_at IS NULL OR s.changed_again_at >= m.month_after)
JOIN plans p ON p.id = s.plan_id
WHERE s.mrr > 0 AND ($plans IS NULL OR p.code = ANY($plans))
GROUP BY m.month, p.id, p.code
ORDER BY m.month, p.id
