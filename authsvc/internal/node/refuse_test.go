package node_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/node"
	"github.com/authbus/authbus/authsvc/internal/store"
)

// goodSecret is good for nothing but these tests.
const goodSecret = "bSVuzW1FVmWUbkxcHCGUX7xYTDe6Cd8GIsGJ8iODVuQ="

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a listener without connections
	for _, tc := range []struct {
		name, want string
		change     func(*node.Config)
	}{
		{"no database", "DatabaseURL", func(c *node.Config) { c.DatabaseURL = "" }},
		{"an unknown kind of database", "mysql", func(c *node.Config) { c.DatabaseURL = "mysql://localhost/auth" }},
		{"no bus", "NATSURL", func(c *node.Config) { c.Embedded = nil }},
		{"two buses", "NATSURL", func(c *node.Config) { c.NATSURL = "nats://127.0.0.1:4222" }},
		{"a bus address that is none", "NATSURL: must be", func(c *node.Config) { c.Embedded, c.NATSURL = nil, "nats://%zz" }},
		{"a bus address of another kind", "NATSURL: must be", func(c *node.Config) { c.Embedded, c.NATSURL = nil, "nats://127.0.0.1:1,http://127.0.0.1:2" }},
		{"an empty one among them", "NATSURL: must be", func(c *node.Config) { c.Embedded, c.NATSURL = nil, "nats://127.0.0.1:1," }},
		{"a subscriber of two words", `EventSubscribers: "a b" is not`, func(c *node.Config) { c.EventSubscribers = []string{"audit", "a b"} }},
		{"every subscriber", `EventSubscribers: "*" is not`, func(c *node.Config) { c.EventSubscribers = []string{"*"} }},
		{"a subscriber below another", "EventSubscribers", func(c *node.Config) { c.EventSubscribers = []string{"team.audit"} }},
		{"credentials that are not there", "absent.creds", func(c *node.Config) {
			c.Embedded, c.NATSURL, c.PublisherCredentials = nil, "nats://127.0.0.1:1", "/nowhere/absent.creds"
		}},
		{"no master key", "MasterKey", func(c *node.Config) { c.MasterKeyFile = "" }},
		{"two master keys", "MasterKey", func(c *node.Config) { c.MasterKey = "x" }},
		{"a master key that is too short", "master key", func(c *node.Config) { c.MasterKeyFile, c.MasterKey = "", "c2hvcnQ" }},
		{"an unknown algorithm", "HS256", func(c *node.Config) { c.Signing = "HS256" }},
		{"a secret without the mode", "Secret: only goes with", func(c *node.Config) { c.Secret = goodSecret }},
		{"the mode without a secret", "SecretFile: with shared-secret", func(c *node.Config) { c.Signing = node.SharedSecret }},
		{"only a previous secret", "SecretFile: with shared-secret", func(c *node.Config) { c.Signing, c.PreviousSecret = node.SharedSecret, goodSecret }},
		{"a weak secret", "Secret: shared secret is a known default", func(c *node.Config) { c.Signing, c.Secret = node.SharedSecret, "secret" }},
		{"an absent file of a secret", "SecretFile: opening", func(c *node.Config) { c.Signing, c.SecretFile = node.SharedSecret, "/nowhere/secret" }},
		{"the same secret twice", "PreviousSecret: must differ", func(c *node.Config) {
			c.Signing, c.Secret, c.PreviousSecret = node.SharedSecret, goodSecret, goodSecret
		}},
		{"an issuer that is no URL", "Issuer", func(c *node.Config) { c.Issuer = "auth" }},
		{"an issuer with a query", "Issuer", func(c *node.Config) { c.Issuer = "https://auth.test/?x=1" }},
		{"an audience with a space", "Audiences", func(c *node.Config) { c.Audiences = []string{"or ders"} }},
		{"a lifetime above an hour", "AccessLifetime", func(c *node.Config) { c.AccessLifetime = 2 * time.Hour }},
		{"a negative grace", "RefreshGrace", func(c *node.Config) { c.RefreshGrace = -time.Second }},
		{"an idle time above the absolute", "SessionIdle", func(c *node.Config) { c.SessionIdle = 9999 * time.Hour }},
		{"a negative number of sessions", "MaxSessions", func(c *node.Config) { c.MaxSessions = -1 }},
		{"too many replicas", "Replicas", func(c *node.Config) { c.Replicas = 7 }},
		{"a port in use", "in use", func(c *node.Config) { c.Listen = taken.Addr().String() }},
		{"a broker's port in use", "in use", func(c *node.Config) { c.Embedded.Listen = taken.Addr().String() }},
		{"a broker without a directory", "directory", func(c *node.Config) { c.Embedded.Dir = "" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(goroutines())
			c := embedded(t.TempDir())
			tc.change(&c)
			n, err := node.Start(t.Context(), c)
			if err == nil {
				_ = n.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not mention %q", err, tc.want)
			}
			settled(t, before)
		})
	}
}

// A master key that does not open what is in the database is a mistake of the setting.
func TestAnotherMasterKeyIsRefusedByName(t *testing.T) {
	c := embedded(t.TempDir())
	n, err := node.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.MasterKeyFile, c.MasterKey = "", goodSecret
	n, err = node.Start(t.Context(), c)
	if err == nil {
		_ = n.Close()
		t.Fatal("started")
	}
	if wrong := field.In(err); len(wrong) != 1 || wrong[0].Field != "MasterKey" || !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("error %v, want one of MasterKey", err)
	}
}

// What is wrong with an address may stand beside a password.
func TestARefusalDoesNotShowAPassword(t *testing.T) {
	c := embedded(t.TempDir())
	c.Embedded, c.NATSURL = nil, "nats://authsvc:hunter2@127.0.0.1:none"
	if n, err := node.Start(t.Context(), c); err == nil {
		_ = n.Close()
		t.Error("started")
	} else if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "NATSURL") {
		t.Errorf("error %q", err)
	}
}

func TestStartRefusesADatabaseOfANewerProgram(t *testing.T) {
	dir := t.TempDir()
	c := embedded(dir)
	n := start(t, c)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = node.Start(t.Context(), c)
	var newer *store.SchemaError
	if !errors.As(err, &newer) || newer.Found != 4711 {
		t.Fatalf("error %v, want a refusal of version 4711", err)
	}
	for _, version := range []int64{newer.Found, newer.Known} {
		if !strings.Contains(err.Error(), fmt.Sprint(version)) {
			t.Errorf("error %q does not name version %d", err, version)
		}
	}
}

func TestBrokerThatIsTooOldIsRefused(t *testing.T) {
	n := start(t, beside(t.TempDir(), oldBroker(t)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := n.AwaitReady(ctx)
	if !errors.Is(err, bus.ErrOldServer) || !strings.Contains(err.Error(), "2.9.10") || !strings.Contains(err.Error(), bus.MinServer) {
		t.Errorf("error %v, want that 2.9.10 is older than %s", err, bus.MinServer)
	}
	if status, _ := call(t, http.MethodPost, n.URL()+"/v1/sessions", login); status != http.StatusServiceUnavailable {
		t.Errorf("logging in with an old broker: %d, want 503", status)
	}
}

// oldBroker speaks as much of the protocol as a client needs to connect, as the
// version that Debian packages does.
func oldBroker(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { speakNATS(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // ends the accepting; the node has closed the connections
		serving.Wait()
	})
	return "nats://" + listener.Addr().String()
}

func speakNATS(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // nothing is at stake
	const info = `INFO {"server_id":"OLD","server_name":"old","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576}`
	if _, err := io.WriteString(conn, info+"\r\n"); err != nil {
		return
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		for range bytes.Count(buf[:n], []byte("PING\r\n")) {
			if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
				return
			}
		}
	}
}
