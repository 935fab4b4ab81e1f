package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// cursors makes the cursors of the lists opaque: a caller can hand one back, and
// nothing else. A cursor that was changed, made up, or given for another list is
// refused before it comes near a query.
type cursors struct{ key []byte }

// newCursors returns cursors sealed under key. Without one they are good for this
// process only.
func newCursors(key []byte) cursors {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		rand.Read(key) // never fails: see crypto/rand
	}
	return cursors{key: key}
}

// macSize is enough to make guessing hopeless, in bytes.
const macSize = 16

// seal returns the cursor for position in list; "" stays "": there is no next page.
func (c cursors) seal(list, position string) string {
	if position == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(c.mac(list, position), position...))
}

// open returns the position that cursor stands for.
func (c cursors) open(list, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= macSize {
		return "", errCursor
	}
	position := string(raw[macSize:])
	if !hmac.Equal(raw[:macSize], c.mac(list, position)) {
		return "", errCursor
	}
	return position, nil
}

func (c cursors) mac(list, position string) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(list + "\x00" + position))
	return h.Sum(nil)[:macSize]
}
