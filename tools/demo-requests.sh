# shellcheck shell=bash
# The requests that the demo invites to try. One list: what tools/demo.sh prints is what tools/demo-check.sh runs.
# Sourced, never run. Each of the two gives a function `request`, which is called once for each:
#
#   request TITLE PATTERN COMMAND
#
# PATTERN is an extended regular expression, blind to case, that a line of the command's output must match.

demo_requests() {
    local url=$1
    request "An answer: recurring revenue of two plans, in 2026" '"plan": *"pro"' \
        "curl -s '$url/v1/queries/revenue/mrr_by_plan?from=2026-01-01&plans=pro&plans=business'"
    request "The same again, its headers alone: Cache-Status says hit" '^cache-status:.*hit' \
        "curl -s -o /dev/null -D - '$url/v1/queries/revenue/mrr_by_plan?from=2026-01-01&plans=pro&plans=business'"
    request "A whole dashboard from one snapshot, a line for each query as it finishes" '"query": *"sla_breaches", *"status": *200' \
        "curl -sN -X POST '$url/v1/dashboards/support'"
    request "SQL of your own, with a parameter" '"mrr"' \
        "curl -s '$url/v1/sql' -H 'Content-Type: application/json' -d '{\"sql\": \"SELECT plan_id, count(*) AS subscriptions, sum(mrr) AS mrr FROM subscriptions WHERE status = \$status GROUP BY plan_id ORDER BY plan_id\", \"params\": {\"status\": \"active\"}}'"
    request "CSV" '^day,daily,weekly,monthly,' \
        "curl -s '$url/v1/queries/usage/active_users?from=2026-06-01&format=csv'"
    request "Where each query runs, and which certificate says that both sides answer alike" '"certified_by": *[0-9]' \
        "curl -s '$url/v1/rollout'"
    request "Send one query to PostgreSQL, at once" '"route": *"postgres"' \
        "curl -s -X PUT '$url/v1/rollout/usage/busy_hours' -H 'Content-Type: application/json' -d '{\"route\": \"postgres\", \"why\": \"to see it\"}'"
    request "It answers there, as Pilaster-Route says" '^pilaster-route: *postgres' \
        "curl -s -o /dev/null -D - '$url/v1/queries/usage/busy_hours'"
    request "And back" '"is_default": *true' \
        "curl -s -X DELETE '$url/v1/rollout/usage/busy_hours?why=seen'"
    request "What tenant 7 sees" '"priority": *"urgent"' \
        "curl -s -H 'Pilaster-Tenant: 7' '$url/v1/queries/support/sla_breaches'"
}
