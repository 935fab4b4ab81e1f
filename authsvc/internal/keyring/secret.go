package keyring

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// Errors of a keyring that signs with a shared secret.
var (
	// ErrKilledSecret is returned where the shared secret has been killed: nothing
	// can be signed until another is configured.
	ErrKilledSecret = errors.New("the shared secret has been killed: configure another one, at the auth service and at every verifier")
	// ErrNotRotated is returned where a shared secret was to be rotated here.
	ErrNotRotated = errors.New("a shared secret is not rotated here: it is replaced in the configuration of the auth service and of every verifier")
)

func (c Config) shared() bool { return !c.Secret.IsZero() }

// secretRows returns the rows of shared secrets. They hold no secret: a row is
// there so that one that was killed stays dead for good.
func secretRows(rows []store.SigningKey) []store.SigningKey {
	var found []store.SigningKey
	for _, row := range rows {
		if isSecret(row) {
			found = append(found, row)
		}
	}
	return found
}

func isSecret(row store.SigningKey) bool { return row.Alg == string(token.AlgHS256) }

// stateOfSecret is the state that the configuration gives the secret of that kid.
func (c Config) stateOfSecret(kid string) store.KeyState {
	switch kid {
	case c.Secret.ID():
		return store.KeyActive
	case c.PreviousSecret.ID():
		return store.KeyPublished
	}
	return store.KeyRetired
}

// adopt writes down which shared secrets are configured now. That changes the
// version of the keys whenever the way of signing has changed, so that verifiers
// look. The error is ErrKilledSecret where the current secret is dead.
func (k *Keyring) adopt(ctx context.Context, rows []store.SigningKey) error {
	if k.toAdopt(rows) {
		err := k.db.Write(ctx, func(tx *store.Tx) (err error) {
			if rows, err = tx.Keys(); err != nil {
				return err
			}
			if rows, err = k.addSecrets(tx, rows); err != nil {
				return err
			}
			for _, row := range secretRows(rows) {
				if err := k.settle(tx, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if kid := k.config.PreviousSecret.ID(); kid != "" && killed(rows, kid) {
		k.config.Logger.WarnContext(ctx, "the previous shared secret has been killed: it accepts nothing, take it out of the configuration", "kid", kid)
	}
	return k.config.checkKilled(rows) // after it was written down that it is dead
}

// toAdopt reports whether the rows say something else than the configuration.
func (k *Keyring) toAdopt(rows []store.SigningKey) bool {
	known := map[string]bool{}
	for _, row := range secretRows(rows) {
		known[row.KID] = true
		if row.State != store.KeyKilled && row.State != k.config.stateOfSecret(row.KID) {
			return true
		}
	}
	for _, s := range k.config.secrets() {
		if !known[s.ID()] {
			return true
		}
	}
	return false
}

// secrets returns those that are configured: the current one first.
func (c Config) secrets() []token.Secret {
	var all []token.Secret
	for _, s := range []token.Secret{c.Secret, c.PreviousSecret} {
		if !s.IsZero() {
			all = append(all, s)
		}
	}
	return all
}

// addSecrets adds the rows of secrets that are new here, and returns all rows. One
// that the log has revoked by its kid already is dead from the beginning.
func (k *Keyring) addSecrets(tx *store.Tx, rows []store.SigningKey) ([]store.SigningKey, error) {
	for _, s := range k.config.secrets() {
		if _, err := tx.Key(s.ID()); !errors.Is(err, store.ErrNotFound) {
			if err != nil {
				return nil, err
			}
			continue
		}
		row := store.SigningKey{
			KID: s.ID(), Purpose: store.KeyForTokens, Alg: string(token.AlgHS256), State: store.KeyRetired,
			Public: []byte(s.ID()), // all that is public of it
		}
		found, err := tx.TokenRecords(events.TokenRef{KID: s.ID()})
		if err != nil {
			return nil, err
		}
		for _, record := range found.Records {
			if record.Scope == events.ScopeKey && record.ID == s.ID() {
				row.State = store.KeyKilled
			}
		}
		if err := tx.AddKey(row); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// settle gives a secret's row the state that the configuration gives it.
func (k *Keyring) settle(tx *store.Tx, row store.SigningKey) error {
	state := k.config.stateOfSecret(row.KID)
	if row.State == store.KeyKilled || row.State == state {
		return nil
	}
	row.State = state
	if state == store.KeyActive {
		row.ActivateAt = tx.Now()
	}
	if err := tx.UpdateKey(row); err != nil {
		return err
	}
	switch state {
	case store.KeyActive:
		return tx.Emit(k.config.Issuer, events.KeyActivated{KID: row.KID, Alg: row.Alg})
	case store.KeyRetired:
		return tx.Emit(k.config.Issuer, events.KeyRetired{KID: row.KID, Alg: row.Alg})
	}
	return nil
}

// strangers returns an error where the rows hold a secret that signs and that is
// not configured here: another replica's, or the one before.
func (c Config) strangers(rows []store.SigningKey) error {
	for _, row := range secretRows(rows) {
		if row.State == store.KeyActive && c.stateOfSecret(row.KID) == store.KeyRetired {
			return fmt.Errorf("the shared secret %s signs, and is not configured here: its tokens are refused", row.KID)
		}
	}
	return nil
}

// conflictWith says how replicas that wrote down their configuration later than this
// one differ from it, so that one refuses what the other signs; nil if none does.
func (c Config) conflictWith(rows []store.SigningKey) error {
	for _, row := range secretRows(rows) {
		if c.shared() && row.KID == c.Secret.ID() && row.State == store.KeyRetired {
			return fmt.Errorf("the shared secret %s signs here, and is not configured at another replica: its tokens are refused there", row.KID)
		}
	}
	return c.strangers(rows)
}

// reportConflict logs a conflict when it is new. It is no reason to stop: which of
// the replicas is wrong cannot be told from here. The caller holds k.reloading.
func (k *Keyring) reportConflict(ctx context.Context, rows []store.SigningKey) {
	text := ""
	if err := k.config.conflictWith(rows); err != nil {
		text = err.Error()
	}
	if text != "" && text != k.conflict {
		k.config.Logger.ErrorContext(ctx, "replicas of the auth service sign differently", "error", text)
	}
	k.conflict = text
}

// checkKnown refuses a secret that is a public key here, or a member of its JWK: those
// are bytes that look random, and everybody knows them.
func (c Config) checkKnown(rows []store.SigningKey) error {
	for _, row := range rows {
		if isSecret(row) {
			continue
		}
		key, err := publicKey(row)
		if err != nil {
			return err
		}
		for _, public := range publicBytes(key.Public) {
			if c.Secret.Is(public) || c.PreviousSecret.Is(public) {
				return fmt.Errorf("the shared secret is the public key %s", row.KID)
			}
		}
	}
	return nil
}

// publicBytes returns the bytes of a public key without a form that tells them from
// random ones.
func publicBytes(public crypto.PublicKey) [][]byte {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return [][]byte{k}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			return nil // no key that was stored here
		}
		half := len(point) / 2
		x, y := point[1:1+half], point[1+half:]
		return [][]byte{x, y, point[1:], slices.Concat([]byte{2 + y[half-1]&1}, x)} // the last: SEC 1 §2.3.3, compressed
	case *rsa.PublicKey:
		return [][]byte{k.N.Bytes()}
	}
	return nil
}

// checkKilled refuses to sign with a secret that is dead.
func (c Config) checkKilled(rows []store.SigningKey) error {
	if c.shared() && killed(rows, c.Secret.ID()) {
		return fmt.Errorf("secret %s: %w", c.Secret.ID(), ErrKilledSecret)
	}
	return nil
}

func killed(rows []store.SigningKey, kid string) bool {
	for _, row := range rows {
		if row.KID == kid && row.State == store.KeyKilled {
			return true
		}
	}
	return false
}

// MayMint reports, in the transaction that is about to grant a token, whether it
// can be signed. It is nil or [ErrKilledSecret], unless the database fails.
func (k *Keyring) MayMint(tx *store.Tx) error {
	if !k.config.shared() {
		return nil
	}
	r := k.ring.Load()
	rows := r.rows
	if tx.Head().KeysVersion != r.version {
		var err error
		if rows, err = tx.Keys(); err != nil {
			return err
		}
	}
	return k.config.checkKilled(rows)
}

// SharedSecrets returns the kid of the shared secret that signs, and of those that
// were killed at least the latest. Both are empty where tokens are signed with a
// key pair; the first also where the secret is dead.
func (k *Keyring) SharedSecrets() (signing string, killed []string) {
	r := k.ring.Load()
	if signing = r.secret.ID(); slices.Contains(r.killed, signing) {
		signing = ""
	}
	return signing, slices.Clone(r.killed)
}

// addSecrets makes the ring one of shared secrets: nothing of them is published,
// and no public key for tokens is in it.
func (r *ring) addSecrets(c Config) (err error) {
	var alive []token.Secret
	for _, s := range c.secrets() {
		if !killed(r.rows, s.ID()) {
			alive = append(alive, s)
		}
	}
	r.secret, r.alg = c.Secret, token.AlgHS256
	for _, row := range secretRows(r.rows) {
		if row.State == store.KeyKilled {
			r.killed = append(r.killed, row.KID)
		}
	}
	r.killed = r.killed[max(0, len(r.killed)-events.MaxKilledSecrets):]
	if r.set, err = token.NewSecretSet(alive...); err != nil {
		return err
	}
	r.jwks, err = token.MarshalJWKS(nil)
	return err
}
