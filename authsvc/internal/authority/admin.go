package authority

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/password"
	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// RoleAdmin is the role that the methods of admins ask for.
const RoleAdmin = "admin"

// The methods of admins take the claims that Authenticate returned. Besides their
// own refusals each has CodeForbidden and CodeInsufficientAuthentication.

// CheckAdmin refuses claims without the role, and of a login too long ago.
func (a *Authority) CheckAdmin(c *token.Claims) error {
	if c == nil || !c.HasRole(RoleAdmin) {
		return &Error{Code: CodeForbidden, Message: "only an admin may do this", Reason: reasonNotAnAdmin}
	}
	if time.Since(time.Unix(c.AuthTime, 0)) > a.config.AdminMaxAge {
		return &Error{
			Code: CodeInsufficientAuthentication, Message: "log in again: your login is too long ago for this",
			MaxAge: a.config.AdminMaxAge, Reason: reasonLoginTooOld,
		}
	}
	return nil
}

// Accounts lists accounts.
func (a *Authority) Accounts(ctx context.Context, actor *token.Claims, q AccountQuery) (AccountPage, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return AccountPage{}, err
	}
	f := store.AccountFilter{Limit: pageLimit(q.Limit) + 1}
	var err error
	if f.After, err = parseAccountCursor(q.Cursor); err != nil {
		return AccountPage{}, err
	}
	if q.Search != "" {
		if f.Search, err = password.FoldName(q.Search); err != nil {
			return AccountPage{}, nil // no account can have such a name
		}
	}
	rows, err := a.db.Reader(ctx).Accounts(f)
	if err != nil {
		return AccountPage{}, fmt.Errorf("listing accounts: %w", err)
	}
	var page AccountPage
	if len(rows) == f.Limit {
		rows = rows[:f.Limit-1]
		last := rows[len(rows)-1]
		page.Next = strconv.FormatInt(last.CreatedAt.UnixMilli(), 10) + "." + last.Sub
	}
	for _, row := range rows {
		page.Accounts = append(page.Accounts, accountOf(row))
	}
	return page, nil
}

// pageLimit bounds what a page may hold.
func pageLimit(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}

func parseAccountCursor(cursor string) (store.Account, error) {
	if cursor == "" {
		return store.Account{}, nil
	}
	millis, sub, ok := strings.Cut(cursor, ".")
	at, err := strconv.ParseInt(millis, 10, 64)
	if !ok || err != nil || !validSub(sub) {
		return store.Account{}, badCursor()
	}
	return store.Account{CreatedAt: time.UnixMilli(at), Sub: sub}, nil
}

func badCursor() error {
	return invalidInput(Violation{"cursor", "invalid", "it is not one that this list gave"})
}

// Account returns the account with that sub, user name or e-mail address.
func (a *Authority) Account(ctx context.Context, actor *token.Claims, subOrLogin string) (Account, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return Account{}, err
	}
	account, err := findAccount(a.db.Reader(ctx), subOrLogin)
	if err != nil {
		return Account{}, fmt.Errorf("reading account: %w", err)
	}
	return accountOf(account), nil
}

func findAccount(r *store.Reader, subOrLogin string) (store.Account, error) {
	key, err := password.FoldName(subOrLogin)
	if err != nil {
		return store.Account{}, notFound("account")
	}
	account, err := r.Account(subOrLogin)
	if errors.Is(err, store.ErrNotFound) {
		account, err = r.AccountByLogin(key)
	}
	if errors.Is(err, store.ErrNotFound) {
		return store.Account{}, notFound("account")
	}
	return account, err
}

// Disable ends all sessions of an account and lets it log in no more. To disable
// one that is disabled ends its sessions again, which is harmless.
func (a *Authority) Disable(ctx context.Context, actor *token.Claims, sub, reason string) (Ack, error) {
	if err := errors.Join(a.CheckAdmin(actor), checkReason(reason)); err != nil {
		return Ack{}, err
	}
	return a.end(ctx, actor.Subject, func(tx *store.Tx) (events.Revocation, error) {
		account, err := usableAccount(tx, sub)
		if err != nil {
			return events.Revocation{}, err
		}
		record, err := a.revokeUser(tx, sub, "", reason, actor.Subject)
		if err != nil || account.Status == store.AccountDisabled {
			return record, err
		}
		if err := tx.SetAccountStatus(sub, store.AccountDisabled); err != nil {
			return events.Revocation{}, err
		}
		return record, a.emit(tx, events.AccountDisabled{Sub: sub, Rev: record.Rev, Reason: reason, Actor: actor.Subject})
	})
}

// Enable lets a disabled account log in again. Its old sessions stay ended. To
// enable one that is active does nothing.
func (a *Authority) Enable(ctx context.Context, actor *token.Claims, sub, reason string) error {
	if err := errors.Join(a.CheckAdmin(actor), checkReason(reason)); err != nil {
		return err
	}
	err := a.db.Write(ctx, func(tx *store.Tx) error {
		account, err := usableAccount(tx, sub)
		if err != nil || account.Status == store.AccountActive {
			return err
		}
		if err := tx.SetAccountStatus(sub, store.AccountActive); err != nil {
			return err
		}
		return a.emit(tx, events.AccountEnabled{Sub: sub, Reason: reason, Actor: actor.Subject})
	})
	if err != nil {
		return fmt.Errorf("enabling account: %w", err)
	}
	a.log.InfoContext(ctx, "account enabled", "sub", sub, "actor", actor.Subject, "reason", reason)
	return nil
}

// usableAccount returns an account that is not deleted.
func usableAccount(tx *store.Tx, sub string) (store.Account, error) {
	if !validSub(sub) {
		return store.Account{}, notFound("account")
	}
	account, err := tx.Account(sub)
	if errors.Is(err, store.ErrNotFound) || err == nil && account.Status == store.AccountDeleted {
		return store.Account{}, notFound("account")
	}
	return account, err
}

// AccountSessions lists the live sessions of a user, oldest first.
func (a *Authority) AccountSessions(ctx context.Context, actor *token.Claims, sub string) ([]Session, error) {
	if err := a.CheckAdmin(actor); err != nil {
		return nil, err
	}
	if !validSub(sub) {
		return nil, notFound("account")
	}
	if _, err := a.db.Reader(ctx).Account(sub); errors.Is(err, store.ErrNotFound) {
		return nil, notFound("account")
	} else if err != nil {
		return nil, fmt.Errorf("reading account: %w", err)
	}
	return a.liveSessions(ctx, sub, actor.SessionID)
}

// AdminEndSession ends anybody's session. It is CodeNotFound for one that the
// database does not have; Revoke takes that, too.
func (a *Authority) AdminEndSession(ctx context.Context, actor *token.Claims, sid, reason string) (Ack, error) {
	if err := errors.Join(a.CheckAdmin(actor), checkReason(reason)); err != nil {
		return Ack{}, err
	}
	if !validID(sid, maxSID) {
		return Ack{}, notFound("session")
	}
	return a.end(ctx, actor.Subject, func(tx *store.Tx) (events.Revocation, error) {
		s, err := tx.Session(sid)
		if errors.Is(err, store.ErrNotFound) {
			return events.Revocation{}, notFound("session")
		}
		if err != nil {
			return events.Revocation{}, err
		}
		return a.revokeSession(tx, s.Sub, sid, reason, actor.Subject)
	})
}
