-- How far new users get: sign-up, onboarding, a first project and an invitation within 14 days each, a paid plan within 45.
-- A step counts only for those who took the one before it.
-- @param from date = 2025-07-01
-- @param to date = 2026-06-01
-- @param country text = null
-- @timeout 30s
-- @chart bar x=step y=users
-- @sample from=2025-06-01 to=2026-01-01 country=DE
WITH joined AS (
    SELECT u.id AS user_id, u.created_at
    FROM users u
    WHERE ($tenant IS NULL OR u.tenant_id = $tenant) AND u.created_at >= $from AND u.created_at < $to
        AND ($country IS NULL OR CAST(u.country AS text) = $country)
), first_time AS (
    SELECT e.user_id,
        min(e.occurred_at) FILTER (WHERE e.name = 'onboarding.started') AS onboarded_at,
        min(e.occurred_at) FILTER (WHERE e.name = 'project.created') AS project_at,
        min(e.occurred_at) FILTER (WHERE e.name = 'member.invited') AS invited_at
    FROM events e
    WHERE ($tenant IS NULL OR e.tenant_id = $tenant) AND e.occurred_at >= $from
        AND e.name IN ('onboarding.started', 'project.created', 'member.invited')
    GROUP BY e.user_id
), first_paid AS (
    SELECT s.user_id, min(s.started_at) AS paid_at
    FROM subscriptions s
    WHERE ($tenant IS NULL OR s.tenant_id = $tenant)
    GROUP BY s.user_id
), reached AS (
    SELECT 1 + CASE WHEN f.onboarded_at < j.created_at + INTERVAL '14 days' THEN
            1 + CASE WHEN f.project_at < j.created_at + INTERVAL '14 days' THEN
                1 + CASE WHEN f.invited_at < j.created_at + INTERVAL '14 days' THEN
                    1 + CASE WHEN p.paid_at < j.created_at + INTERVAL '45 days' THEN 1 ELSE 0 END
                ELSE 0 END
            ELSE 0 END
        ELSE 0 END AS last_step
    FROM joined j
    LEFT JOIN first_time f ON f.user_id = j.user_id
    LEFT JOIN first_paid p ON p.user_id = j.user_id
), funnel AS (
    SELECT s.step_no, s.step, count(r.last_step) AS users
    FROM (VALUES (1, 'signed up'), (2, 'started onboarding'), (3, 'created a project'), (4, 'invited a colleague'), (5, 'pays'))
        AS s(step_no, step)
    LEFT JOIN reached r ON r.last_step >= s.step_no
    GROUP BY s.step_no, s.step
)
SELECT CAST(step_no AS int4) AS step_no, step, users,
    round(100.0 * users / nullif(first_value(users) OVER (ORDER BY step_no), 0), 1) AS percent_of_first,
    round(100.0 * users / nullif(lag(users) OVER (ORDER BY step_no), 0), 1) AS percent_of_previous
FROM funnel
ORDER BY step_no
