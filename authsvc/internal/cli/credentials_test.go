package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/keyring"
)

// TestCommandsAtOnce runs commands at the same time, each with an access token
// that has expired: one of them renews it, and none of them fails.
func TestCommandsAtOnce(t *testing.T) {
	dir := t.TempDir()
	s, err := startService(dir, t.Cleanup, func(*keyring.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"AUTHSVC_SERVER=" + s.url, "AUTHSVC_CONFIG_DIR=" + filepath.Join(dir, "authsvc")}
	run := func(stdin string, args ...string) (int, string) {
		var out bytes.Buffer
		code := Run(t.Context(), args, strings.NewReader(stdin), &out, &out, env)
		return code, out.String()
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(s.bootstrap.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"bootstrap", "--username=root", "--email=root@example.org", "--secret-file", secret, "--password-stdin"},
		{"login", "root", "--password-stdin"},
	} {
		if code, out := run(userPassword, args...); code != exitDone {
			t.Fatal(out)
		}
	}
	if err := expire(dir); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if code, out := run("", "keys", "list"); code != exitDone {
				t.Error(out)
			}
		})
	}
	all.Wait()
	if n := s.refreshes.Load(); n != 1 {
		t.Errorf("the token was renewed %d times", n)
	}
	info, err := os.Stat(filepath.Join(dir, "authsvc", "credentials.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept tokens: %v, %v", info.Mode(), err)
	}
}
