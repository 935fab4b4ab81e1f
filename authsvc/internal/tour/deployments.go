package tour

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"github.com/authbus/authbus/authsvc/internal/demo"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/verifier"
	"github.com/authbus/authbus/verifier/token"
)

// The names of the answers, as in the table at the end.
const (
	overHTTP       = "dedicated service, HTTP"
	overNATS       = "dedicated service, NATS"
	throughGateway = "gateway"
	sharedSecret   = "shared secret"
	local          = "authbus"
)

// deployIntrospection puts up a service that asks the auth service about every
// token over HTTP (RFC 7662), with credentials of its own.
func (t *tour) deployIntrospection(ctx context.Context) (*deployment, error) {
	registered, err := t.admin.AddService(ctx, wire.ServiceRequest{ID: "orders"})
	if err != nil {
		return nil, fmt.Errorf("registering the service: %w", err)
	}
	return t.deployService(ctx, overHTTP, verifier.Config{
		Mode:             verifier.Remote,
		IntrospectionURL: t.authURL() + "/v1/introspect",
		ClientID:         registered.ID,
		ClientSecret:     verifier.ClientSecret(registered.Secret),
	})
}

// deployRemote puts up a service that asks the auth service about every token
// over the bus.
func (t *tour) deployRemote(ctx context.Context) (*deployment, error) {
	return t.deployService(ctx, overNATS, verifier.Config{Mode: verifier.Remote})
}

// deployLocal is the service that has verified by itself all the time.
func (t *tour) deployLocal(context.Context) (*deployment, error) {
	return t.deployed(local, t.services[0]), nil
}

func (t *tour) deployService(ctx context.Context, name string, how verifier.Config) (*deployment, error) {
	service, err := t.startService(ctx, "orders", how)
	if err != nil {
		return nil, err
	}
	t.others = append(t.others, service)
	return t.deployed(name, service), nil
}

// deployed is a service whose clients hold access tokens.
func (t *tour) deployed(name string, service *demo.Service) *deployment {
	return &deployment{name: name, url: service.URL(), logIn: func(ctx context.Context) (string, error) {
		tokens, err := t.anyone.Login(ctx, t.login)
		return tokens.AccessToken, err
	}}
}

// answered is a step that deploys an answer and finds what it costs.
func answered(deploy func(*tour, context.Context) (*deployment, error)) func(*tour, context.Context) (string, error) {
	return func(t *tour, ctx context.Context) (string, error) {
		d, err := deploy(t, ctx)
		if err != nil {
			return "", err
		}
		if err := t.measure(ctx, d); err != nil {
			return "", err
		}
		t.answers = append(t.answers, d)
		return d.cost.String(), nil
	}
}

// stopAuth stops the auth service under all answers that are deployed.
func (t *tour) stopAuth(ctx context.Context) (string, error) {
	return t.watchTheStop(ctx, t.answers)
}

// changeToSecret starts the auth service again with a shared secret in place of
// its key pairs: on the same database, so with the same accounts and sessions.
func (t *tour) changeToSecret(ctx context.Context) (string, error) {
	file := filepath.Join(t.dir, "shared.secret")
	secret, err := newSecret(file)
	if err != nil {
		return "", err
	}
	if err := t.stopServices(); err != nil {
		return "", err
	}
	t.config.Signing, t.config.SecretFile = "shared-secret", file
	if err := t.startAuth(ctx); err != nil {
		return "", err
	}
	if _, err := t.anyone.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(t.laptop.RefreshToken)}); err != nil {
		return "", fmt.Errorf("refreshing a session from before the change: %w", err)
	}
	if err := t.logInAdmin(ctx); err != nil { // access tokens of the other kind are refused
		return "", err
	}
	return answered(func(t *tour, ctx context.Context) (*deployment, error) {
		return t.deployService(ctx, sharedSecret, verifier.Config{SharedSecret: secret})
	})(t, ctx)
}

// newSecret makes a secret and writes it to a file, as `openssl rand -base64 32` does.
func newSecret(file string) (token.Secret, error) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(random)), 0o600); err != nil {
		return token.Secret{}, err
	}
	return token.ReadSecretFile(file)
}

// stopAuthAgain is for the answer that was deployed last.
func (t *tour) stopAuthAgain(ctx context.Context) (string, error) {
	return t.watchTheStop(ctx, t.answers[len(t.answers)-1:])
}

// costs are the rows of the table, authbus last.
func (t *tour) costs() []cost {
	rows := make([]cost, 0, len(t.answers))
	for _, name := range []string{overHTTP, overNATS, throughGateway, mutualTLS, sharedSecret, local} {
		for _, d := range t.answers {
			if d.name == name {
				rows = append(rows, d.cost)
			}
		}
	}
	return rows
}
