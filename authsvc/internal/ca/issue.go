package ca

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/field"
	"github.com/authbus/authbus/events"
)

// DefaultLifetime is how long a certificate lives that asks for nothing else.
const DefaultLifetime = 24 * time.Hour

const minLifetime = time.Minute

// Request asks for a certificate.
type Request struct {
	// Name is the service's name: the path of its SPIFFE ID, one or more segments
	// of letters, digits, dots, dashes and underscores. Required.
	Name string
	// Hosts makes it the certificate of a server with these host names or IP
	// addresses, instead of one with a SPIFFE ID.
	Hosts []string
	// Peer makes one with Hosts good for a client as well, whom only other servers
	// with such certificates accept: for the routes of a NATS cluster.
	Peer bool
	// Lifetime is 1 minute to events.MaxCertificateLifetime, and no longer than the
	// intermediate has; 0 means DefaultLifetime, or what the intermediate has.
	Lifetime time.Duration

	key    *ecdsa.PublicKey // of somebody else; nil makes one
	renews string           // the ID of the predecessor
}

// Issued is a new certificate.
type Issued struct {
	Record Record
	// Chain is the certificate and what leads to a root, Bundle the roots to
	// trust, Key the private key; all PEM. Key is empty where only its owner has it.
	Chain, Key, Bundle []byte
}

// errKeyKnown is returned for a key that was certified before.
var errKeyKnown = errors.New("the key has been certified before: make a new one")

// Issue issues a certificate with a new key. To issue one more for a name that has
// one is no mistake; both count. What is wrong with the request is a [*field.Error].
func (c *CA) Issue(r Request) (*Issued, error) {
	var issued *Issued
	err := c.locked(func(s *state) (err error) {
		if err := s.outlives(r.Lifetime); err != nil {
			return err
		}
		issued, err = c.issue(s, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate for %q: %w", r.Name, err)
	}
	return issued, nil
}

// outlives refuses a lifetime that somebody asked for and that the intermediate does
// not have: what they get would end before they expect it.
func (s *state) outlives(lifetime time.Duration) error {
	end := s.issuer.cert.NotAfter
	if left := time.Until(end); lifetime > left && left > 0 {
		return &field.Error{Field: "Lifetime", Err: fmt.Errorf("the intermediate ends before that, at %s: run authsvc ca rotate", end.Format(time.RFC3339))}
	}
	return nil
}

func (c *CA) issue(s *state, r Request) (*Issued, error) {
	template, err := r.template(s.trustDomain)
	if err != nil {
		return nil, err
	}
	if !time.Now().Before(s.issuer.cert.NotAfter) {
		return nil, errors.New("the intermediate has expired: run authsvc ca rotate")
	}
	template.NotAfter = earlier(template.NotAfter, s.issuer.cert.NotAfter)
	out := &Issued{Bundle: events.EncodeCertificates(s.roots...)}
	public := r.key
	if public == nil {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		public, out.Key = &key.PublicKey, encodeKey(key)
	}
	cert, err := sign(template, s.issuer.cert, public, s.issuer.key)
	if err != nil {
		return nil, err
	}
	out.Chain = events.EncodeCertificates(append([]*x509.Certificate{cert}, s.issuer.chain()...)...)
	out.Record = Record{
		Serial: cert.SerialNumber.Text(16), ID: events.CertificateID(cert), Name: r.Name, Hosts: r.Hosts, Peer: r.Peer,
		Root: events.CertificateID(s.roots[0]), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Renews: r.renews,
	}
	if c.records.byID[out.Record.ID] != nil {
		return nil, errKeyKnown
	}
	return out, c.records.add(line{Event: eventIssued, Record: out.Record})
}

// template is the certificate without what only its issuer knows.
func (r Request) template(trustDomain string) (*x509.Certificate, error) {
	id, err := events.SPIFFEID(trustDomain, r.Name)
	if err != nil {
		return nil, &field.Error{Field: "Name", Err: err}
	}
	lifetime := cmp.Or(r.Lifetime, DefaultLifetime)
	if err := CheckLifetime(lifetime); err != nil {
		return nil, &field.Error{Field: "Lifetime", Err: err}
	}
	if r.Peer && len(r.Hosts) == 0 {
		return nil, field.New("Peer", "a peer is a server, and needs host names")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	// The subject is empty: the SPIFFE ID is the only name that anybody can read.
	t := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdated), NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if len(r.Hosts) == 0 {
		u, err := url.Parse(id)
		if err != nil {
			return nil, fmt.Errorf("the SPIFFE ID %q: %w", id, err)
		}
		t.URIs = []*url.URL{u}
		return t, nil
	}
	if !r.Peer {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return t, addHosts(t, r.Hosts)
}

// CheckLifetime says what is wrong with the lifetime of a certificate.
func CheckLifetime(lifetime time.Duration) error {
	if lifetime < minLifetime || lifetime > events.MaxCertificateLifetime {
		return fmt.Errorf("a certificate lives for 1 minute to %v, not %v", events.MaxCertificateLifetime, lifetime)
	}
	return nil
}

func addHosts(t *x509.Certificate, hosts []string) error {
	seen := map[string]bool{}
	for _, host := range hosts {
		ip, spelling := net.ParseIP(host), strings.ToLower(host)
		switch {
		case ip != nil:
			spelling = ip.String()
			t.IPAddresses = append(t.IPAddresses, ip)
		case isHostName(host):
			t.DNSNames = append(t.DNSNames, host)
		default:
			return &field.Error{Field: "Hosts", Err: fmt.Errorf("%q is neither a host name nor an IP address", host)}
		}
		if seen[spelling] {
			return &field.Error{Field: "Hosts", Err: fmt.Errorf("%q is there twice", host)}
		}
		seen[spelling] = true
	}
	return nil
}

// isHostName reports whether a name consists of labels that a certificate can name
// (RFC 1123 §2.1), the first of which may be a star.
func isHostName(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
