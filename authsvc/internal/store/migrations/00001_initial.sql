-- One script for SQLite and PostgreSQL. Times are Unix milliseconds, but
-- revocations.expires_at: Unix seconds, as on the wire. SQLite knows no BYTEA
-- and stores a blob in such a column as it is.

-- +goose Up
CREATE TABLE log_head (
    id           BIGINT PRIMARY KEY CHECK (id = 1),
    epoch        TEXT   NOT NULL,
    rev          BIGINT NOT NULL,
    event_seq    BIGINT NOT NULL,
    everyone_rev BIGINT NOT NULL,
    keys_version BIGINT NOT NULL
);

CREATE TABLE revocations (
    rev          BIGINT PRIMARY KEY,
    epoch        TEXT   NOT NULL,
    scope        TEXT   NOT NULL CHECK (scope IN ('token', 'session', 'user', 'everyone', 'key')),
    target       TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    actor        TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    delivered_at BIGINT
);
CREATE INDEX revocations_target ON revocations (scope, target, rev);
CREATE INDEX revocations_expiry ON revocations (expires_at);
CREATE INDEX revocations_undelivered ON revocations (rev) WHERE delivered_at IS NULL;

-- A deleted account keeps its sub for ever; its names are NULL and free again.
CREATE TABLE accounts (
    sub           TEXT   PRIMARY KEY,
    username      TEXT   NOT NULL,
    username_key  TEXT   UNIQUE,
    email         TEXT   NOT NULL,
    email_key     TEXT   UNIQUE,
    password_hash TEXT   NOT NULL,
    roles         TEXT   NOT NULL,
    status        TEXT   NOT NULL CHECK (status IN ('active', 'disabled', 'deleted')),
    revoked_rev   BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX accounts_created ON accounts (created_at, sub);

CREATE TABLE sessions (
    sid          TEXT   PRIMARY KEY,
    sub          TEXT   NOT NULL REFERENCES accounts (sub),
    client_id    TEXT   NOT NULL,
    user_agent   TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    auth_time    BIGINT NOT NULL,
    rev          BIGINT NOT NULL,
    ended_at     BIGINT,
    end_reason   TEXT   NOT NULL
);
CREATE INDEX sessions_sub ON sessions (sub, created_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_last_used ON sessions (last_used_at);

CREATE TABLE refresh_tokens (
    hash             BYTEA  PRIMARY KEY,
    sid              TEXT   NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    created_at       BIGINT NOT NULL,
    rotated_at       BIGINT,
    successor_hash   BYTEA,
    sealed_successor BYTEA
);
CREATE INDEX refresh_tokens_sid ON refresh_tokens (sid);
CREATE INDEX refresh_tokens_sealed ON refresh_tokens (rotated_at) WHERE sealed_successor IS NOT NULL;

CREATE TABLE signing_keys (
    kid            TEXT   PRIMARY KEY,
    purpose        TEXT   NOT NULL CHECK (purpose IN ('token', 'feed')),
    alg            TEXT   NOT NULL,
    public         BYTEA  NOT NULL,
    sealed_private BYTEA,
    state          TEXT   NOT NULL CHECK (state IN ('published', 'active', 'retired', 'killed')),
    created_at     BIGINT NOT NULL,
    activate_at    BIGINT,
    retire_at      BIGINT,
    changed_at     BIGINT NOT NULL
);

CREATE TABLE outbox (
    seq        BIGINT PRIMARY KEY,
    subject    TEXT   NOT NULL,
    document   BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE throttle (
    bucket        TEXT   PRIMARY KEY,
    failures      BIGINT NOT NULL,
    blocked_until BIGINT,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX throttle_updated ON throttle (updated_at);

CREATE TABLE lease (
    name   TEXT   PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);

CREATE TABLE bootstrap (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    secret_hash BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    used_at     BIGINT
);

CREATE TABLE services (
    client_id   TEXT   PRIMARY KEY,
    name        TEXT   NOT NULL,
    secret_hash BYTEA  NOT NULL,
    audiences   TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
