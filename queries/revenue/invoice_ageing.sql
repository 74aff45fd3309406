-- Receivables by age: what was issued by a day, not void, and not paid by the end of that day, by how late it is. Written-off
-- invoices count.
-- @param as_of date = 2026-06-30
-- @timeout 10s
-- @chart bar x=bucket y=amount_usd
-- @sample as_of=2026-03-31
WITH paid AS (
    SELECT p.invoice_id, min(p.attempted_at) AS paid_at
    FROM payments p
    WHERE ($tenant IS NULL OR p.tenant_id = $tenant) AND p.status <> 'failed'
    GROUP BY p.invoice_id
), receivable AS (
    SELECT i.subscription_id, i.total * i.usd_rate AS usd,
        CASE WHEN i.due_on >= $as_of THEN 0
            WHEN i.due_on >= CAST($as_of - INTERVAL '30 days' AS date) THEN 1
            WHEN i.due_on >= CAST($as_of - INTERVAL '60 days' AS date) THEN 2
            WHEN i.due_on >= CAST($as_of - INTERVAL '90 days' AS date) THEN 3
            ELSE 4 END AS bucket_no
    FROM invoices i
    LEFT JOIN paid ON paid.invoice_id = i.id
    WHERE ($tenant IS NULL OR i.tenant_id = $tenant) AND i.status <> 'void'
        AND i.issued_at < CAST($as_of + INTERVAL '1 day' AS date)
        AND (paid.paid_at IS NULL OR paid.paid_at >= CAST($as_of + INTERVAL '1 day' AS date))
), bucket AS (
    SELECT b.bucket_no, b.bucket, count(r.subscription_id) AS invoices, count(DISTINCT r.subscription_id) AS subscriptions,
        CAST(coalesce(sum(r.usd), 0) AS numeric(18,2)) AS amount_usd
    FROM (VALUES (0, 'not yet due'), (1, '1 to 30 days'), (2, '31 to 60 days'), (3, '61 to 90 days'),
        (4, 'over 90 days')) AS b(bucket_no, bucket)
    LEFT JOIN receivable r ON r.bucket_no = b.bucket_no
    GROUP BY b.bucket_no, b.bucket
)
SELECT CAST(bucket_no AS int4) AS bucket_no, bucket, invoices, subscriptions, amount_usd,
    round(100.0 * amount_usd / nullif(sum(amount_usd) OVER (), 0), 1) AS share_percent
FROM bucket
ORDER BY bucket_no
