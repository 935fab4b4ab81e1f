package store

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Service is a confidential client: who may introspect and revoke.
type Service struct {
	ClientID, Name string
	SecretHash     Hash `json:"-"`
	// Audiences are those whose tokens the service may ask about.
	Audiences []string
	CreatedAt time.Time
}

const serviceColumns = "c.client_id, c.name, c.secret_hash, c.audiences, c.created_at"

func scanService(row scanner) (Service, error) {
	var s Service
	var hash []byte
	var audiences string
	err := row.Scan(&s.ClientID, &s.Name, &hash, &audiences, moment{&s.CreatedAt})
	copy(s.SecretHash[:], hash)
	s.Audiences = strings.Fields(audiences)
	return s, err
}

// Service returns a service.
func (r *Reader) Service(clientID string) (Service, error) {
	return one(r, scanService, "SELECT "+serviceColumns+" FROM services c WHERE c.client_id = $1", clientID)
}

// Services lists all services by their client id.
func (r *Reader) Services() ([]Service, error) {
	return all(r, scanService, "SELECT "+serviceColumns+" FROM services c ORDER BY c.client_id")
}

// PutService adds a service or replaces it; CreatedAt is now or stays.
func (tx *Tx) PutService(s Service) error {
	_, err := tx.exec(`INSERT INTO services (client_id, name, secret_hash, audiences, created_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client_id) DO UPDATE
		SET name = excluded.name, secret_hash = excluded.secret_hash, audiences = excluded.audiences`,
		s.ClientID, s.Name, s.SecretHash[:], strings.Join(s.Audiences, " "), millis(tx.now))
	if err != nil {
		return fmt.Errorf("saving service %s: %w", s.ClientID, err)
	}
	return nil
}

// DeleteService removes a service.
func (tx *Tx) DeleteService(clientID string) error {
	if err := tx.change("DELETE FROM services WHERE client_id = $1", clientID); err != nil {
		return fmt.Errorf("deleting service %s: %w", clientID, err)
	}
	return nil
}

// Bootstrap is the one-time secret that makes the first admin.
type Bootstrap struct {
	Set    bool // there is or was one
	UsedAt time.Time
}

// Bootstrap returns the state of the one-time secret.
func (r *Reader) Bootstrap() (Bootstrap, error) {
	state, err := one(r, func(row scanner) (Bootstrap, error) {
		b := Bootstrap{Set: true}
		err := row.Scan(moment{&b.UsedAt})
		return b, err
	}, "SELECT b.used_at FROM bootstrap b WHERE b.id = 1")
	if errors.Is(err, ErrNotFound) {
		return Bootstrap{}, nil
	}
	return state, err
}

// SetBootstrapSecret sets the one-time secret, in place of an earlier one that
// nobody has used. It reports whether it did: after the first use there is no other.
func (tx *Tx) SetBootstrapSecret(secret Hash) (bool, error) {
	n, err := tx.exec(`INSERT INTO bootstrap (id, secret_hash, created_at) VALUES (1, $1, $2)
		ON CONFLICT (id) DO UPDATE SET secret_hash = excluded.secret_hash, created_at = excluded.created_at
		WHERE bootstrap.used_at IS NULL`, secret[:], millis(tx.now))
	if err != nil {
		return false, fmt.Errorf("setting the bootstrap secret: %w", err)
	}
	return n == 1, nil
}

// UseBootstrapSecret reports whether secret is the one-time secret, and uses it up.
func (tx *Tx) UseBootstrapSecret(secret Hash) (bool, error) {
	n, err := tx.exec("UPDATE bootstrap SET used_at = $1 WHERE secret_hash = $2 AND used_at IS NULL",
		millis(tx.now), secret[:])
	if err != nil {
		return false, fmt.Errorf("using the bootstrap secret: %w", err)
	}
	return n == 1, nil
}
