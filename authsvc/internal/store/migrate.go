package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of PostgreSQL's advisory lock around a migration; any
// number that nothing else in the database uses.
const migrationLock = 0x61757468627573 // "authbus"

// migrate brings the schema to the newest version that this program knows, and
// creates the log's head.
func (p pools) migrate(ctx context.Context) error {
	if p.dialect.name == sqliteDialect.name {
		return p.migrateSQLite(ctx)
	}
	conn, err := p.read.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	defer conn.Close() //nolint:errcheck // a read connection; nothing depends on how it ends
	if err := refuseLossyPostgres(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("locking the migration: %w", err)
	}
	err = p.migrateOnce(ctx)
	_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	return errors.Join(err, unlockErr)
}

// refuseLossyPostgres refuses a server that acknowledges a commit before it is
// on disk. A revocation could be acknowledged and then lost.
func refuseLossyPostgres(ctx context.Context, conn *sql.Conn) error {
	var commit, fsync string
	row := conn.QueryRowContext(ctx, "SELECT current_setting('synchronous_commit'), current_setting('fsync')")
	if err := row.Scan(&commit, &fsync); err != nil {
		return fmt.Errorf("reading the database's settings: %w", err)
	}
	if commit == "off" {
		return errors.New("PostgreSQL has synchronous_commit=off: an acknowledged revocation could be lost; set it to on")
	}
	if fsync == "off" {
		return errors.New("PostgreSQL has fsync=off: an acknowledged revocation could be lost; set it to on")
	}
	return nil
}

// migrateSQLite tries again where another process was migrating the same file:
// the loser of that race finds the tables there and fails once.
func (p pools) migrateSQLite(ctx context.Context) error {
	const attempts = 4
	var err error
	for range attempts {
		err = p.migrateOnce(ctx)
		if err == nil || errors.As(err, new(*SchemaError)) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (p pools) migrateOnce(ctx context.Context) error {
	scripts, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("finding migrations: %w", err)
	}
	provider, err := goose.NewProvider(p.dialect.goose, p.write, scripts, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("preparing migrations: %w", err)
	}
	found, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	if found > known {
		return &SchemaError{Found: found, Known: known}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	_, err = p.write.ExecContext(ctx, `INSERT INTO log_head (id, epoch, rev, event_seq, everyone_rev, keys_version)
		VALUES (1, $1, 0, 0, 0, 0) ON CONFLICT (id) DO NOTHING`, newEpoch())
	if err != nil {
		return fmt.Errorf("creating the log's head: %w", err)
	}
	return nil
}

// newEpoch names a log: "e_" and 128 random bits.
func newEpoch() string { return "e_" + strings.ToLower(rand.Text()) }
