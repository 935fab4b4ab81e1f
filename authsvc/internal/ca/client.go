package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// NATS returns the option that connects to NATS as the service name, with
// certificates that the CA issues to it as they are needed: for the process that
// holds the CA's directory anyway. The server's certificate must name the host of the
// URL and lead to the roots that the CA trusts at that moment.
func (c *CA) NATS(name string) nats.Option {
	own := &ownCertificate{ca: c, name: name}
	return func(o *nats.Options) error {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13}
		return nats.ClientTLSConfig(own.get, c.pool)(o)
	}
}

// pool is the bundle of the moment: a rotation may have changed it.
func (c *CA) pool() (*x509.CertPool, error) {
	info, err := c.Info()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, cert := range info.Roots {
		roots.AddCert(cert)
	}
	return roots, nil
}

// ownCertificate is one certificate at a time.
type ownCertificate struct {
	ca   *CA
	name string

	mu      sync.Mutex
	current tls.Certificate // guarded by mu
	until   time.Time       // guarded by mu: when to have the next one
}

// get returns the certificate to connect with. While no next one can be issued, the
// present one serves to its end.
func (o *ownCertificate) get() (tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Before(o.until) && o.ofTheIssuer() {
		return o.current, nil
	}
	next, err := o.issue()
	switch {
	case err == nil:
		o.current, o.until = next, now.Add(next.Leaf.NotAfter.Sub(now)*2/3)
	case o.current.Leaf == nil || now.After(o.current.Leaf.NotAfter):
		return tls.Certificate{}, err
	}
	return o.current, nil
}

// ofTheIssuer reports whether the certificate is one of the present issuer: after a
// rotation nobody need wait for this one to expire.
func (o *ownCertificate) ofTheIssuer() bool {
	info, err := o.ca.Info()
	return err == nil && bytes.Equal(o.current.Certificate[1], info.Issuer.Raw)
}

func (o *ownCertificate) issue() (tls.Certificate, error) {
	issued, err := o.ca.Issue(Request{Name: o.name})
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading an own certificate: %w", err)
	}
	return pair, nil
}
