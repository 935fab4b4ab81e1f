package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/verifier/token"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"authsvc": func() {
			os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
		},
	})
}

const userPassword = "seven pink walruses waltz"

// TestScripts runs each command as testdata/script says, against a service of
// its own. Beside testscript's commands there are:
//
//	user NAME…   registers and logs in; sets NAME_SUB, NAME_SID, NAME_JTI, NAME_KID
//	alive NAME…  the token of that login is accepted; ! alive: it is refused
//	expire       lets the kept access token expire
func TestScripts(t *testing.T) {
	runScripts(t, "testdata/script", func(*keyring.Config) {})
}

// TestScriptsOfASharedSecret runs those in testdata/shared against a service that
// signs with goodSecret and accepts otherSecret.
func TestScriptsOfASharedSecret(t *testing.T) {
	current, err := token.ParseSecret(goodSecret)
	if err != nil {
		t.Fatal(err)
	}
	previous, err := token.ParseSecret(otherSecret)
	if err != nil {
		t.Fatal(err)
	}
	runScripts(t, "testdata/shared", func(c *keyring.Config) { c.Secret, c.PreviousSecret = current, previous })
}

func runScripts(t *testing.T, dir string, change func(*keyring.Config)) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			s, err := startService(env.WorkDir, env.Defer, change)
			if err != nil {
				return err
			}
			env.Values[serviceKey{}] = s
			env.Setenv("AUTHSVC_SERVER", s.url)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("TZ", "UTC")
			files := map[string]string{
				"password": userPassword + "\n",
				"secret":   s.bootstrap.Reveal() + "\n",
			}
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(content), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"user": addUsers, "alive": checkAlive, "expire": expireToken,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("AUTHBUS_TEST_UPDATE") != "",
	})
}

type serviceKey struct{}

func addUsers(ts *testscript.TestScript, _ bool, names []string) {
	s := ts.Value(serviceKey{}).(*service)
	ctx := context.Background()
	for _, name := range names {
		_, err := s.client.Register(ctx, wire.RegisterRequest{
			Username: name, Email: name + "@example.org", Password: userPassword,
		})
		if err != nil && !client.HasCode(err, "account_exists") {
			ts.Fatalf("registering %s: %v", name, err)
		}
		tokens, err := s.client.Login(ctx, wire.LoginRequest{Login: name, Password: userPassword})
		ts.Check(err)
		claims, err := s.authority.Authenticate(ctx, tokens.AccessToken)
		ts.Check(err)
		s.tokens[name] = tokens
		for suffix, value := range map[string]string{
			"SUB": claims.Subject, "SID": claims.SessionID, "JTI": claims.ID, "KID": claims.KeyID,
		} {
			ts.Setenv(strings.ToUpper(name)+"_"+suffix, value)
		}
	}
}

func checkAlive(ts *testscript.TestScript, neg bool, names []string) {
	s := ts.Value(serviceKey{}).(*service)
	for _, name := range names {
		_, err := s.authority.Authenticate(context.Background(), s.tokens[name].AccessToken)
		if alive := err == nil; alive == neg {
			ts.Fatalf("%s is alive: %v (%v)", name, alive, err)
		}
	}
}

func expireToken(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(expire(ts.Getenv("XDG_CONFIG_HOME")))
}

// expire makes the kept access tokens look used up.
func expire(config string) error {
	k := credentials{dir: filepath.Join(config, "authsvc")}
	return k.change(func(all map[string]login) error {
		for server, kept := range all {
			kept.ExpiresAt = time.Now().Add(-time.Minute)
			kept.AccessToken = "expired"
			all[server] = kept
		}
		return nil
	})
}
