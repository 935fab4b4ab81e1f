package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/authsvctest"
)

// TestForeignClient has a strict OAuth client of others, npm's oauth4webapi, find
// the endpoints, introspect, revoke, and verify a token by the JWKS.
func TestForeignClient(t *testing.T) {
	modules := nodeModules(t)
	s := authsvctest.Start(t, authsvctest.Config{})
	type session struct {
		Access  string `json:"access"`
		Refresh string `json:"refresh"`
		Sub     string `json:"sub"`
	}
	sessions := map[string]session{}
	ada := s.Register(t, "ada")
	for _, method := range []string{"basic", "post"} {
		tokens := s.Login(t, ada)
		sessions[method] = session{tokens.AccessToken, tokens.RefreshToken, tokens.Sub}
	}
	alive := s.Login(t, ada)
	given, err := json.Marshal(map[string]any{
		"issuer": s.Issuer(), "audience": "orders", "client_id": "orders", "client_secret": s.AddService(t, "orders"),
		"sessions": sessions, "others": []string{alive.AccessToken, alive.RefreshToken},
		"stranger_secret": s.AddService(t, "stranger"),
	})
	if err != nil {
		t.Fatal(err)
	}
	out := runForeignClient(t, modules, string(given))
	if out != "basic: active, revoked, inactive\npost: active, revoked, inactive\nstranger: nothing\n" {
		t.Errorf("the client says\n%s", out)
	}
}

// runForeignClient runs the script beside the modules that it imports, and returns
// what it prints.
func runForeignClient(t *testing.T, modules, stdin string) string {
	t.Helper()
	source, err := os.ReadFile("testdata/oauth4webapi/client.mjs")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "client.mjs")
	if err := os.WriteFile(script, source, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Stdin = strings.NewReader(stdin)
	var out, trouble strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		t.Fatalf("the client ended with %v:\n%s%s", err, out.String(), trouble.String())
	}
	return out.String()
}

// nodeModules finds what testdata/oauth4webapi/package.json asks for, or skips.
func nodeModules(t *testing.T) string {
	t.Helper()
	requireTool(t, "node")
	dir := os.Getenv("AUTHBUS_TEST_NPM")
	if dir == "" {
		dir = "../.npm"
	}
	modules, err := filepath.Abs(filepath.Join(dir, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "oauth4webapi")); err != nil {
		const missing = "npm's oauth4webapi is not in the folder that AUTHBUS_TEST_NPM names; .ci/run installs it"
		if os.Getenv("AUTHBUS_TEST_REQUIRE") == "all" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return modules
}
