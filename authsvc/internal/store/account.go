package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AccountStatus says whether an account can be used.
type AccountStatus string

// The states of an account.
const (
	AccountActive   AccountStatus = "active"
	AccountDisabled AccountStatus = "disabled"
	AccountDeleted  AccountStatus = "deleted" // for ever; only its Sub is left
)

// Account is a user.
type Account struct {
	// Sub is the opaque id, never used for another account.
	Sub string
	// Username and Email are as the user wrote them; the keys are what they are
	// compared by, unique among accounts. Email is optional.
	Username, UsernameKey string
	Email, EmailKey       string
	// PasswordHash is in PHC string form.
	PasswordHash string `json:"-"`
	Roles        []string
	Status       AccountStatus
	// RevokedRev is the revision of the last revocation of the user: sessions with
	// a smaller one are dead.
	RevokedRev           uint64
	CreatedAt, UpdatedAt time.Time
}

// HasRole reports whether the account has a role.
func (a Account) HasRole(role string) bool {
	return slices.Contains(a.Roles, role)
}

const accountColumns = `a.sub, a.username, a.username_key, a.email, a.email_key, a.password_hash, a.roles, a.status,
	a.revoked_rev, a.created_at, a.updated_at`

// accountScan holds what needs a conversion after the scan.
type accountScan struct {
	account               Account
	usernameKey, emailKey sql.Null[string]
	roles                 string
}

func (s *accountScan) fields() []any {
	a := &s.account
	return []any{
		&a.Sub, &a.Username, &s.usernameKey, &a.Email, &s.emailKey, &a.PasswordHash, &s.roles, &a.Status,
		&a.RevokedRev,
		moment{&a.CreatedAt},
		moment{&a.UpdatedAt},
	}
}

func (s *accountScan) result() Account {
	s.account.UsernameKey, s.account.EmailKey = s.usernameKey.V, s.emailKey.V
	s.account.Roles = strings.Fields(s.roles)
	return s.account
}

func scanAccount(row scanner) (Account, error) {
	var s accountScan
	if err := row.Scan(s.fields()...); err != nil {
		return Account{}, err
	}
	return s.result(), nil
}

// Account returns the account of a subject, a deleted one too.
func (r *Reader) Account(sub string) (Account, error) {
	return one(r, scanAccount, "SELECT "+accountColumns+" FROM accounts a WHERE a.sub = $1", sub)
}

// AccountByLogin returns the account whose user name or e-mail has the key.
// Deleted accounts have neither.
func (r *Reader) AccountByLogin(key string) (Account, error) {
	return one(r, scanAccount, "SELECT "+accountColumns+" FROM accounts a WHERE a.username_key = $1 OR a.email_key = $1", key)
}

// AccountFilter chooses accounts, oldest first. Empty fields choose everything.
type AccountFilter struct {
	// Search is the beginning of a user name's or an e-mail's key, or a whole sub.
	Search string
	Status AccountStatus
	// After is the last account of the page before; only CreatedAt and Sub count.
	After Account
	// Limit is the most accounts wanted.
	Limit int
}

// Accounts lists accounts in the order of their creation.
func (r *Reader) Accounts(f AccountFilter) ([]Account, error) {
	prefix := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Search) + "%"
	after := int64(-1 << 62) // before any time
	if !f.After.CreatedAt.IsZero() {
		after = f.After.CreatedAt.UnixMilli()
	}
	return all(r, scanAccount, "SELECT "+accountColumns+` FROM accounts a
		WHERE (a.created_at > $1 OR a.created_at = $1 AND a.sub > $2) AND ($3 = '' OR a.status = $3)
			AND ($4 = '' OR a.sub = $4 OR a.username_key LIKE $5 ESCAPE '\' OR a.email_key LIKE $5 ESCAPE '\')
		ORDER BY a.created_at, a.sub LIMIT $6`,
		after, f.After.Sub, string(f.Status), f.Search, prefix, f.Limit)
}

// CreateAccount adds an account; CreatedAt and UpdatedAt are now, Status is
// active where it is empty. A [*NameTakenError] says which name another account
// holds. A user name that is another's e-mail address counts as taken, and the
// other way round, so that a login name means one account.
func (tx *Tx) CreateAccount(a Account) error {
	if err := tx.checkNameFree("username", a.UsernameKey); err != nil {
		return err
	}
	if err := tx.checkNameFree("email", a.EmailKey); err != nil {
		return err
	}
	if a.Status == "" {
		a.Status = AccountActive
	}
	_, err := tx.exec(`INSERT INTO accounts
			(sub, username, username_key, email, email_key, password_hash, roles, status, revoked_rev, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
		a.Sub, a.Username, textOrNull(a.UsernameKey), a.Email, textOrNull(a.EmailKey), a.PasswordHash,
		strings.Join(a.Roles, " "), string(a.Status), a.RevokedRev, millis(tx.now))
	if err != nil {
		return fmt.Errorf("creating account: %w", err)
	}
	return nil
}

// checkNameFree can look before it writes, because writes are serial.
func (tx *Tx) checkNameFree(field, key string) error {
	if key == "" {
		return nil
	}
	_, err := tx.AccountByLogin(key)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("creating account: %w", err)
	}
	return &NameTakenError{Field: field}
}

// SetPasswordHash replaces the password's hash.
func (tx *Tx) SetPasswordHash(sub, phc string) error {
	return tx.changeAccount(sub, "password_hash = $1", phc)
}

// SetAccountStatus makes an account active or disabled. A deleted one stays deleted.
func (tx *Tx) SetAccountStatus(sub string, status AccountStatus) error {
	return tx.changeAccount(sub, "status = $1", string(status))
}

// SetRoles replaces the account's roles.
func (tx *Tx) SetRoles(sub string, roles []string) error {
	return tx.changeAccount(sub, "roles = $1", strings.Join(roles, " "))
}

func (tx *Tx) changeAccount(sub, assignment, value string) error {
	err := tx.change("UPDATE accounts SET "+assignment+", updated_at = $2 WHERE sub = $3 AND status <> 'deleted'",
		value, millis(tx.now), sub)
	if err != nil {
		return fmt.Errorf("changing account %s: %w", sub, err)
	}
	return nil
}

// DeleteAccount deletes an account: its names are free again, its password is
// gone, its sub stays taken. To end its sessions is up to the caller.
func (tx *Tx) DeleteAccount(sub string) error {
	err := tx.change(`UPDATE accounts SET status = 'deleted', username = '', username_key = NULL, email = '',
			email_key = NULL, password_hash = '', roles = '', updated_at = $1
		WHERE sub = $2 AND status <> 'deleted'`, millis(tx.now), sub)
	if err != nil {
		return fmt.Errorf("deleting account %s: %w", sub, err)
	}
	return nil
}
