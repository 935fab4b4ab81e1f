package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Server returns the configuration of a server that accepts the allowed peers and
// nobody else: names of services in the trust domain ("orders"), whole SPIFFE IDs,
// or [Anyone]. An empty list is an error. It speaks TLS 1.3 only and resumes no
// session, so that every connection is judged by the certificates, roots and
// revocations of its moment.
//
// Open connections live on when their certificate is revoked or expires; those of
// [Source.Listener] do not.
func (s *Source) Server(allow ...string) (*tls.Config, error) {
	list, err := s.parseAllowed(allow)
	if err != nil {
		return nil, err
	}
	return s.server(list, nil), nil
}

// server makes the configuration. admitted, which may be nil, is told of each peer
// that was let in.
func (s *Source) server(list allowed, admitted func([]*x509.Certificate) error) *tls.Config {
	forClient := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := s.current.Load()
		return &tls.Config{
			MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: protocols(),
			Certificates: []tls.Certificate{now.certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: now.roots,
			VerifyConnection: func(state tls.ConnectionState) error {
				if err := s.admit(state, list); err != nil || admitted == nil {
					return err
				}
				return admitted(state.PeerCertificates)
			},
		}, nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: protocols(),
		// net/http wants a certificate here; handshakes never see this configuration.
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.current.Load().certificate, nil },
		GetConfigForClient: forClient,
		ClientAuth:         tls.RequireAndVerifyClientCert,
	}
}

func protocols() []string { return []string{"h2", "http/1.1"} }

// Client returns the configuration of a client that shows the certificate and
// accepts servers by their identity, as [Source.Server] does clients. The server's
// host name is not looked at.
func (s *Source) Client(servers ...string) (*tls.Config, error) {
	list, err := s.parseAllowed(servers)
	if err != nil {
		return nil, err
	}
	return s.client(func(state tls.ConnectionState) error { return s.admit(state, list) }), nil
}

// ClientHost returns the configuration of a client for a server whose certificate,
// of the same CA, names hosts: nats-server for example. The host is a DNS name or
// an IP address.
func (s *Source) ClientHost(host string) (*tls.Config, error) {
	if host == "" {
		return nil, errors.New("the host must not be empty")
	}
	return s.client(func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		if err := leaf.VerifyHostname(host); err != nil {
			return err
		}
		return s.checkRevoked(leaf)
	}), nil
}

// client makes a configuration that judges the server's chain by the roots of the
// moment, and then asks admit. Go has no other way to give a client roots that
// change, nor to have it look at a URI in place of a host name.
func (s *Source) client(admit func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: s.clientCertificate,
		InsecureSkipVerify:   true, //nolint:gosec // VerifyConnection verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			roots := s.current.Load().roots
			if err := verify(state.PeerCertificates, roots, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
				s.counts.refusedPeers.Add(1)
				return fmt.Errorf("refusing the server: %w", err)
			}
			return admit(state)
		},
	}
}

func (s *Source) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return &s.current.Load().certificate, nil
}

// NATS returns the option that connects with the certificate. The server's must be
// of the same CA and name the host of the URL. Each reconnect uses the certificate
// and roots of its moment.
//
//	nc, err := nats.Connect("tls://nats.internal:4222", source.NATS())
//
// Revocations are not looked at: they come over this very connection.
func (s *Source) NATS() nats.Option {
	return func(o *nats.Options) error {
		err := nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13})(o)
		if err != nil {
			return err
		}
		certificate := func() (tls.Certificate, error) { return s.current.Load().certificate, nil }
		roots := func() (*x509.CertPool, error) { return s.current.Load().roots.Clone(), nil }
		return nats.ClientTLSConfig(certificate, roots)(o)
	}
}
