package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// requireAll is the environment variable that turns a skip for something missing
// into a failure, when it is "all".
const requireAll = "AUTHBUS_TEST_REQUIRE"

// errNotInstalled is returned where PostgreSQL's server programs are missing.
var errNotInstalled = errors.New("PostgreSQL's server programs (initdb, postgres) are not installed")

// sharedServer starts the one server of this test binary, at first need.
var sharedServer = sync.OnceValues(startServer)

// Postgres returns the URL of a fresh database, dropped when the test ends. The
// test is skipped where PostgreSQL is not installed, unless AUTHBUS_TEST_REQUIRE
// is "all".
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := sharedServer()
	if errors.Is(err, errNotInstalled) && os.Getenv(requireAll) != "all" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := server.admin(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("creating a database: %v", err)
	}
	t.Cleanup(func() {
		if err := server.admin(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dropping a database: %v", err)
		}
	})
	return server.url(name)
}

// postgresServer is a running server that listens on a unix socket alone.
type postgresServer struct {
	dir  string
	user string
	// lifeline is the standard input of the shell that guards the server: when it
	// closes, at the latest with this process, the shell ends the server.
	lifeline io.Closer
}

// guard starts postgres, waits for the end of its own standard input, stops
// postgres by its id and removes its directory. $1 is the directory, $2 postgres.
const guard = `
"$2" -D "$1/data" -k "$1" -c listen_addresses= >"$1/log" 2>&1 </dev/null &
server=$!
read -r _
kill -INT $server
wait $server
rm -rf "$1"
`

func startServer() (*postgresServer, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	owner, credential, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := serverDir(credential)
	if err != nil {
		return nil, err
	}
	attributes := &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", owner, //nolint:gosec // paths found above
		"-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attributes
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	shell := exec.Command("/bin/sh", "-c", guard, "guard", dir, filepath.Join(bin, "postgres")) //nolint:gosec // paths found above
	shell.Dir, shell.SysProcAttr = dir, attributes
	lifeline, err := shell.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := shell.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	server := &postgresServer{dir: dir, user: owner, lifeline: lifeline}
	return server, server.waitReady()
}

// findPostgres returns the directory of the newest server programs.
func findPostgres() (string, error) {
	candidates, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		candidates = append([]string{filepath.Dir(path)}, candidates...)
	}
	for _, candidate := range slices.Backward(candidates) {
		_, initdb := os.Stat(filepath.Join(candidate, "initdb"))
		_, server := os.Stat(filepath.Join(candidate, "postgres"))
		if initdb == nil && server == nil {
			return candidate, nil
		}
	}
	return "", errNotInstalled
}

// serverUser is who runs the server: it refuses to run as root.
func serverUser() (string, *syscall.Credential, error) {
	if os.Getuid() != 0 {
		return "postgres", nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return "", nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return "", nil, fmt.Errorf("user %s: %w", name, err)
		}
		return "postgres", &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return "", nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}

// serverDir makes the server's directory. Its path is short, because the socket's
// path may have no more than 107 bytes.
func serverDir(credential *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("/tmp", "authbus-pg-")
	if err != nil {
		return "", err
	}
	if credential == nil {
		return dir, nil
	}
	if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func (s *postgresServer) url(database string) string {
	query := url.Values{"host": {s.dir}, "user": {s.user}}
	return "postgres:///" + database + "?" + query.Encode()
}

func (s *postgresServer) admin(ctx context.Context, statement string) error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// waitReady waits until the server accepts connections.
func (s *postgresServer) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.admin(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return errors.Join(fmt.Errorf("the server does not answer: %w: %s", err, log), s.lifeline.Close())
		}
	}
}
