package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
)

// service is a whole auth service over SQLite, but for the bus.
type service struct {
	url       string
	client    *client.Client
	authority *authority.Authority
	bootstrap authority.Secret
	refreshes atomic.Int64
	tokens    map[string]wire.Tokens // by the name of a user
}

// startService starts a service that keeps its data below dir.
func startService(dir string, atEnd func(func()), change func(*keyring.Config)) (*service, error) {
	dir, err := os.MkdirTemp(dir, "service-")
	if err != nil {
		return nil, err
	}
	ctx, logger := context.Background(), slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "authsvc.db"))
	if err != nil {
		return nil, err
	}
	atEnd(func() { _ = db.Close() })
	server := httptest.NewUnstartedServer(nil)
	server.Start()
	atEnd(server.Close)
	master, err := keyring.ParseMasterKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		return nil, err
	}
	c := keyring.Config{Issuer: server.URL, Master: master, Logger: logger}
	change(&c)
	keys, err := keyring.Open(ctx, db, c)
	if err != nil {
		return nil, err
	}
	hasher, err := password.NewHasher(password.HasherConfig{MemoryKiB: 256, Passes: 1})
	if err != nil {
		return nil, err
	}
	s := &service{url: server.URL, tokens: map[string]wire.Tokens{}}
	if s.authority, err = authority.New(authority.Config{Issuer: s.url, Logger: logger}, db, keys, hasher, nil); err != nil {
		return nil, err
	}
	api := httpapi.New(httpapi.Config{
		Authority: s.authority, JWKS: keys.JWKS, Issuer: s.url, Logger: logger, Registry: prometheus.NewRegistry(),
	})
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/sessions/refresh" {
			s.refreshes.Add(1)
		}
		api.ServeHTTP(w, r)
	})
	if s.bootstrap, err = s.authority.NewBootstrapSecret(ctx); err != nil {
		return nil, err
	}
	s.client, err = client.New(client.Config{Server: s.url})
	return s, err
}
