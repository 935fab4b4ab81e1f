package tour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/dev"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

// Config says how to show the tour.
type Config struct {
	// Out takes the steps.
	Out io.Writer
	// JSON prints one object a step, {"step","ok","detail","ms"}, and then one for each
	// answer, with what it costs.
	JSON bool
	// Color marks outcomes with colours.
	Color bool
	// Log takes what the parts of the stack log; nil discards it.
	Log *slog.Logger
}

const (
	bound = 3 * time.Second
	grace = time.Second
)

// tour is the state that the steps share.
type tour struct {
	*stack
	http  *http.Client
	bound time.Duration

	anyone     *client.Client
	user       wire.Account
	login      wire.LoginRequest
	adminLogin wire.LoginRequest
	admin      *client.Client
	laptop     wire.Tokens // the user's first session
	phone      wire.Tokens // the user's second session
	revoking   time.Duration
	gate       *gate
	mutual     *dev.Stack // once everything is over mutual TLS
	answers    []*deployment
}

// step is one thing to show. It returns what was done and what came back.
type step struct {
	name string
	run  func(t *tour, ctx context.Context) (detail string, err error)
}

var steps = []step{
	{"register", (*tour).register},
	{"log in twice", (*tour).logIn},
	{"call both services", (*tour).callBoth},
	{"call without a token", (*tour).callWithoutToken},
	{"call, tampered token", (*tour).callTampered},
	{"refresh", (*tour).refresh},
	{"log out one session", (*tour).logOutOne},
	{"admin forces user out", (*tour).forceOut},
	{"log in again at once", (*tour).logInAgain},
	{"replay refresh token", (*tour).replayRefresh},
	{"stop the broker", (*tour).stopBroker},
	{"start the broker", (*tour).startBroker},
	{"call through a gateway", (*tour).callThroughGate},
	{"close a WebSocket", (*tour).closeTheSocket},
	{overHTTP, answered((*tour).deployIntrospection)},
	{overNATS, answered((*tour).deployRemote)},
	{throughGateway, answered((*tour).deployGateway)},
	{local, answered((*tour).deployLocal)},
	{"stop the auth service", (*tour).stopAuth},
	{mutualTLS, (*tour).changeToMutual},
	{"revoke a certificate", (*tour).revokeCertificate},
	{"stop it, mutual TLS", (*tour).stopMutual},
	{sharedSecret, (*tour).changeToSecret},
	{"stop it, shared secret", (*tour).stopAuthAgain},
}

// Run starts the stack, shows every step and stops the stack. It returns an error
// unless each step came out as stated; the first that does not is the last.
func Run(ctx context.Context, c Config) (err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	out := &report{out: c.Out, json: c.JSON, color: c.Color}
	began := time.Now()
	s, err := startStack(ctx, c.Log)
	if err != nil {
		return fmt.Errorf("starting the stack: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }() // after all that uses it
	t := &tour{stack: s, http: &http.Client{Timeout: 10 * time.Second}, bound: bound}
	defer func() { err = errors.Join(err, t.stopServices(), t.closeMutual()) }()
	defer t.http.CloseIdleConnections()
	if t.anyone, err = client.New(client.Config{Server: s.authURL()}); err != nil {
		return err
	}
	started := result{"start", true, s.String(), milliseconds(time.Since(began))}
	if err := out.print(started); err != nil {
		return err
	}
	for _, one := range steps {
		if err := t.show(ctx, out, one); err != nil {
			return err
		}
	}
	return out.compare(t.costs())
}

// show runs one step and prints its result.
func (t *tour) show(ctx context.Context, out *report, s step) error {
	began := time.Now()
	t.revoking = 0
	detail, err := s.run(t, ctx)
	took := time.Since(began)
	if t.revoking > 0 {
		took = t.revoking
	}
	if err != nil {
		detail = err.Error()
	}
	if printing := out.print(result{s.name, err == nil, detail, milliseconds(took)}); printing != nil {
		return printing
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// stopServices stops the gateway and the services, where they run. The auth service
// and the broker go on.
func (t *tour) stopServices() error {
	err := errors.Join(t.gate.close(), t.stack.stopServices())
	t.gate = nil
	return err
}

func (t *tour) closeMutual() error {
	if t.mutual == nil {
		return nil
	}
	err := t.mutual.Close()
	t.mutual = nil
	return err
}

// as is a client that speaks with an access token.
func (t *tour) as(tokens wire.Tokens) *client.Client {
	return t.anyone.As(func(context.Context) (string, error) { return tokens.AccessToken, nil })
}
