package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// login is what is kept of one login.
type login struct {
	Login        string    `json:"login"`
	Sub          string    `json:"sub"`
	SID          string    `json:"sid"`
	AccessToken  string    `json:"access_token"`
	ExpiresAt    time.Time `json:"expires_at"`
	RefreshToken string    `json:"refresh_token"`
}

// credentials keeps one login for each server, in a file that only its owner can
// read. Every change happens under a lock and replaces the file as a whole, so
// that commands that run at once neither lose a rotated refresh token nor use one
// twice.
type credentials struct{ dir string }

var errLoggedOut = errors.New("you are not logged in: run authsvc login")

// early is how long before its end an access token is renewed.
const early = 30 * time.Second

// token returns a good access token for c's server, renewing it where needed.
func (k *credentials) token(ctx context.Context, c *client.Client) (string, error) {
	all, err := k.load()
	if err != nil {
		return "", err
	}
	kept, ok := all[c.Server()]
	switch {
	case !ok:
		return "", errLoggedOut
	case kept.good(""):
		return kept.AccessToken, nil
	}
	return k.renew(ctx, c, "")
}

// good reports whether the access token can be shown, as far as can be told here.
func (l login) good(refused string) bool {
	return l.AccessToken != refused && time.Until(l.ExpiresAt) > early
}

// renew returns another access token than the one that the server has refused, if
// it has refused one.
func (k *credentials) renew(ctx context.Context, c *client.Client, refused string) (string, error) {
	var kept login
	err := k.change(func(all map[string]login) error {
		var ok bool
		if kept, ok = all[c.Server()]; !ok {
			return errLoggedOut
		}
		if kept.good(refused) { // another command was faster
			return nil
		}
		tokens, err := c.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(kept.RefreshToken)})
		if client.HasCode(err, "invalid_grant") {
			return fmt.Errorf("your session has ended: run authsvc login: %w", err)
		}
		if err != nil {
			return fmt.Errorf("renewing the access token: %w", err)
		}
		kept = keep(kept.Login, tokens)
		all[c.Server()] = kept
		return nil
	})
	return kept.AccessToken, err
}

func keep(name string, t wire.Tokens) login {
	return login{
		Login: name, Sub: t.Sub, SID: t.SID, AccessToken: t.AccessToken, RefreshToken: t.RefreshToken,
		ExpiresAt: time.Now().Add(time.Duration(t.ExpiresIn) * time.Second).UTC().Truncate(time.Second),
	}
}

// save keeps a login for the server.
func (k *credentials) save(server string, kept login) error {
	return k.change(func(all map[string]login) error {
		all[server] = kept
		return nil
	})
}

// forget drops the login for the server.
func (k *credentials) forget(server string) error {
	return k.change(func(all map[string]login) error {
		delete(all, server)
		return nil
	})
}

func (k *credentials) file() string { return filepath.Join(k.dir, "credentials.json") }

// load reads what is kept, by server. There may be nothing yet.
func (k *credentials) load() (map[string]login, error) {
	var all map[string]login
	content, err := os.ReadFile(k.file())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return map[string]login{}, nil
	case err != nil:
		return nil, fmt.Errorf("reading the kept tokens: %w", err)
	}
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("reading the kept tokens in %s: %w", k.file(), err)
	}
	return all, nil
}

// change has f change what is kept, under the lock. Where f fails nothing changes.
func (k *credentials) change(f func(map[string]login) error) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the kept tokens: %w", err)
	}
	unlock, err := lockedfile.MutexAt(k.file() + ".lock").Lock()
	if err != nil {
		return fmt.Errorf("locking the kept tokens: %w", err)
	}
	defer unlock()
	all, err := k.load()
	if err != nil {
		return err
	}
	if err := f(all); err != nil {
		return err
	}
	return k.replace(all)
}

// replace writes the file anew. os.CreateTemp makes it 0600 from its first byte.
func (k *credentials) replace(all map[string]login) error {
	content, err := json.MarshalIndent(all, "", "  ") //nolint:gosec // to keep the tokens is what the file is for
	if err != nil {
		return fmt.Errorf("encoding the tokens: %w", err)
	}
	temp, err := os.CreateTemp(k.dir, "credentials-*.tmp")
	if err != nil {
		return fmt.Errorf("keeping the tokens: %w", err)
	}
	_, err = temp.Write(append(content, '\n'))
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("keeping the tokens: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	if err := os.Rename(temp.Name(), k.file()); err != nil {
		return fmt.Errorf("keeping the tokens: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return nil
}
