package httpapi

import (
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/client"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
)

func TestUserJourney(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	me := must[wire.Me](t)(ada.Me(t.Context()))
	if me.Account.Username != "ada" || me.Account.Sub != ada.tokens.Sub || me.SID != ada.tokens.SID {
		t.Errorf("me = %+v", me)
	}
	verified := must[wire.Verified](t)(ada.Verify(t.Context()))
	if verified.Sub != ada.tokens.Sub || verified.SID != ada.tokens.SID {
		t.Errorf("verified = %+v", verified)
	}

	phone := w.logIn(t, "ADA") // user names are the same in any case
	sessions := must[wire.Sessions](t)(phone.Sessions(t.Context())).Sessions
	if len(sessions) != 2 {
		t.Fatalf("sessions = %+v", sessions)
	}
	for _, s := range sessions {
		if s.Current != (s.SID == phone.tokens.SID) || !strings.HasPrefix(s.UserAgent, "Go-http-client") || s.Address != "127.0.0.1" {
			t.Errorf("session = %+v", s)
		}
	}

	first := ada.tokens.RefreshToken
	ada = w.holding(must[wire.Tokens](t)(w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(first)})))
	again := must[wire.Tokens](t)(w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(first)}))
	if again.RefreshToken != ada.tokens.RefreshToken {
		t.Error("the same refresh token shown again at once gave another successor")
	}

	ack := must[wire.Ack](t)(phone.Logout(t.Context()))
	if ack.Rev == 0 || ack.Epoch == "" || ack.Delivery != wire.Pending {
		t.Errorf("ack = %+v, want a revision that is pending, for there is no bus", ack)
	}
	_, err := phone.Me(t.Context())
	wantCode(t, err, "invalid_token")
	must[wire.Me](t)(ada.Me(t.Context()))
}

func TestLoggingOutEverywhereButHere(t *testing.T) {
	w := newWorld(t)
	here, there := w.join(t, "ada"), w.logIn(t, "ada")
	kept := must[wire.AckTokens](t)(here.EndAll(t.Context(), true))
	if kept.Tokens == nil || kept.Tokens.SID != here.tokens.SID || kept.Tokens.RefreshToken != "" {
		t.Fatalf("kept = %+v", kept)
	}
	_, err := here.Me(t.Context())
	wantCode(t, err, "invalid_token") // the token from before
	_, err = there.Me(t.Context())
	wantCode(t, err, "invalid_token")
	here = w.holding(*kept.Tokens)
	must[wire.Me](t)(here.Me(t.Context()))

	gone := must[wire.AckTokens](t)(here.EndAll(t.Context(), false))
	if gone.Tokens != nil || gone.Rev <= kept.Rev {
		t.Errorf("gone = %+v", gone)
	}
	_, err = here.Me(t.Context())
	wantCode(t, err, "invalid_token")
	must[wire.Me](t)(w.logIn(t, "ada").Me(t.Context()))
}

func TestChangingThePassword(t *testing.T) {
	w := newWorld(t)
	here, there := w.join(t, "ada"), w.logIn(t, "ada")
	const next = "eight green herons hum"
	_, err := here.ChangePassword(t.Context(), wire.PasswordRequest{CurrentPassword: "not this one", NewPassword: next})
	wantCode(t, err, "wrong_password")
	_, err = here.ChangePassword(t.Context(), wire.PasswordRequest{CurrentPassword: goodPassword, NewPassword: "short"})
	wantField(t, err, "new_password", "too_short")
	changed := must[wire.AckTokens](t)(here.ChangePassword(t.Context(),
		wire.PasswordRequest{CurrentPassword: goodPassword, NewPassword: next}))
	if changed.Tokens == nil {
		t.Fatal("the session that asked got no fresh token")
	}
	must[wire.Me](t)(w.holding(*changed.Tokens).Me(t.Context()))
	_, err = there.Me(t.Context())
	wantCode(t, err, "invalid_token")
	_, err = w.client.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: goodPassword})
	wantCode(t, err, "invalid_credentials")
	must[wire.Tokens](t)(w.client.Login(t.Context(), wire.LoginRequest{Login: "ada@example.org", Password: next}))
}

func TestDeletingTheAccount(t *testing.T) {
	w := newWorld(t)
	ada := w.join(t, "ada")
	_, err := ada.DeleteMe(t.Context(), wire.DeleteMeRequest{Password: "not this one"})
	wantCode(t, err, "wrong_password")
	must[wire.Ack](t)(ada.DeleteMe(t.Context(), wire.DeleteMeRequest{Password: goodPassword}))
	_, err = ada.Me(t.Context())
	wantCode(t, err, "invalid_token")
	_, err = w.client.Login(t.Context(), wire.LoginRequest{Login: "ada", Password: goodPassword})
	wantCode(t, err, "invalid_credentials")
	if again := w.join(t, "ada"); again.tokens.Sub == ada.tokens.Sub {
		t.Error("the sub was used again")
	}
}

func TestEndingOneOfMySessions(t *testing.T) {
	w := newWorld(t)
	here, there := w.join(t, "ada"), w.logIn(t, "ada")
	must[wire.Ack](t)(here.EndSession(t.Context(), there.tokens.SID))
	_, err := there.Me(t.Context())
	wantCode(t, err, "invalid_token")
	_, err = w.client.Refresh(t.Context(), wire.RefreshRequest{RefreshToken: wire.Secret(there.tokens.RefreshToken)})
	wantCode(t, err, "invalid_grant")
	must[wire.Me](t)(here.Me(t.Context()))
}

func TestRegistrationNamesEveryViolation(t *testing.T) {
	w := newWorld(t)
	w.join(t, "ada")
	_, err := w.client.Register(t.Context(), wire.RegisterRequest{})
	for _, field := range []string{"username", "email", "password"} {
		wantField(t, err, field, "required")
	}
	_, err = w.client.Register(t.Context(), wire.RegisterRequest{
		Username: "Ada", Email: "other@example.org", Password: goodPassword,
	})
	wantCode(t, err, "account_exists")
	_, err = w.client.Register(t.Context(), wire.RegisterRequest{
		Username: "grace", Email: "no address", Password: goodPassword,
	})
	wantField(t, err, "email", "")
}

// wantField fails the test unless err names the field, with the code unless it is empty.
func wantField(t *testing.T, err error, field, code string) {
	t.Helper()
	wantCode(t, err, "invalid_input")
	if p, ok := err.(*client.Problem); ok { //nolint:errorlint // wantCode has looked
		for _, v := range p.Errors {
			if v.Field == field && (code == "" || v.Code == code) {
				return
			}
		}
	}
	t.Errorf("got %v, want a violation %s of %s", err, code, field)
}
