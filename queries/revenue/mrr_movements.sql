-- What moved monthly recurring revenue: new, expansion, contraction, churn and reactivation, in US dollars.
-- start_mrr + new + expansion + reactivation - contraction - churn = end_mrr, and end_mrr is the next month's start_mrr.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @timeout 10s
-- @chart bar x=month y=net_new
-- @sample from=2024-01-01 to=2025-01-01
WITH change AS (
    SELECT c.changed_at, c.mrr, lag(c.mrr) OVER (PARTITION BY c.subscription_id ORDER BY c.changed_at, c.id) AS mrr_before
    FROM subscription_changes c
    WHERE ($tenant IS NULL OR c.tenant_id = $tenant)
), movement AS (
    SELECT CAST(date_trunc('month', changed_at) AS date) AS month,
        sum(mrr) FILTER (WHERE mrr_before IS NULL) AS new,
        sum(mrr - mrr_before) FILTER (WHERE mrr_before > 0 AND mrr > mrr_before) AS expansion,
        sum(mrr_before - mrr) FILTER (WHERE mrr > 0 AND mrr < mrr_before) AS contraction,
        sum(mrr_before) FILTER (WHERE mrr_before > 0 AND mrr = 0) AS churn,
        sum(mrr) FILTER (WHERE mrr_before = 0) AS reactivation,
        sum(mrr - coalesce(mrr_before, 0)) AS net
    FROM change
    GROUP BY 1
), every_month AS (
    SELECT m.month, CAST(coalesce(v.new, 0) AS numeric(18,2)) AS new,
        CAST(coalesce(v.expansion, 0) AS numeric(18,2)) AS expansion,
        CAST(coalesce(v.contraction, 0) AS numeric(18,2)) AS contraction, CAST(coalesce(v.churn, 0) AS numeric(18,2)) AS churn,
        CAST(coalesce(v.reactivation, 0) AS numeric(18,2)) AS reactivation, CAST(coalesce(v.net, 0) AS numeric(18,2)) AS net_new
    FROM (SELECT DISTINCT month FROM calendar) m
    LEFT JOIN movement v ON v.month = m.month
), running AS (
    SELECT every_month.*, CAST(sum(net_new) OVER (ORDER BY month) AS numeric(18,2)) AS end_mrr
    FROM every_month
)
SELECT month, end_mrr - net_new AS start_mrr, new, expansion, contraction, churn, reactivation, net_new, end_mrr
FROM running
WHERE month >= $from AND month < $to
ORDER BY month
