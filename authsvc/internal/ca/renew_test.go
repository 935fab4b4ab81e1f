package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/events/eventstest"
	"github.com/authbus/authbus/verifier"
)

// renewing is a CA with what answers renewals, and a service that has a certificate.
type renewing struct {
	*decider
	dir     string
	chain   []*x509.Certificate
	key     *ecdsa.PrivateKey
	revoked map[string]error
}

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := Init(dir, "example.org"); err != nil {
		t.Fatal(err)
	}
	authority, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &renewing{dir: dir, revoked: map[string]error{}}
	r.decider = newDecider(authority, func(id string) error { return r.revoked[id] }, 0)
	r.chain, r.key = r.issue(t, Request{Name: "orders"})
	return r
}

func (r *renewing) issue(t *testing.T, req Request) ([]*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	issued, err := r.ca.Issue(req)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, issued.Chain, issued.Key)
}

func open(t *testing.T, chain, key []byte) ([]*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := events.ParseCertificates(chain)
	if err != nil {
		t.Fatal(err)
	}
	return certs, pair.PrivateKey.(*ecdsa.PrivateKey)
}

// request is an honest request for a new key.
func (r *renewing) request(t *testing.T) (*events.CARenewRequest, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	req, err := events.NewCARenewRequest(r.chain, r.key, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return req, key
}

// ask returns the code of the refusal, or nothing, and the certificate.
func (r *renewing) ask(t *testing.T, req *events.CARenewRequest) (code string, cert *x509.Certificate) {
	t.Helper()
	payload, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, _, _, err := r.answer(payload)
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.code, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var reply events.CARenewReply
	if err := json.Unmarshal(answer, &reply); err != nil {
		t.Fatal(err)
	}
	certs, err := events.ParseCertificates([]byte(reply.Chain))
	if err != nil {
		t.Fatal(err)
	}
	return "", certs[0]
}

func TestRenewalCopiesTheIdentityAndNothingOfTheCSR(t *testing.T) {
	r := newRenewing(t)
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	root := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/authsvc"}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		URIs: []*url.URL{root}, DNSNames: []string{"nats.example"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := r.request(t)
	req.CSR = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	if err := req.Sign(r.key); err != nil {
		t.Fatal(err)
	}
	code, cert := r.ask(t, req)
	if code != "" {
		t.Fatalf("refused with %s", code)
	}
	if id, err := events.CertificateSPIFFEID(cert); err != nil || id != "spiffe://example.org/orders" {
		t.Errorf("%q, %v", id, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		t.Error("it is for another key")
	}
	list, err := r.ca.Records()
	if err != nil || len(list) != 2 || list[1].Renews != list[0].ID {
		t.Errorf("the records hold %+v, %v", list, err)
	}
}

func TestAttacksOnRenewal(t *testing.T) {
	const denied, bad, undecided = events.CodeForbidden, events.CodeBadRequest, events.CodeUnavailable
	for _, c := range []struct {
		name string
		// attack makes a request, or changes r before the honest one is sent.
		attack func(t *testing.T, r *renewing, req *events.CARenewRequest)
		want   string
	}{
		{"none", func(*testing.T, *renewing, *events.CARenewRequest) {}, ""},
		{"signed by another key", func(t *testing.T, _ *renewing, req *events.CARenewRequest) {
			thief, _ := newKey()
			must(t, req.Sign(thief))
		}, bad},
		{"another nonce than was signed", func(_ *testing.T, _ *renewing, req *events.CARenewRequest) { req.Nonce += "x" }, bad},
		{"another time than was signed", func(_ *testing.T, _ *renewing, req *events.CARenewRequest) { req.Time++ }, bad},
		{"another CSR than was signed", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			other, _ := r.request(t)
			req.CSR = other.CSR
		}, bad},
		{"signed twice over", func(_ *testing.T, _ *renewing, req *events.CARenewRequest) { req.Signature += "AA" }, bad},
		{"six minutes old", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			req.Time = time.Now().Add(-6 * time.Minute).UnixMilli()
			must(t, req.Sign(r.key))
		}, bad},
		{"six minutes ahead", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			req.Time = time.Now().Add(6 * time.Minute).UnixMilli()
			must(t, req.Sign(r.key))
		}, bad},
		{"a time that overflows", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			req.Time = -1 << 63
			must(t, req.Sign(r.key))
		}, bad},
		{"sent a second time", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			if code, _ := r.ask(t, req); code != "" {
				t.Fatalf("refused with %s", code)
			}
		}, denied},
		{"the old key once more", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			again, err := events.NewCARenewRequest(r.chain, r.key, r.key, time.Now())
			must(t, err)
			*req = *again
		}, denied},
		{"the key of somebody else", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			_, theirs := r.issue(t, Request{Name: "billing"})
			again, err := events.NewCARenewRequest(r.chain, r.key, theirs, time.Now())
			must(t, err)
			*req = *again
		}, denied},
		{"revoked on the bus", func(_ *testing.T, r *renewing, _ *events.CARenewRequest) {
			r.revoked[events.CertificateID(r.chain[0])] = &verifier.Error{Err: verifier.ErrRevoked}
		}, denied},
		{"revoked in the records", func(t *testing.T, r *renewing, _ *events.CARenewRequest) {
			_, err := r.ca.Revoke("orders", "key copied")
			must(t, err)
		}, denied},
		{"the successor of one that is revoked on the bus", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			first := events.CertificateID(r.chain[0])
			for range 2 {
				honest, key := r.request(t)
				_, cert := r.ask(t, honest)
				r.chain, r.key = append([]*x509.Certificate{cert}, r.chain[1:]...), key
			}
			again, _ := r.request(t)
			*req = *again
			r.revoked[first] = &verifier.Error{Err: verifier.ErrRevoked}
		}, denied},
		{"nobody can tell whether it is revoked", func(_ *testing.T, r *renewing, _ *events.CARenewRequest) {
			r.revoked[events.CertificateID(r.chain[0])] = &verifier.Error{Err: verifier.ErrUnavailable}
		}, undecided},
		{"of another CA of the same name", func(t *testing.T, _ *renewing, req *events.CARenewRequest) {
			other := newRenewing(t)
			theirs, _ := other.request(t)
			*req = *theirs
		}, denied},
		{"a server's certificate", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			r.chain, r.key = r.issue(t, Request{Name: "nats", Hosts: []string{"nats.example"}})
			again, _ := r.request(t)
			*req = *again
		}, denied},
		{"issued with the stolen key of the intermediate", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			r.chain, r.key = r.forge(t)
			again, _ := r.request(t)
			*req = *again
		}, denied},
		{"the chain is the intermediate itself", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			i, err := loadIssuer(filepath.Join(r.dir, "issuer.pem"))
			must(t, err)
			r.chain, r.key = []*x509.Certificate{i.cert}, i.key
			again, _ := r.request(t)
			*req = *again
		}, denied},
		{"no intermediate in the chain", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			r.chain = r.chain[:1]
			again, _ := r.request(t)
			*req = *again
		}, denied},
		{"a CSR that the new key has not signed", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			block, _ := pem.Decode([]byte(req.CSR))
			block.Bytes[len(block.Bytes)-1] ^= 1 // the end of its signature
			req.CSR = string(pem.EncodeToMemory(block))
			must(t, req.Sign(r.key))
		}, bad},
		{"more behind the CSR", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			req.CSR += req.CSR
			must(t, req.Sign(r.key))
		}, bad},
		{"a key in the chain", func(t *testing.T, r *renewing, req *events.CARenewRequest) {
			req.Chain += string(encodeKey(r.key))
			must(t, req.Sign(r.key))
		}, bad},
		{"no signature", func(_ *testing.T, _ *renewing, req *events.CARenewRequest) { req.Signature = "" }, bad},
		{"a signature of zeros", func(_ *testing.T, _ *renewing, req *events.CARenewRequest) {
			req.Signature = base64.RawURLEncoding.EncodeToString(make([]byte, 72))
		}, bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRenewing(t)
			req, _ := r.request(t)
			c.attack(t, r, req)
			if code, _ := r.ask(t, req); code != c.want {
				t.Errorf("the answer is %q, want %q", code, c.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forge issues a certificate past the records.
func (r *renewing) forge(t *testing.T) ([]*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	i, err := loadIssuer(filepath.Join(r.dir, "issuer.pem"))
	must(t, err)
	template, err := Request{Name: "orders"}.template("example.org")
	must(t, err)
	key, err := newKey()
	must(t, err)
	cert, err := sign(template, i.cert, &key.PublicKey, i.key)
	must(t, err)
	return append([]*x509.Certificate{cert}, i.chain()...), key
}

// TestAnAnswerMustBeWhatWasAskedFor, though the right issuer has signed it.
func TestAnAnswerMustBeWhatWasAskedFor(t *testing.T) {
	r := newRenewing(t)
	i, err := loadIssuer(filepath.Join(r.dir, "issuer.pem"))
	must(t, err)
	nc := eventstest.NewBroker(t).Connect(t)
	var change func(req *events.CARenewRequest, reply *events.CARenewReply)
	_, err = nc.Subscribe(events.SubjectCARenew, func(msg *nats.Msg) {
		var req events.CARenewRequest
		var reply events.CARenewReply
		err := json.Unmarshal(msg.Data, &req)
		answer, _, _, answerErr := r.answer(msg.Data)
		if err = errors.Join(err, answerErr); err == nil {
			err = json.Unmarshal(answer, &reply)
		}
		change(&req, &reply)
		payload, encodeErr := json.Marshal(reply)
		header, signErr := events.SignCARenewal(i.cert, i.key, payload)
		err = errors.Join(err, encodeErr, signErr, msg.RespondMsg(&nats.Msg{Header: header, Data: payload}))
		if err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	must(t, nc.Flush())
	another := func(name string) string {
		issued, err := r.ca.Issue(Request{Name: name})
		must(t, err)
		return string(issued.Chain)
	}
	mine := tls.Certificate{PrivateKey: r.key}
	for _, cert := range r.chain {
		mine.Certificate = append(mine.Certificate, cert.Raw)
	}
	forKey := func(req *events.CARenewRequest, name string) string {
		asked, err := req.Open()
		must(t, err)
		template, err := Request{Name: name}.template("example.org")
		must(t, err)
		cert, err := sign(template, i.cert, asked.Key, i.key)
		must(t, err)
		return string(events.EncodeCertificates(cert, i.cert))
	}
	stranger := newRenewing(t)
	for name, c := range map[string]func(req *events.CARenewRequest, reply *events.CARenewReply){
		"another key":     func(_ *events.CARenewRequest, reply *events.CARenewReply) { reply.Chain = another("orders") },
		"another name":    func(req *events.CARenewRequest, reply *events.CARenewReply) { reply.Chain = forKey(req, "billing") },
		"another request": func(_ *events.CARenewRequest, reply *events.CARenewReply) { reply.Nonce += "x" },
		"other roots": func(_ *events.CARenewRequest, reply *events.CARenewReply) {
			reply.Bundle = string(events.EncodeCertificates(stranger.chain[1]))
		},
		"no intermediate": func(_ *events.CARenewRequest, reply *events.CARenewReply) {
			reply.Chain = reply.Chain[:strings.Index(reply.Chain, "-----END")+26]
		},
		"no roots at all":  func(_ *events.CARenewRequest, reply *events.CARenewReply) { reply.Bundle = "none" },
		"nothing is wrong": nil,
	} {
		if change = c; c == nil {
			change = func(*events.CARenewRequest, *events.CARenewReply) {}
		}
		r.limits = map[string]*rate.Limiter{}
		if _, err := events.RenewCertificate(t.Context(), nc, mine); (err == nil) != (c == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnExpiredCertificateIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewing(t)
		time.Sleep(24*time.Hour - time.Second)
		req, _ := r.request(t)
		if code, _ := r.ask(t, req); code != "" {
			t.Errorf("a second before its end it is refused with %s", code)
		}
		time.Sleep(2 * time.Second)
		req, _ = r.request(t)
		if code, _ := r.ask(t, req); code != events.CodeForbidden {
			t.Errorf("the answer after its end is %q", code)
		}
		if issued, err := r.ca.Renew("orders", 0); err != nil || issued.Record.Name != "orders" {
			t.Errorf("the operator cannot renew it: %v", err)
		}
	})
}

func TestRenewalHasARateForEachService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewing(t)
		for n := range renewBurst + 1 {
			req, _ := r.request(t)
			if code, _ := r.ask(t, req); (code == events.CodeOverloaded) != (n == renewBurst) {
				t.Errorf("renewal %d: %q", n+1, code)
			}
		}
		other := *r
		other.chain, other.key = r.issue(t, Request{Name: "billing"})
		req, _ := other.request(t)
		if code, _ := r.ask(t, req); code != "" {
			t.Errorf("another service pays for it: %s", code)
		}
		time.Sleep(renewEvery)
		req, _ = r.request(t)
		if code, _ := r.ask(t, req); code != "" {
			t.Errorf("a minute later: %s", code)
		}
	})
}

// TestAReplayCostsNothing: whoever has heard a request must not be able to use up
// what its sender may ask for.
func TestAReplayCostsNothing(t *testing.T) {
	r := newRenewing(t)
	heard, _ := r.request(t)
	for range 3 * renewBurst {
		r.ask(t, heard)
	}
	req, _ := r.request(t)
	if code, _ := r.ask(t, req); code != "" {
		t.Errorf("the service is refused with %s", code)
	}
}

// TestShortLifetimesAreRenewedInTime: the rate follows them.
func TestShortLifetimesAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewing(t)
		r.decider = newDecider(r.ca, r.decider.revoked, minLifetime)
		for n := range 50 {
			req, key := r.request(t)
			code, cert := r.ask(t, req)
			if code != "" {
				t.Fatalf("renewal %d: %s", n+1, code)
			}
			r.chain, r.key = append([]*x509.Certificate{cert}, r.chain[1:]...), key
			time.Sleep(minLifetime / 2)
		}
	})
}

// TestAnExpiredCertificateIsRevokedWithTheRest, because a connection to NATS that was
// made with it may be alive.
func TestAnExpiredCertificateIsRevokedWithTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewing(t)
		time.Sleep(20 * time.Hour)
		req, _ := r.request(t)
		_, second := r.ask(t, req)
		time.Sleep(5 * time.Hour)
		revoked, err := r.ca.Revoke("orders", "key copied")
		if err != nil || len(revoked) != 2 || revoked[0].ID != events.CertificateID(r.chain[0]) || revoked[1].ID != events.CertificateID(second) {
			t.Errorf("revoked: %+v, %v", revoked, err)
		}
		time.Sleep(lingering)
		if revoked, err := r.ca.Revoke("orders", "again"); err != nil || len(revoked) != 1 {
			t.Errorf("when no connection of the first can be left: %+v, %v", revoked, err)
		}
	})
}

func TestRenewalByTheOperatorKeepsWhatItWas(t *testing.T) {
	r := newRenewing(t)
	r.issue(t, Request{Name: "nats", Hosts: []string{"nats.example"}, Peer: true, Lifetime: 100 * time.Hour})
	for _, tt := range []struct{ lifetime, want time.Duration }{{0, 100 * time.Hour}, {2 * time.Hour, 2 * time.Hour}} {
		issued, err := r.ca.Renew("nats", tt.lifetime)
		must(t, err)
		if left := time.Until(issued.Record.NotAfter); left > tt.want || left < tt.want-time.Minute {
			t.Errorf("it lives for %v, want %v", left, tt.want)
		}
		if !issued.Record.Peer || len(issued.Record.Hosts) != 1 {
			t.Errorf("it is %+v", issued.Record)
		}
	}
	issued, err := r.ca.Renew("nats", 0) // the one before lives for two hours only
	must(t, err)
	if left := time.Until(issued.Record.NotAfter); left < 23*time.Hour {
		t.Errorf("it lives for %v", left)
	}
}

// TestRevocationReachesTheSuccessors: a thief has renewed with the stolen key.
func TestRevocationReachesTheSuccessors(t *testing.T) {
	for _, by := range []string{"name", "serial", "id"} {
		t.Run("by "+by, func(t *testing.T) {
			r := newRenewing(t)
			r.issue(t, Request{Name: "billing"})
			req, key := r.request(t)
			_, stolen := r.ask(t, req)
			thief := *r
			thief.chain, thief.key = append([]*x509.Certificate{stolen}, r.chain[1:]...), key
			req, _ = thief.request(t)
			if code, _ := r.ask(t, req); code != "" {
				t.Fatalf("refused with %s", code)
			}
			first := r.chain[0]
			target := map[string]string{
				"name": "orders", "serial": first.SerialNumber.Text(16), "id": events.CertificateID(first),
			}[by]
			for again := range 2 { // because telling the auth service may have failed
				revoked, err := r.ca.Revoke(target, "key copied")
				if err != nil || len(revoked) != 3 {
					t.Fatalf("%d are revoked, want 3 (%v)", len(revoked), err)
				}
				for _, record := range revoked {
					if record.Name != "orders" || record.RevokedAt.IsZero() || record.Reason != "key copied" || record.Already != (again > 0) {
						t.Errorf("revoked: %+v", record)
					}
				}
			}
			req, _ = thief.request(t)
			if code, _ := r.ask(t, req); code != events.CodeForbidden {
				t.Errorf("the thief renews on: %q", code)
			}
			if _, err := r.ca.Renew("orders", 0); err == nil || !strings.Contains(err.Error(), "issue a new one") {
				t.Errorf("the operator renews what is revoked: %v", err)
			}
		})
	}
	r := newRenewing(t)
	if _, err := r.ca.Revoke("nobody", ""); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// TestRenewalThroughARotation: the answer is signed by the issuer that the service
// knows, and brings the new roots.
func TestRenewalThroughARotation(t *testing.T) {
	r := newRenewing(t)
	must(t, r.ca.RotateRoot(""))
	req, key := r.request(t)
	payload, err := json.Marshal(req)
	must(t, err)
	answer, header, _, err := r.answer(payload)
	must(t, err)
	if got := header.Get(events.HeaderKey); got != events.CertificateID(r.chain[1]) {
		t.Errorf("signed by %s", got)
	}
	var reply events.CARenewReply
	must(t, json.Unmarshal(answer, &reply))
	roots, err := events.ParseCertificates([]byte(reply.Bundle))
	if err != nil || len(roots) != 2 {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	// And again, from the new issuer.
	chain, err := events.ParseCertificates([]byte(reply.Chain))
	must(t, err)
	r.chain, r.key = chain, key
	req, _ = r.request(t)
	if code, cert := r.ask(t, req); code != "" || cert.CheckSignatureFrom(chain[1]) != nil {
		t.Errorf("the second renewal: %q", code)
	}
}
