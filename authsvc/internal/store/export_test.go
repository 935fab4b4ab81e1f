package store

import (
	"testing"
)

// WriterSetting asks the write connection for a setting.
func WriterSetting(t *testing.T, db *DB, query string) string {
	t.Helper()
	var value string
	err := db.Write(t.Context(), func(tx *Tx) (err error) {
		value, err = one(tx.Reader, func(row scanner) (string, error) {
			var v string
			err := row.Scan(&v)
			return v, err
		}, query)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}
