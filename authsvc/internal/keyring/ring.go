package keyring

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/authbus/authbus/authsvc/internal/store"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/token"
)

// ring is one version of the keys, ready for use. It never changes.
type ring struct {
	version uint64
	rows    []store.SigningKey
	jwks    json.RawMessage
	set     *token.KeySet

	kid    string // of the key that signs tokens
	alg    token.Alg
	signer crypto.Signer
	secret token.Secret // signs in place of signer where it is not zero
	killed []string     // the shared secrets that were, where there is one

	feedKID     string
	feed        ed25519.PrivateKey
	feedPublics []events.FeedKey
}

// newRing opens the keys of the database.
func newRing(c Config, version uint64, rows []store.SigningKey) (*ring, error) {
	r := &ring{version: version, rows: rows}
	err := r.addFeedKey(c.Master)
	switch {
	case err != nil:
	case c.shared():
		err = r.addSecrets(c)
	default:
		err = r.addTokenKeys(c.Master)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *ring) addTokenKeys(m MasterKey) error {
	published := tokenKeys(r.rows, stateActive, statePublished, stateRetiring)
	publics := make([]token.Key, 0, len(published))
	for _, row := range published {
		public, err := publicKey(row)
		if err != nil {
			return err
		}
		publics = append(publics, public)
		if stateOf(row) == stateRetiring {
			continue // its private half is gone
		}
		// A key that is only going to sign is opened as well: what is wrong with
		// it should come out before it is needed.
		private, err := privateKey(m, row)
		if err != nil {
			return err
		}
		if stateOf(row) == stateActive {
			r.kid, r.alg, r.signer = row.KID, token.Alg(row.Alg), private
		}
	}
	if r.signer == nil {
		return errors.New("no signing key is active")
	}
	var err error
	if r.set, err = token.NewKeySet(publics...); err != nil {
		return err
	}
	r.jwks, err = token.MarshalJWKS(publics)
	return err
}

func (r *ring) addFeedKey(m MasterKey) error {
	for _, row := range feedKeys(r.rows) {
		private, err := privateKey(m, row)
		if err != nil {
			return err
		}
		key, ok := private.(ed25519.PrivateKey)
		if !ok {
			return fmt.Errorf("feed key %s is a %T", row.KID, private)
		}
		r.feedKID, r.feed = row.KID, key
		public, _ := key.Public().(ed25519.PublicKey)
		r.feedPublics = append(r.feedPublics, events.FeedKey{ID: row.KID, Public: public})
	}
	if r.feed == nil {
		return errors.New("there is no feed key")
	}
	return nil
}

func feedKeys(rows []store.SigningKey) []store.SigningKey {
	var found []store.SigningKey
	for _, k := range rows {
		if k.Purpose == store.KeyForFeed && k.State == store.KeyActive {
			found = append(found, k)
		}
	}
	return found
}
