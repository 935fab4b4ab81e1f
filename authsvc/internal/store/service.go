package store

import (
	"fmt"
	"strings"
	"time"
)

// Service is a confidential client: who may introspect and revoke.
type Service struct {
	ClientID, Name string
	SecretHash     Hash `json:"-"`
	// PreviousHash is that of the secret before, which works until PreviousUntil;
	// zero where there is none.
	PreviousHash  Hash `json:"-"`
	PreviousUntil time.Time
	// Audiences are those whose tokens the service may ask about.
	Audiences []string
	CreatedAt time.Time
}

const serviceColumns = "c.client_id, c.name, c.secret_hash, c.previous_hash, c.previous_until, c.audiences, c.created_at"

func scanService(row scanner) (Service, error) {
	var s Service
	var hash, previous []byte
	var audiences string
	err := row.Scan(&s.ClientID, &s.Name, &hash, &previous, moment{&s.PreviousUntil}, &audiences, moment{&s.CreatedAt})
	copy(s.SecretHash[:], hash)
	copy(s.PreviousHash[:], previous)
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
	_, err := tx.exec(`INSERT INTO services (client_id, name, secret_hash, previous_hash, previous_until, audiences, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (client_id) DO UPDATE
		SET name = excluded.name, secret_hash = excluded.secret_hash, previous_hash = excluded.previous_hash,
			previous_until = excluded.previous_until, audiences = excluded.audiences`,
		s.ClientID, s.Name, s.SecretHash[:], s.PreviousHash[:], millis(s.PreviousUntil), strings.Join(s.Audiences, " "), millis(tx.now))
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
