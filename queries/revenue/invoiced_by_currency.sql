-- Invoiced and still unpaid amounts in US dollars by month and currency. An empty currency is the month's total, an empty
-- month the total of all.
-- @param from date = 2026-01-01
-- @param to date = 2026-07-01
-- @param currencies text[] = null
-- @timeout 10s
-- @chart bar x=month y=invoiced_usd series=currency
-- @sample from=2025-07-01 to=2026-01-01 currencies=EUR currencies=USD currencies=GBP
SELECT month, currency, count(*) AS invoices,
    CAST(sum(total * usd_rate) AS numeric(18,2)) AS invoiced_usd,
    CAST(sum(tax * usd_rate) AS numeric(18,2)) AS tax_usd,
    CAST(coalesce(sum(total * usd_rate) FILTER (WHERE status IN ('open', 'uncollectible')), 0) AS numeric(18,2)) AS unpaid_usd
FROM (
    SELECT CAST(date_trunc('month', i.issued_at) AS date) AS month, CAST(i.currency AS text) AS currency,
        CAST(i.status AS text) AS status,
        i.total, i.tax, i.usd_rate
    FROM invoices i
    WHERE ($tenant IS NULL OR i.tenant_id = $tenant) AND i.issued_at >= $from AND i.issued_at < $to AND i.status <> 'void'
) AS invoice
WHERE $currencies IS NULL OR currency = ANY($currencies)
GROUP BY ROLLUP (month, currency)
ORDER BY month NULLS LAST, currency NULLS LAST
