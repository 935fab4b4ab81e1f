package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Authenticate verifies an access token that was presented to the auth service
// itself. The refusal is CodeInvalidToken for whatever reason.
func (a *Authority) Authenticate(ctx context.Context, raw string) (*token.Claims, error) {
	return a.Verify(ctx, raw, Audience)
}

// Verify verifies an access token that was presented to the service audience, by
// the database: the answer is never stale. The refusal is CodeInvalidToken for
// whatever reason; Reason and Err tell which, and are not for the bearer.
func (a *Authority) Verify(ctx context.Context, raw, audience string) (*token.Claims, error) {
	claims, err := a.verifySignature(ctx, raw, audience)
	if err != nil {
		return nil, err
	}
	v, err := a.judgeToken(ctx, claims.Ref())
	if err != nil {
		return nil, fmt.Errorf("verifying a token: %w", err)
	}
	if v.dead != "" {
		return nil, invalidToken(v.dead, nil)
	}
	return claims, nil
}

// verifySignature checks all of a token that needs no database. Only a key that
// another replica has just made makes it look there.
func (a *Authority) verifySignature(ctx context.Context, raw, audience string) (*token.Claims, error) {
	profile := token.Profile{Issuer: a.config.Issuer, Audience: audience}
	claims, err := profile.Verify(raw, a.keys.KeySet(), time.Now())
	var refused *token.Error
	if errors.As(err, &refused) && refused.Reason == token.ReasonUnknownKID {
		if err := a.keys.CatchUp(ctx); err != nil {
			return nil, fmt.Errorf("verifying a token: %w", err)
		}
		claims, err = profile.Verify(raw, a.keys.KeySet(), time.Now())
		if a.ofKilledKey(profile, raw, err) {
			return nil, invalidToken(reasonRevokedKey, err)
		}
	}
	if errors.As(err, &refused) {
		return nil, invalidToken(string(refused.Reason), err)
	}
	return claims, err
}

// ofKilledKey reports whether a token was refused because its key was killed: with any
// other it might be good.
func (a *Authority) ofKilledKey(profile token.Profile, raw string, err error) bool {
	refused, ok := errors.AsType[*token.Error](err)
	if !ok || refused.Reason != token.ReasonUnknownKID {
		return false
	}
	claims, err := profile.VerifyVouched(raw, time.Now())
	return err == nil && a.keys.Killed(claims.KeyID)
}

// verdict is what the database says of a token.
type verdict struct {
	head    store.Head
	records []events.Revocation
	dead    string // why it is; empty for a token that is good
}

// judgeToken decides by what is committed now.
func (a *Authority) judgeToken(ctx context.Context, ref events.TokenRef) (verdict, error) {
	var found store.TokenRecords
	var state store.SessionState
	missing := false
	err := a.db.Snapshot(ctx, func(r *store.Reader) (err error) {
		if found, err = r.TokenRecords(ref); err != nil {
			return err
		}
		state, err = r.SessionState(ref.SID)
		if errors.Is(err, store.ErrNotFound) {
			missing, err = true, nil
		}
		return err
	})
	if err != nil {
		return verdict{}, err
	}
	v := verdict{head: found.Head, records: inEpoch(found.Epoch, found.Records)}
	v.dead = verdictOn(ref, v, state)
	if v.dead == "" && missing {
		v.dead = reasonUnknown // no session of ours: nobody can say that it lives
	}
	return v, nil
}

func verdictOn(ref events.TokenRef, v verdict, state store.SessionState) string {
	switch {
	case covered(ref, v.records):
		return reasonRevoked
	case ref.Rev > v.head.Rev:
		return reasonAhead // not minted from this log
	case state.Session.SID == "":
		return ""
	case state.Account.Sub != ref.Sub:
		return reasonUnknown
	case state.Account.Status != store.AccountActive:
		return reasonInactive
	case revoked(state):
		return reasonRevoked
	}
	return ""
}

func covered(ref events.TokenRef, records []events.Revocation) bool {
	return slices.ContainsFunc(records, func(r events.Revocation) bool { return r.Covers(ref) })
}

// inEpoch lets records speak of the log as it is called now. Those of an earlier
// epoch kept their revisions, which are below all of this one.
func inEpoch(epoch string, records []events.Revocation) []events.Revocation {
	for i := range records {
		records[i].Epoch = epoch
	}
	return records
}
