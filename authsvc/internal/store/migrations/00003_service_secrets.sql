-- A service's secret is replaced without an outage: the one before it works
-- for a while longer.

-- +goose Up
ALTER TABLE services ADD COLUMN previous_hash BYTEA;
ALTER TABLE services ADD COLUMN previous_until BIGINT;
