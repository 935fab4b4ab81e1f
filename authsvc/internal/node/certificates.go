package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/authbus/authbus/authsvc/internal/bus"
	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/verifier/mtls"
)

// The names of the auth service's certificates. On the bus each is a user of its own.
const (
	identityHTTP      = "authsvc"
	identityPublisher = "authsvc-publisher"
	identityAnswerer  = "authsvc-answerer"
	identityEnforcer  = "authsvc-enforcer"
)

// identities are what Config.Certs holds. Each is nil where it is not needed.
type identities struct {
	http, publisher, answerer, enforcer *mtls.Source
}

func (i *identities) all() []*mtls.Source {
	var all []*mtls.Source
	for _, s := range []*mtls.Source{i.http, i.publisher, i.answerer, i.enforcer} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// openIdentities reads the certificates. It comes before anything is listened on
// or connected to.
func (n *Node) openIdentities(context.Context) error {
	if n.config.Certs == "" {
		return nil
	}
	open := func(name string, onBus bool) (*mtls.Source, error) {
		files := mtls.Files(n.config.Certs, name)
		// Revocations come over the bus, and to know them the broker is needed.
		files.ExpiryOnly, files.Logger = onBus, n.config.Log
		s, err := mtls.Open(files)
		if err != nil {
			return nil, &field.Error{Field: "Certs", Err: fmt.Errorf("the identity %s: %w", name, err)}
		}
		if s.Name() != name { // one that publishes must not answer: see connect
			err := fmt.Errorf("the identity %s: the certificate is that of %s", name, s.Name())
			return nil, errors.Join(&field.Error{Field: "Certs", Err: err}, s.Close())
		}
		return s, nil
	}
	var err error
	if n.config.ListenMTLS != "" {
		if n.identities.http, err = open(identityHTTP, false); err != nil {
			return err
		}
	}
	if n.config.NATSURL == "" {
		return nil // the broker in this process knows its own
	}
	if n.identities.publisher, err = open(identityPublisher, true); err != nil {
		return err
	}
	if n.identities.answerer, err = open(identityAnswerer, true); err != nil {
		return err
	}
	if _, err := os.Stat(mtls.Files(n.config.Certs, identityEnforcer).CertFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	n.identities.enforcer, err = open(identityEnforcer, true)
	return err
}

// target is how an identity reaches the broker: with its certificate, and with an
// inbox that nobody else may read.
func (n *Node) target(s *mtls.Source, credentials string) bus.Target {
	target := bus.Target{URL: n.config.NATSURL, Credentials: credentials}
	if s != nil {
		target.Options = []nats.Option{s.NATS(), nats.CustomInboxPrefix(events.InboxPrefix + "_" + s.Name())}
	}
	return target
}

// startEnforcing has revoked certificates lose their connections, and the auth
// service's own ones renewed. The publisher asks for all of them: who asks proves
// itself by the certificate's key, and the others may not ask anything.
func (n *Node) startEnforcing(context.Context) error {
	if s := n.identities.http; s != nil {
		n.revoked = newRevoked(n.authority.RevokedCertificates, n.config.Log)
		s.Enforce(n.revoked)
	}
	for _, s := range n.identities.all() {
		s.Renew(n.publishing)
	}
	if n.identities.enforcer == nil {
		if n.identities.publisher != nil {
			n.config.Log.Warn("revoked certificates keep their connections to NATS: Certs holds no certificate for it", "identity", identityEnforcer)
		}
		return nil
	}
	var err error
	if n.enforcing, err = bus.Connect(identityEnforcer, n.target(n.identities.enforcer, ""), n.config.Log); err != nil {
		return err
	}
	n.enforcer, err = bus.StartEnforcer(bus.EnforcerConfig{
		Conn: n.enforcing, Revoked: n.authority.RevokedCertificates, Log: n.config.Log, Metrics: n.registry,
	})
	return err
}

// stopEnforcing undoes openIdentities and startEnforcing.
func (n *Node) stopEnforcing() error {
	if n.enforcer != nil {
		n.enforcer.Close()
	}
	if n.revoked != nil {
		n.revoked.Close()
	}
	var errs []error
	for _, s := range n.identities.all() {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// certificateRevoked tells those who close connections that there is work.
func (n *Node) certificateRevoked() {
	if n.enforcer != nil {
		n.enforcer.Wake()
	}
	if n.revoked != nil {
		n.revoked.Wake()
	}
}

// listenMTLS opens the second address.
func (n *Node) listenMTLS(ctx context.Context) error {
	if n.config.ListenMTLS == "" {
		return nil
	}
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", n.config.ListenMTLS)
	if err != nil {
		return &field.Error{Field: "ListenMTLS", Err: err}
	}
	// Which service may do what is decided by its name, request by request.
	n.mutual, err = n.identities.http.Listener(tcp, mtls.Anyone)
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	return nil
}

// MutualURL is where HTTP is served over mutual TLS; empty where it is not.
func (n *Node) MutualURL() string {
	if n.mutual == nil {
		return ""
	}
	return "https://" + n.mutual.Addr().String()
}
