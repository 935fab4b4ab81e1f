package natsconfig_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/verifier"
)

// A service is added by writing the file anew and `nats-server --signal reload`. Nobody
// else notices. One that is left out loses its connection.
func TestServicesComeAndGoByAReload(t *testing.T) {
	w, dir := &world{ca: newIssuer(t)}, t.TempDir()
	path, conf := filepath.Join(dir, "nats.conf"), w.complete(t, dir, everybody())
	generate(t, path, conf)
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	w.server = run(t, opts)
	w.url = "tls://" + w.server.Addr().String()
	reload := func(change func(*natsconfig.Config)) {
		t.Helper()
		change(&conf)
		generate(t, path, conf)
		if err := w.server.Reload(); err != nil {
			t.Fatal(err)
		}
	}

	s := w.serve(t)
	orders, billing := w.verify(t, "orders", verifier.Local), w.connect(t, "billing")
	everyone := map[string]*nats.Conn{}
	for _, name := range identities {
		everyone[name] = w.as(t, name) // which does not come back when it is cut off
	}
	access := s.login(t, "ada")

	reload(func(c *natsconfig.Config) {
		c.Services, c.Subscribers = append(c.Services, "reports"), append(c.Subscribers, "reports")
	})
	for name, nc := range everyone {
		if err := nc.FlushTimeout(10 * time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	reports := w.verify(t, "reports", verifier.Local)
	if _, err := orders.Verify(t.Context(), access); err != nil {
		t.Error(err)
	}
	claims, err := s.Authenticate(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	applied := map[*verifier.Verifier]uint64{orders: orders.Stats().LiveRecords, reports: reports.Stats().LiveRecords}
	if ack, err := s.Logout(t.Context(), claims); err != nil || ack.Delivery != authority.Delivered {
		t.Fatalf("logout: %+v, %v", ack, err)
	}
	for v, before := range applied {
		eventually(t, "the record is heard live", func() bool { return v.Stats().LiveRecords > before })
	}
	if _, err := orders.Verify(t.Context(), access); !errors.Is(err, verifier.ErrRevoked) {
		t.Errorf("after the logout: %v", err)
	}

	reload(func(c *natsconfig.Config) {
		c.Services = slices.DeleteFunc(c.Services, func(name string) bool { return name == "billing" })
	})
	eventually(t, "the end of billing's connection", func() bool { return !billing.IsConnected() })
	if _, err := w.dial(w.ca.named(t, "billing"), "_INBOX_billing"); err == nil {
		t.Error("billing is let in")
	}
	if err := everyone["orders"].FlushTimeout(10 * time.Second); err != nil {
		t.Errorf("orders: %v", err)
	}
}
