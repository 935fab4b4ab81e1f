package store

import (
	"fmt"
	"time"
)

// Lease is a task that one process at a time does.
type Lease struct {
	Name, Holder string
	Until        time.Time
}

// Lease returns who holds or last held a lease.
func (r *Reader) Lease(name string) (Lease, error) {
	return one(r, func(row scanner) (Lease, error) {
		var l Lease
		err := row.Scan(&l.Name, &l.Holder, moment{&l.Until})
		return l, err
	}, "SELECT l.name, l.holder, l.until FROM lease l WHERE l.name = $1", name)
}

// AcquireLease takes or renews a lease until duration from now, by this
// process's clock, and reports whether holder has it. It fails where another
// holds it and it has not run out.
func (tx *Tx) AcquireLease(name, holder string, duration time.Duration) (bool, error) {
	n, err := tx.exec(`INSERT INTO lease (name, holder, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
		WHERE lease.holder = excluded.holder OR lease.until <= $4`,
		name, holder, millis(tx.now.Add(duration)), millis(tx.now))
	if err != nil {
		return false, fmt.Errorf("acquiring lease %s: %w", name, err)
	}
	return n == 1, nil
}

// ReleaseLease gives a lease up, if holder has it.
func (tx *Tx) ReleaseLease(name, holder string) error {
	if _, err := tx.exec("DELETE FROM lease WHERE name = $1 AND holder = $2", name, holder); err != nil {
		return fmt.Errorf("releasing lease %s: %w", name, err)
	}
	return nil
}
