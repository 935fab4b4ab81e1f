package tour

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func (t *tour) register(ctx context.Context) (string, error) {
	password := wire.Secret(rand.Text())
	var err error
	t.user, err = t.anyone.Register(ctx, wire.RegisterRequest{
		Username: "ada", Email: "ada@example.org", Password: password,
	})
	if err != nil {
		return "", err
	}
	t.login = wire.LoginRequest{Login: "ada", Password: password}
	return "account ada is user " + t.user.Sub, nil
}

func (t *tour) logIn(ctx context.Context) (string, error) {
	for _, session := range []*wire.Tokens{&t.laptop, &t.phone} {
		tokens, err := t.anyone.Login(ctx, t.login)
		if err != nil {
			return "", err
		}
		*session = tokens
	}
	return fmt.Sprintf("sessions %s and %s, each with an access token for %d s", t.laptop.SID, t.phone.SID, t.laptop.ExpiresIn), nil
}

func (t *tour) callBoth(ctx context.Context) (string, error) {
	for _, token := range []string{t.laptop.AccessToken, t.phone.AccessToken} {
		if err := t.expect(ctx, token, validated); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("orders and billing: %v; asked the auth service %d times", validated, t.asked()), nil
}

func (t *tour) callWithoutToken(ctx context.Context) (string, error) {
	return t.refusedAlone(ctx, "", anonymous)
}

func (t *tour) callTampered(ctx context.Context) (string, error) {
	// Another user in the payload, under the old signature.
	header, rest, _ := strings.Cut(t.laptop.AccessToken, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	middle := len(payload) / 2
	swapped := "A"
	if payload[middle] == 'A' {
		swapped = "B"
	}
	tampered := header + "." + payload[:middle] + swapped + payload[middle+1:] + "." + signature
	return t.refusedAlone(ctx, tampered, loginAgain)
}

// refusedAlone expects a refusal that the services decided by themselves.
func (t *tour) refusedAlone(ctx context.Context, token string, want answer) (string, error) {
	before := t.asked()
	if err := t.expect(ctx, token, want); err != nil {
		return "", err
	}
	if asked := t.asked() - before; asked != 0 {
		return "", fmt.Errorf("the services asked the auth service %d times", asked)
	}
	return fmt.Sprintf("orders and billing: %v; the auth service was not asked", want), nil
}

func (t *tour) refresh(ctx context.Context) (string, error) {
	tokens, err := t.anyone.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(t.laptop.RefreshToken)})
	if err != nil {
		return "", err
	}
	if tokens.SID != t.laptop.SID || tokens.RefreshToken == t.laptop.RefreshToken {
		return "", errors.New("the refresh did not rotate the token of the same session")
	}
	t.laptop = tokens
	if err := t.expect(ctx, tokens.AccessToken, validated); err != nil {
		return "", err
	}
	return fmt.Sprintf("new tokens for session %s; both services: %v", tokens.SID, validated), nil
}

func (t *tour) logOutOne(ctx context.Context) (string, error) {
	ack, err := t.as(t.laptop).Logout(ctx)
	if err != nil {
		return "", err
	}
	refused, err := t.refusedAfter(ctx, t.laptop.AccessToken, time.Now())
	if err != nil {
		return "", err
	}
	t.revoking = refused.slowest()
	if err := t.expect(ctx, t.phone.AccessToken, validated); err != nil {
		return "", fmt.Errorf("the other session: %w", err)
	}
	return fmt.Sprintf("revision %d, %s; refused by %v; the other session still works", ack.Rev, ack.Delivery, refused), nil
}

func (t *tour) forceOut(ctx context.Context) (string, error) {
	if err := t.becomeAdmin(ctx); err != nil {
		return "", err
	}
	ack, err := t.admin.Revoke(ctx, wire.RevokeRequest{Scope: "user", ID: t.user.Sub, Reason: "laptop stolen"})
	if err != nil {
		return "", err
	}
	refused, err := t.refusedAfter(ctx, t.phone.AccessToken, time.Now())
	if err != nil {
		return "", err
	}
	t.revoking = refused.slowest()
	if _, err := t.anyone.Refresh(ctx, wire.RefreshRequest{RefreshToken: wire.Secret(t.phone.RefreshToken)}); !client.HasCode(err, "invalid_grant") {
		return "", fmt.Errorf("the refresh token of an ended session: %w", unexpected(err))
	}
	return fmt.Sprintf("revision %d, %s; refused by %v; the refresh token is dead too", ack.Rev, ack.Delivery, refused), nil
}

// becomeAdmin trades the one-time secret for the first admin and logs in.
func (t *tour) becomeAdmin(ctx context.Context) error {
	password := wire.Secret(rand.Text())
	_, err := t.anyone.Bootstrap(ctx, wire.BootstrapRequest{
		Secret: wire.Secret(t.secret), Username: "root", Email: "root@example.org", Password: password,
	})
	if err != nil {
		return fmt.Errorf("creating the first admin: %w", err)
	}
	t.adminLogin = wire.LoginRequest{Login: "root", Password: password}
	return t.logInAdmin(ctx)
}

func (t *tour) logInAdmin(ctx context.Context) error {
	tokens, err := t.anyone.Login(ctx, t.adminLogin)
	if err != nil {
		return fmt.Errorf("logging in as admin: %w", err)
	}
	t.admin = t.as(tokens)
	return nil
}

func (t *tour) logInAgain(ctx context.Context) (string, error) {
	var err error
	if t.laptop, err = t.anyone.Login(ctx, t.login); err != nil {
		return "", err
	}
	if err := t.expect(ctx, t.laptop.AccessToken, validated); err != nil {
		return "", err
	}
	return fmt.Sprintf("session %s; both services: %v", t.laptop.SID, validated), nil
}

func (t *tour) replayRefresh(ctx context.Context) (string, error) {
	stolen := wire.RefreshRequest{RefreshToken: wire.Secret(t.laptop.RefreshToken)}
	tokens, err := t.anyone.Refresh(ctx, stolen)
	if err != nil {
		return "", err
	}
	if err := pause(ctx, grace+100*time.Millisecond); err != nil {
		return "", err
	}
	if _, err := t.anyone.Refresh(ctx, stolen); !client.HasCode(err, "invalid_grant") {
		return "", fmt.Errorf("the replayed refresh token: %w", unexpected(err))
	}
	refused, err := t.refusedAfter(ctx, tokens.AccessToken, time.Now())
	if err != nil {
		return "", err
	}
	t.revoking = refused.slowest()
	return fmt.Sprintf("401 invalid_grant, and the whole session has ended: refused by %v", refused), nil
}

func (t *tour) stopBroker(ctx context.Context) (string, error) {
	for _, session := range []*wire.Tokens{&t.laptop, &t.phone} {
		tokens, err := t.anyone.Login(ctx, t.login)
		if err != nil {
			return "", err
		}
		*session = tokens
		if err := t.expect(ctx, tokens.AccessToken, validated); err != nil {
			return "", err
		}
	}
	t.broker.Stop()
	ack, err := t.as(t.laptop).Logout(ctx)
	if err != nil {
		return "", fmt.Errorf("logging out without a broker: %w", err)
	}
	acked := time.Now()
	if ack.Delivery != wire.Pending {
		return "", fmt.Errorf("the delivery without a broker is %q", ack.Delivery)
	}
	if err := pause(ctx, time.Until(acked.Add(t.bound+50*time.Millisecond))); err != nil {
		return "", err
	}
	// Nothing could tell the services, so past the bound they must not accept.
	for _, tokens := range []wire.Tokens{t.laptop, t.phone} {
		if err := t.expect(ctx, tokens.AccessToken, undecided); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("a logout is acknowledged as %s; past the bound of %v both services: %v", ack.Delivery, t.bound, undecided), nil
}

func (t *tour) startBroker(ctx context.Context) (string, error) {
	if err := t.broker.Start(); err != nil {
		return "", err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		got, err := t.call(ctx, t.services[0].URL(), t.phone.AccessToken)
		if err != nil {
			return "", err
		}
		if got == validated {
			break
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return "", fmt.Errorf("not recovered: %v: %w", got, err)
		}
	}
	recovered := time.Since(began)
	if err := t.expectSoon(ctx, t.phone.AccessToken, validated); err != nil {
		return "", err
	}
	if err := t.expect(ctx, t.laptop.AccessToken, loginAgain); err != nil {
		return "", fmt.Errorf("the session that ended meanwhile: %w", err)
	}
	if err := t.node.AwaitReady(ctx); err != nil { // it connects again by itself, but not at the same moment
		return "", err
	}
	return fmt.Sprintf("recovered %.0f ms later: %v; the session that ended meanwhile: %v", milliseconds(recovered), validated, loginAgain), nil
}

// expectSoon waits until both services answer as wanted.
func (t *tour) expectSoon(ctx context.Context, token string, want answer) error {
	for {
		err := t.expect(ctx, token, want)
		if err == nil {
			return nil
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return err
		}
	}
}

// asked is how often the services have asked the auth service about a token.
func (t *tour) asked() uint64 {
	var n uint64
	for _, s := range t.services {
		n += s.Stats().Asked
	}
	return n
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unexpected is the error of a call that should have been refused.
func unexpected(err error) error {
	if err == nil {
		return errors.New("it was accepted")
	}
	return err
}
