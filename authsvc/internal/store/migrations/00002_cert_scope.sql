-- The log takes certificates. SQLite cannot change a CHECK, so the table is
-- made anew; what it holds moves along.

-- +goose Up
CREATE TABLE revocations_next (
    rev          BIGINT PRIMARY KEY,
    epoch        TEXT   NOT NULL,
    scope        TEXT   NOT NULL CHECK (scope IN ('token', 'session', 'user', 'everyone', 'key', 'cert')),
    target       TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL,
    reason       TEXT   NOT NULL,
    actor        TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    delivered_at BIGINT
);
INSERT INTO revocations_next (rev, epoch, scope, target, expires_at, reason, actor, at, delivered_at)
    SELECT rev, epoch, scope, target, expires_at, reason, actor, at, delivered_at FROM revocations;
DROP TABLE revocations;
ALTER TABLE revocations_next RENAME TO revocations;
CREATE INDEX revocations_target ON revocations (scope, target, rev);
CREATE INDEX revocations_expiry ON revocations (expires_at);
CREATE INDEX revocations_undelivered ON revocations (rev) WHERE delivered_at IS NULL;
