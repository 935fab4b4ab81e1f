package cli

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/freeport"
	"github.com/authbus/authbus/authsvc/internal/logtest"
)

// runDev runs `authsvc dev` until it has printed its hints, ends it, and returns
// what it printed.
func runDev(t *testing.T, dir string, addresses []string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &serving{stop: cancel, status: make(chan int, 1)}
	args := []string{
		"dev", "--dir", dir, "--listen", addresses[0], "--nats", addresses[1],
		"--orders", addresses[2], "--billing", addresses[3], "--gateway", addresses[4],
	}
	go func() { s.status <- Run(ctx, args, strings.NewReader(""), &s.stdout, &s.stderr, nil) }()
	s.await(t, "started", func() bool { return strings.Contains(s.stdout.String(), "Ctrl-C stops it") })
	s.end(t)
	if s.stderr.String() != "" {
		t.Errorf("dev logs warnings in a clean run:\n%s", s.stderr.String())
	}
	return s.stdout.String()
}

func TestDevKeepsItsDataAndShowsThePasswordOnce(t *testing.T) {
	dir, addresses := t.TempDir(), freeAddresses(t, 5)
	first := runDev(t, dir, addresses)
	if !strings.Contains(first, "First admin") {
		t.Errorf("no password on the first start:\n%s", first)
	}
	for _, want := range []string{"curl ", "nats -s ", "http://" + addresses[0], addresses[1], addresses[2], addresses[3], addresses[4]} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if second := runDev(t, dir, addresses); strings.Contains(second, "First admin") {
		t.Errorf("another admin on the second start:\n%s", second)
	}
}

func TestDevRefusesAPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // a listener without connections
	free := freeAddresses(t, 5)
	for i, flag := range []string{"--listen", "--nats", "--orders", "--billing", "--gateway"} {
		addresses := append([]string(nil), free...)
		addresses[i] = taken.Addr().String()
		args := []string{
			"dev", "--dir", t.TempDir(), "--listen", addresses[0], "--nats", addresses[1],
			"--orders", addresses[2], "--billing", addresses[3], "--gateway", addresses[4],
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		var stdout, stderr logtest.Buffer
		status := Run(ctx, args, strings.NewReader(""), &stdout, &stderr, nil)
		cancel()
		if text := stderr.String(); status == exitDone || !strings.Contains(text, "in use") || flag != "--nats" && !strings.Contains(text, flag+": ") {
			t.Errorf("%s: status %d with %q, want that the port is in use", flag, status, text)
		}
	}
}

func TestDevRefusesAnAddressForNoPurpose(t *testing.T) {
	var stdout, stderr logtest.Buffer
	args := []string{"dev", "--dir", t.TempDir(), "--listen-mtls", "127.0.0.1:0"}
	status := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, nil)
	if status != exitUsage || !strings.Contains(stderr.String(), "--listen-mtls: only goes with mutual TLS") {
		t.Errorf("status %d with %q", status, stderr.String())
	}
}

// freeAddresses returns addresses on which nobody listens.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = freeport.Address(t)
	}
	return addresses
}
