package cli

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/field"
)

// remote holds the flags of every command that asks a running service.
type remote struct {
	Server    string `help:"URL of the auth service." default:"http://127.0.0.1:8080"`
	ConfigDir string `help:"Directory of the kept tokens; default: authsvc in your configuration directory." type:"path" placeholder:"DIR"`
	JSON      bool   `name:"json" help:"Print JSON, for programs."`
}

// AfterApply hands the flags to the command that is about to run.
func (r *remote) AfterApply(k *kong.Context, t *terminal) error {
	t.json = r.JSON
	k.Bind(r)
	return nil
}

// anonymous returns a client that is not logged in.
func (r *remote) anonymous() (*client.Client, error) {
	c, err := client.New(client.Config{Server: r.Server})
	if err != nil {
		return nil, &field.Error{Field: "Server", Err: err}
	}
	return c, nil
}

// loggedIn returns a client that shows the kept tokens and renews them.
func (r *remote) loggedIn() (*client.Client, error) {
	c, err := r.anonymous()
	if err != nil {
		return nil, err
	}
	kept, err := r.credentials()
	if err != nil {
		return nil, err
	}
	return c.
		As(func(ctx context.Context) (string, error) { return kept.token(ctx, c) }).
		Renewing(func(ctx context.Context, refused string) (string, error) { return kept.renew(ctx, c, refused) }), nil
}

func (r *remote) credentials() (*credentials, error) {
	dir := r.ConfigDir
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("finding your configuration directory (or give --config-dir): %w", err)
		}
		dir = filepath.Join(base, "authsvc")
	}
	return &credentials{dir: dir}, nil
}

// warnIfOpen tells whoever is about to send a password that others can read it.
func (r *remote) warnIfOpen(t *terminal) {
	if !isOpen(r.Server) {
		return
	}
	t.note("authsvc: warning: %s is not https: the password and the tokens can be read on their way", inert(r.Server))
}

// isOpen reports whether others can read what is sent to the server: it is plain http,
// and leaves this machine.
func isOpen(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err != nil || !addr.IsLoopback()
}
