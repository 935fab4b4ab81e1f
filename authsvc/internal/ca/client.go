package ca

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"time"
)

// ClientTLS returns the configuration of a client that is the service name itself,
// with certificates that the CA issues to it as they are needed: for the process
// that holds the CA's directory anyway. Chain and host name of servers are verified.
func (c *CA) ClientTLS(name string) (*tls.Config, error) {
	bundle, err := c.Bundle()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(bundle)
	own := &ownCertificate{ca: c, name: name}
	if _, err := own.get(nil); err != nil {
		return nil, err
	}
	config.GetClientCertificate = own.get
	return config, nil
}

// ownCertificate is one certificate at a time.
type ownCertificate struct {
	ca   *CA
	name string

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu
	until   time.Time        // guarded by mu: when to have the next one
}

func (o *ownCertificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.current != nil && now.Before(o.until) {
		return o.current, nil
	}
	issued, err := o.ca.Issue(Request{Name: o.name})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
	if err != nil {
		return nil, fmt.Errorf("reading an own certificate: %w", err)
	}
	o.current, o.until = &pair, now.Add(issued.Record.NotAfter.Sub(now)*2/3)
	return o.current, nil
}
