package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/gateway"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// gate is the gateway in front of the two services.
type gate struct {
	*gateway.Gateway
	nc *nats.Conn
}

// startGate starts it.
func (t *tour) startGate(ctx context.Context) error {
	var upstreams, rules strings.Builder
	for _, s := range t.services {
		fmt.Fprintf(&upstreams, "  %s: {urls: [%q]}\n", s.Name(), s.URL())
		fmt.Fprintf(&rules, "  - {name: %[1]s, path: /%[1]s, methods: [GET], upstream: %[1]s, websocket: true}\n", s.Name())
	}
	file := filepath.Join(t.dir, "gate.yaml")
	if err := os.WriteFile(file, []byte("upstreams:\n"+upstreams.String()+"rules:\n"+rules.String()), 0o600); err != nil {
		return err
	}
	nc, err := bus.Connect("gateway", bus.Target{URL: t.broker.URL()}, t.log)
	if err != nil {
		return err
	}
	g, err := gateway.Start(ctx, gateway.Config{
		Listen: "127.0.0.1:0", Routes: file, Auth: t.authURL(), Issuer: t.node.Issuer(), NATS: nc, MaxStale: bound, Log: t.log,
	})
	if err != nil {
		nc.Close()
		return err
	}
	t.gate = &gate{Gateway: g, nc: nc}
	return nil
}

func (g *gate) close() error {
	if g == nil {
		return nil
	}
	err := g.Close()
	g.nc.Close()
	return err
}

// logInAtGate logs the user in at the gateway and returns the opaque token.
func (t *tour) logInAtGate(ctx context.Context) (string, error) { return t.logInAt(ctx, t.gate.URL()) }

func (t *tour) logInAt(ctx context.Context, gateway string) (string, error) {
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	body, err := json.Marshal(t.login) //nolint:gosec // to log in, the password is shown
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/login", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.http.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	if err := json.NewDecoder(resp.Body).Decode(&granted); err != nil {
		return "", fmt.Errorf("reading the answer of the gateway: %w", err)
	}
	if resp.StatusCode != http.StatusCreated || granted.AccessToken == "" || strings.Contains(granted.AccessToken, ".") {
		return "", fmt.Errorf("the gateway answered %s, and not with an opaque token", resp.Status)
	}
	return granted.AccessToken, nil
}

// callThroughGate logs in at the gateway and calls both services through it.
func (t *tour) callThroughGate(ctx context.Context) (string, error) {
	if err := t.startGate(ctx); err != nil {
		return "", fmt.Errorf("starting the gateway: %w", err)
	}
	opaque, err := t.logInAtGate(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range t.services {
		if err := t.expectAt(ctx, t.gate.URL()+"/"+s.Name(), opaque, validated); err != nil {
			return "", err
		}
		// The client has nothing that a service would take.
		if err := t.expectAt(ctx, s.URL(), opaque, loginAgain); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the client holds an opaque token of %d characters; orders and billing through the gateway: %v", len(opaque), validated), nil
}

// closeTheSocket opens a WebSocket through the gateway and has an admin force the
// user out.
func (t *tour) closeTheSocket(ctx context.Context) (string, error) {
	opaque, err := t.logInAtGate(ctx)
	if err != nil {
		return "", err
	}
	conn, resp, err := websocket.Dial(ctx, t.gate.URL()+"/orders/live", &websocket.DialOptions{ //nolint:bodyclose // Dial says not to
		HTTPHeader: http.Header{"Authorization": {"Bearer " + opaque}},
	})
	if err != nil {
		return "", fmt.Errorf("opening a WebSocket: %w (%v)", err, resp)
	}
	defer func() { _ = conn.CloseNow() }() // ended by then
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return "", err
	}
	if _, said, err := conn.Read(ctx); err != nil || string(said) != "hello" {
		return "", fmt.Errorf("the WebSocket said back %q: %w", said, err)
	}
	ack, err := t.admin.Revoke(ctx, wire.RevokeRequest{Scope: "user", ID: t.user.Sub, Reason: "laptop stolen"})
	if err != nil {
		return "", err
	}
	acked := time.Now()
	waiting, cancel := context.WithTimeout(ctx, t.bound)
	defer cancel()
	_, _, err = conn.Read(waiting)
	closed := time.Since(acked)
	switch {
	case err == nil:
		return "", errors.New("the WebSocket goes on")
	case waiting.Err() != nil:
		return "", fmt.Errorf("the WebSocket is open after %v", t.bound)
	}
	refused, err := t.awaitRefusal(waiting, t.gate.URL()+"/orders", opaque, loginAgain, acked)
	if err != nil {
		return "", err
	}
	t.revoking = max(closed, refused)
	return fmt.Sprintf("revision %d, %s; the WebSocket closed after %.1f ms, the opaque token refused after %.1f ms",
		ack.Rev, ack.Delivery, milliseconds(closed), milliseconds(refused)), nil
}

// expectAt calls at url and fails unless the answer is as wanted.
func (t *tour) expectAt(ctx context.Context, url, token string, want answer) error {
	got, err := t.call(ctx, url, token)
	if err == nil && got != want {
		err = fmt.Errorf("%s answered %v, not %v", url, got, want)
	}
	return err
}

// deployGateway is the gateway that runs already, as an answer to compare.
func (t *tour) deployGateway(context.Context) (*deployment, error) {
	return &deployment{name: throughGateway, url: t.gate.URL() + "/orders", logIn: t.logInAtGate}, nil
}
