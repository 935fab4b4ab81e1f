package dev

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/authsvc/internal/natsconfig"
	"github.com/authbus/authbus/authsvc/internal/node/broker"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
)

// trustDomain is one that cannot exist on the Internet (RFC 6761 §6.2).
const trustDomain = "authbus.test"

// The names in the certificates.
const (
	orders       = "orders"
	billing      = "billing"
	gatewayName  = "gateway"
	operatorName = "operator"
)

// mutual is what mutual TLS needs beside the stack: everything below one directory
// that is removed at the end.
type mutual struct {
	dir, caDir, certs string
	ca                *ca.CA
}

// startMutual makes the CA, gives everybody a certificate and starts the broker.
func (s *Stack) startMutual(context.Context) error {
	m := &mutual{dir: filepath.Join(s.config.Dir, "mtls")}
	m.caDir, m.certs = filepath.Join(m.dir, "ca"), filepath.Join(m.dir, "certs")
	if err := os.RemoveAll(m.dir); err != nil { // of a run that did not end in order
		return fmt.Errorf("removing the last CA: %w", err)
	}
	if !s.config.Mutual {
		return nil
	}
	s.closeLater(func() error { return os.RemoveAll(m.dir) })
	if err := m.makeCA(); err != nil {
		return err
	}
	b, err := m.startBroker(s.config)
	if err != nil {
		return err
	}
	s.closeLater(func() error { b.Close(); return nil })
	s.mutual, s.natsURL = m, b.URL()
	return nil
}

// makeCA makes the CA and issues every certificate of the stack.
func (m *mutual) makeCA() (err error) {
	if err := ca.Init(m.caDir, trustDomain); err != nil {
		return err
	}
	if m.ca, err = ca.Open(m.caDir); err != nil {
		return err
	}
	// Nobody renews these two.
	requests := []ca.Request{
		{Name: "nats", Hosts: []string{"127.0.0.1", "localhost"}, Lifetime: events.MaxCertificateLifetime},
		{Name: operatorName, Lifetime: events.MaxCertificateLifetime},
	}
	for _, name := range []string{
		"authsvc", natsconfig.Publisher, natsconfig.Answerer, natsconfig.Enforcer, orders, billing, gatewayName,
	} {
		requests = append(requests, ca.Request{Name: name})
	}
	for _, r := range requests {
		issued, err := m.ca.Issue(r)
		if err != nil {
			return err
		}
		if err := issued.WriteFiles(m.certs, r.Name); err != nil {
			return err
		}
	}
	return nil
}

// startBroker starts the broker from the configuration that authsvc nats-config writes.
func (m *mutual) startBroker(c Config) (*broker.Broker, error) {
	nats := mtls.Files(m.certs, "nats")
	listen := c.NATS
	if host, port, err := net.SplitHostPort(listen); err == nil && port == "0" {
		listen = net.JoinHostPort(host, "-1") // how nats-server spells any free port
	}
	text, err := natsconfig.Generate(natsconfig.Config{
		TrustDomain: trustDomain, Services: []string{orders, billing}, Gateways: []string{gatewayName},
		Operators: []string{operatorName}, CertFile: nats.CertFile, KeyFile: nats.KeyFile, CAFile: nats.CAFile,
		Listen: listen, StoreDir: filepath.Join(c.Dir, "nats-mtls"),
	})
	if err != nil {
		return nil, field.Rename(err, map[string]string{"Listen": "NATS"})
	}
	file := filepath.Join(m.dir, "nats.conf")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration of the broker: %w", err)
	}
	return broker.StartFile(file, c.Log)
}

// startCA has certificates renewed.
func (s *Stack) startCA(ctx context.Context) error {
	if s.mutual == nil {
		return nil
	}
	service, err := ca.StartService(ctx, ca.ServiceConfig{
		CA: s.mutual.ca, NATSURL: s.natsURL, Name: natsconfig.CA, Issuer: s.node.Issuer(), Log: s.config.Log,
	})
	if err != nil {
		return err
	}
	s.closeLater(func() error { service.Close(); return nil })
	return nil
}

// identity opens a certificate; without mutual TLS it is nil.
func (s *Stack) identity(name string) (*mtls.Source, error) {
	if s.mutual == nil {
		return nil, nil
	}
	files := mtls.Files(s.mutual.certs, name)
	files.Logger = s.config.Log
	id, err := mtls.Open(files)
	if err != nil {
		return nil, err
	}
	s.closeLater(id.Close)
	return id, nil
}

// Mutual is what people need who look at a stack with mutual TLS.
type Mutual struct {
	// CADir is the directory of the CA.
	CADir string
	// Operator are the files of an identity that may look at everything on the bus,
	// and InboxPrefix is where its replies come.
	Operator    mtls.Config
	InboxPrefix string
}

// Mutual returns nil without mutual TLS.
func (s *Stack) Mutual() *Mutual {
	if s.mutual == nil {
		return nil
	}
	return &Mutual{
		CADir: s.mutual.caDir, Operator: mtls.Files(s.mutual.certs, operatorName),
		InboxPrefix: natsconfig.InboxPrefix(operatorName),
	}
}
