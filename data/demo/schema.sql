-- The demo's source database: a subscription platform whose tenants each sell their own product through it.
--
-- A tenant's users are its customers. Those who pay own a subscription, which is billed monthly; everybody leaves events
-- and, now and then, a support ticket. Tables come bare here and get their keys and indexes from generate.sql after the
-- load, because checking a foreign key row by row would take longer than loading the rows.
--
--   psql -v ON_ERROR_STOP=1 -v scale=1 -f data/demo/schema.sql -f data/demo/generate.sql
--
-- Nothing is dropped: loading over existing tables fails at the first CREATE.

\set ON_ERROR_STOP on
BEGIN;

CREATE TYPE tenant_tier AS ENUM ('startup', 'growth', 'enterprise');
CREATE TYPE user_role AS ENUM ('member', 'admin', 'owner');
CREATE TYPE subscription_status AS ENUM ('trialing', 'active', 'past_due', 'canceled');
CREATE TYPE invoice_status AS ENUM ('open', 'paid', 'void', 'uncollectible');
CREATE TYPE payment_status AS ENUM ('pending', 'succeeded', 'failed', 'refunded');
-- These two are declared in working order, which is not the order of their labels.
CREATE TYPE ticket_priority AS ENUM ('low', 'normal', 'high', 'urgent');
CREATE TYPE ticket_status AS ENUM ('new', 'open', 'pending', 'solved', 'closed');

-- Shared by all tenants ------------------------------------------------------------------------------------------------

CREATE TABLE plans (
    id              smallint NOT NULL,
    code            text NOT NULL,
    name            text NOT NULL,
    monthly_price   numeric(12,2) NOT NULL,     -- US dollars per seat
    seats_max       integer,                    -- null: no limit
    is_public       boolean NOT NULL
);

CREATE TABLE sla_policies (
    priority        ticket_priority NOT NULL,
    first_response  interval NOT NULL,
    resolution      interval NOT NULL
);

-- One row per day, so that a day or month without rows still shows up in a report.
CREATE TABLE calendar (
    day             date NOT NULL,
    month           date NOT NULL,              -- its first day
    week            date NOT NULL,              -- its Monday
    is_weekend      boolean NOT NULL
);

-- One tenant's rows each ------------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    id              bigint NOT NULL,
    external_id     uuid NOT NULL,
    slug            text NOT NULL,
    name            text NOT NULL,
    tier            tenant_tier NOT NULL,
    region          text NOT NULL,              -- us, eu, apac
    currency        char(3) NOT NULL,
    settings        jsonb NOT NULL,
    created_at      timestamptz NOT NULL
);

CREATE TABLE users (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    email           text NOT NULL,
    name            text,
    password_hash   text NOT NULL,              -- looks like a secret: not exported unless it is listed
    role            user_role NOT NULL,
    locale          text,
    country         char(2),
    is_active       boolean NOT NULL,
    marketing_opt_in boolean,                   -- null: never asked
    created_at      timestamptz NOT NULL,
    last_login_at   timestamp,                  -- without a zone, as an old column often is; UTC
    last_login_ip   inet
);

CREATE TABLE subscriptions (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    user_id         bigint NOT NULL,
    plan_id         smallint NOT NULL,          -- as of now; subscription_changes has the past
    quantity        integer NOT NULL,           -- seats
    status          subscription_status NOT NULL,
    mrr             numeric(12,2) NOT NULL,     -- US dollars a month; 0 once canceled
    trial           interval,
    started_at      timestamptz NOT NULL,
    canceled_at     timestamptz
);

-- The state that a subscription has from changed_at on. mrr = 0: canceled. The first row of a subscription is its start.
CREATE TABLE subscription_changes (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    plan_id         smallint NOT NULL,
    quantity        integer NOT NULL,
    mrr             numeric(12,2) NOT NULL,
    reason          text,
    changed_at      timestamptz NOT NULL
);

CREATE TABLE invoices (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    subscription_id bigint NOT NULL,
    plan_id         smallint NOT NULL,
    number          text NOT NULL,
    status          invoice_status NOT NULL,
    currency        char(3) NOT NULL,
    subtotal        numeric(12,2) NOT NULL,
    tax             numeric(12,2) NOT NULL,
    total           numeric(12,2) NOT NULL,
    usd_rate        numeric(10,6) NOT NULL,     -- US dollars for one unit of currency when the invoice was issued
    period_start    date NOT NULL,
    period_end      date NOT NULL,              -- the first day after the period
    issued_at       timestamptz NOT NULL,
    due_on          date NOT NULL
);

-- One row per attempt to collect an invoice.
CREATE TABLE payments (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    invoice_id      bigint NOT NULL,
    reference       uuid NOT NULL,
    attempt         smallint NOT NULL,
    method          text NOT NULL,              -- card, debit, transfer, wallet
    status          payment_status NOT NULL,
    amount          numeric(12,2) NOT NULL,
    currency        char(3) NOT NULL,
    refunded_amount numeric(12,2) NOT NULL,
    refunded_at     timestamptz,
    failure_code    text,
    attempted_at    timestamptz NOT NULL,
    settled_on      date
);

CREATE TABLE events (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    user_id         bigint NOT NULL,
    session_id      uuid NOT NULL,
    name            text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    properties      jsonb NOT NULL              -- platform; often duration_ms, ok, version; sometimes rows, format
);

CREATE TABLE tickets (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    user_id         bigint NOT NULL,
    public_id       uuid NOT NULL,
    subject         text NOT NULL,
    channel         text NOT NULL,              -- email, chat, web, api
    priority        ticket_priority NOT NULL,
    status          ticket_status NOT NULL,
    tags            text[] NOT NULL,
    agent_no        smallint,                   -- null: nobody has taken it yet
    sla             interval NOT NULL,          -- for the solution
    reopened        boolean NOT NULL,
    satisfaction    smallint,                   -- 1 to 5; most do not say
    created_at      timestamptz NOT NULL,
    first_response_due_at timestamptz NOT NULL,
    due_at          timestamptz NOT NULL,       -- created_at + sla
    solved_at       timestamptz
);

CREATE TABLE ticket_messages (
    id              bigint NOT NULL,
    tenant_id       bigint NOT NULL,
    ticket_id       bigint NOT NULL,
    author          text NOT NULL,              -- customer, agent, bot
    is_internal     boolean NOT NULL,
    body            text NOT NULL,
    created_at      timestamptz NOT NULL
);

COMMIT;
