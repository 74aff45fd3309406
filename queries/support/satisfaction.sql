-- Tickets by quarter and channel: how many were rated, the mean rating, how many are content (4 or 5), how many came back.
-- @param from date = 2025-07-01
-- @param to date = 2026-07-01
-- @param channel text = null
-- @timeout 10s
-- @chart line x=quarter y=content_percent series=channel
-- @sample from=2024-07-01 to=2026-01-01 channel=email
SELECT CAST(date_trunc('quarter', t.created_at) AS date) AS quarter, t.channel, count(*) AS tickets,
    count(t.satisfaction) AS rated,
    round(1.0 * sum(t.satisfaction) / nullif(count(t.satisfaction), 0), 2) AS mean_rating,
    round(100.0 * count(*) FILTER (WHERE t.satisfaction >= 4) / nullif(count(t.satisfaction), 0), 1) AS content_percent,
    round(100.0 * count(*) FILTER (WHERE t.reopened) / nullif(count(*), 0), 1) AS reopened_percent
FROM tickets t
WHERE ($tenant IS NULL OR t.tenant_id = $tenant) AND t.created_at >= $from AND t.created_at < $to
    AND ($channel IS NULL OR t.channel = $channel)
GROUP BY 1, t.channel
ORDER BY 1, t.channel
