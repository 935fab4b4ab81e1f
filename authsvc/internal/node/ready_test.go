package node_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/store/storetest"
)

// postgresWay is the way to a database, which can be closed and can go silent.
type postgresWay struct {
	target string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	silent   bool // what comes in is read and goes nowhere
}

const postgresSocket = ".s.PGSQL.5432"

// newPostgresWay returns a way to the database at address, and the address of its
// beginning.
func newPostgresWay(t *testing.T, address string) (*postgresWay, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	dir, err := os.MkdirTemp("/tmp", "authbus-way-") //nolint:usetesting // a socket's path may have no more than 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	w := &postgresWay{target: filepath.Join(query.Get("host"), postgresSocket)}
	t.Cleanup(func() {
		w.close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	w.open(t, dir)
	return w, u.String()
}

func (w *postgresWay) open(t *testing.T, dir string) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(dir, postgresSocket))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.silent = listener, false
	go func() { // the end of the listener ends it
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
}

func (w *postgresWay) serve(conn net.Conn) {
	server, err := net.Dial("unix", w.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, conn, server)
	w.mu.Unlock()
	go func() { _, _ = io.Copy(conn, server); _ = conn.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			_ = server.Close()
			return
		}
		w.mu.Lock()
		silent := w.silent
		w.mu.Unlock()
		if !silent {
			_, _ = server.Write(buf[:n])
		}
	}
}

func (w *postgresWay) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
}

// close ends the listener and every connection.
func (w *postgresWay) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

// TestReadyzAsksTheDatabase: without it the service can do nothing, whatever the bus
// says. The answer says so, and not where the database is.
func TestReadyzAsksTheDatabase(t *testing.T) {
	way, address := newPostgresWay(t, storetest.Postgres(t))
	c := embedded(t.TempDir())
	c.DatabaseURL = address
	n := awaitReady(t, start(t, c))
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	t.Cleanup(func() { // for a clean end of the node
		way.close()
		way.open(t, dir)
	})
	readyz := func(what string, want int) {
		t.Helper()
		status, body := call(t, http.MethodGet, n.URL()+"/readyz", "")
		if status != want {
			t.Fatalf("%s: %d %s, want %d", what, status, body, want)
		}
		if status != http.StatusOK && !strings.Contains(body, "the database cannot be read") {
			t.Errorf("%s: it does not say why: %s", what, body)
		}
		for _, part := range []string{dir, strings.Trim(u.Path, "/"), u.Query().Get("user")} {
			if strings.Contains(body, part) {
				t.Errorf("%s: it says where the database is: %s", what, body)
			}
		}
	}
	readyz("with a database", http.StatusOK)
	way.silence()
	readyz("with a database that does not answer", http.StatusServiceUnavailable)
	way.close()
	readyz("without a database", http.StatusServiceUnavailable)
	way.open(t, dir)
	readyz("when it is back", http.StatusOK)
}
