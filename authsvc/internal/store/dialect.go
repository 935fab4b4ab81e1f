package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// batchTimeout bounds one write transaction on PostgreSQL, where a network is in
// between; callers then get an error instead of waiting for ever.
const batchTimeout = 30 * time.Second

// dialect is where the two databases differ.
type dialect struct {
	name   string
	goose  goose.Dialect
	locker string // appended to a SELECT to lock its rows until the commit
	begin  string // begins a write transaction
	read   sql.TxOptions
	// timeout bounds a write transaction; 0 is no bound.
	timeout time.Duration
}

var (
	// SQLite's write transactions lock the whole database at once, and a local
	// file does not hang.
	sqliteDialect = dialect{
		name: "sqlite", goose: goose.DialectSQLite3, begin: "BEGIN IMMEDIATE", read: sql.TxOptions{ReadOnly: true},
	}

	postgresDialect = dialect{
		name: "postgres", goose: goose.DialectPostgres, locker: " FOR UPDATE", timeout: batchTimeout,
		// After waiting for the head's lock, a statement must see what the
		// transaction before has committed: not so under repeatable read.
		begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
		read:  sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	}
)

// batchContext is the context of one write transaction.
func (d dialect) batchContext() (context.Context, context.CancelFunc) {
	if d.timeout == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), d.timeout)
}

// pools are the connections to one database: one that writes, several that read.
type pools struct {
	dialect     dialect
	write, read *sql.DB
}

func (p pools) close() error { return errors.Join(p.read.Close(), p.write.Close()) }

func openPools(address string) (pools, error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(rest, nil)
	case "file":
		return openSQLiteURI(rest)
	case "postgres", "postgresql":
		return openPostgres(address)
	}
	return pools{}, fmt.Errorf("unknown scheme %q, want sqlite:PATH, file:PATH or postgres://…", scheme)
}

// openSQLiteURI takes file:PATH?query, whose query is handed to the driver.
func openSQLiteURI(rest string) (pools, error) {
	path, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return pools{}, fmt.Errorf("%w", err)
	}
	path, err = url.PathUnescape(strings.TrimPrefix(path, "//"))
	if err != nil {
		return pools{}, fmt.Errorf("%w", err)
	}
	return openSQLite(path, values)
}

func openSQLite(path string, extra url.Values) (pools, error) {
	if path == "" || path == ":memory:" || extra.Get("mode") == "memory" {
		return pools{}, errors.New("SQLite needs a file: a revocation must survive the process")
	}
	// SQLite would create it readable by all; it holds password hashes and sealed
	// keys. The files that SQLite puts beside it take over its mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own path
	if err != nil {
		return pools{}, fmt.Errorf("opening SQLite database: %w", err)
	}
	if err := file.Close(); err != nil {
		return pools{}, fmt.Errorf("opening SQLite database: %w", err)
	}
	write, err := sqliteConnector(path, extra, "journal_mode(WAL)", "synchronous(FULL)")
	if err != nil {
		return pools{}, err
	}
	read, err := sqliteConnector(path, extra, "query_only(1)")
	if err != nil {
		return pools{}, err
	}
	return newPools(sqliteDialect, write, read, max(4, runtime.GOMAXPROCS(0))), nil
}

func sqliteConnector(path string, extra url.Values, pragmas ...string) (driver.Connector, error) {
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)", "foreign_keys(1)", "temp_store(MEMORY)"}}
	maps.Copy(query, extra)
	query["_pragma"] = append(query["_pragma"], pragmas...)
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening SQLite database: %w", err)
	}
	return connector, nil
}

func openPostgres(address string) (pools, error) {
	read, err := pgx.ParseConfig(address)
	if err != nil {
		return pools{}, fmt.Errorf("%w", err)
	}
	write := read.Copy()
	// A replica that is suspended in the middle of a transaction holds the lock
	// that all writers need: the server ends it.
	if _, ok := write.RuntimeParams["idle_in_transaction_session_timeout"]; !ok {
		write.RuntimeParams["idle_in_transaction_session_timeout"] = "10000"
	}
	return newPools(postgresDialect, stdlib.GetConnector(*write), stdlib.GetConnector(*read), 16), nil
}

func newPools(d dialect, write, read driver.Connector, readers int) pools {
	p := pools{dialect: d, write: sql.OpenDB(write), read: sql.OpenDB(read)}
	p.write.SetMaxOpenConns(1)
	p.read.SetMaxOpenConns(readers)
	p.read.SetMaxIdleConns(readers)
	return p
}
