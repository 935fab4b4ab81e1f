package gateway

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
)

// certificate is what the gateway shows to clients, read again when its file has
// changed: public certificates live for weeks, and gateways for longer.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu
	changed time.Time        // of the file that pair is from; guarded by mu
	looked  time.Time        // guarded by mu
}

// lookEvery is the pause between two looks at the file, and so how soon a new
// certificate is shown.
const lookEvery = time.Second

// openCertificate reads certificate and key, which must fit together.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, &field.Error{Field: "CertFile", Err: err}
	}
	return c, nil
}

// read needs mu, or nobody else who knows c.
func (c *certificate) read() error {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.pair, c.changed = &pair, info.ModTime()
	return nil
}

// get is for tls.Config.GetCertificate. A new file that cannot be used leaves the
// old one in place.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.pair, nil
	}
	c.looked = time.Now()
	if info, err := os.Stat(c.certFile); err == nil && info.ModTime().Equal(c.changed) {
		return c.pair, nil
	}
	if err := c.read(); err != nil {
		c.log.Error("the new certificate for clients cannot be used; the old one stays", "file", c.certFile, "error", err)
	}
	return c.pair, nil
}
