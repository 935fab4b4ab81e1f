package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/authsvc/internal/httpapi/wire"
	"github.com/authbus/authbus/events"
)

// caCmd is `authsvc ca`: the internal certificate authority, in a directory.
type caCmd struct {
	Dir    string      `help:"Directory of the CA." default:"ca" type:"path" placeholder:"DIR" variable:"AUTHSVC_CA_DIR"`
	Init   caInitCmd   `cmd:"" help:"Create a CA: a root, whose key you take away, and an intermediate that issues."`
	Issue  caIssueCmd  `cmd:"" help:"Issue a service its certificate, or a server one for its host names."`
	Renew  caRenewCmd  `cmd:"" help:"Issue the successor of a certificate, with a new key."`
	Revoke caRevokeCmd `cmd:"" help:"Revoke the certificates of a name, or one, and all that were renewed from it."`
	Show   caShowCmd   `cmd:"" help:"Show the CA and its certificates."`
	Bundle caBundleCmd `cmd:"" help:"Print the roots to trust, as PEM."`
	Rotate caRotateCmd `cmd:"" help:"Begin to issue from a new intermediate, or from a new root."`
	Serve  caServeCmd  `cmd:"" help:"Renew certificates over NATS for services that prove the one they have."`
}

// AfterApply hands the directory to the command that is about to run.
func (c *caCmd) AfterApply(k *kong.Context) error {
	k.Bind(caDir(c.Dir))
	return nil
}

// caDir is the directory of the CA.
type caDir string

func (d caDir) open() (*ca.CA, error) { return ca.Open(string(d)) }

type caInitCmd struct {
	TrustDomain string `help:"Name under which the CA vouches, such as example.org." required:"" placeholder:"NAME"`
}

func (cmd *caInitCmd) Run(t *terminal, dir caDir) error {
	if err := ca.Init(string(dir), cmd.TrustDomain); err != nil {
		return err
	}
	return t.say("created the CA of %s in %s; keep its root-….key elsewhere: only rotation needs it", cmd.TrustDomain, inert(string(dir)))
}

type caIssueCmd struct {
	Name     string        `arg:"" help:"The service's name, the path of its SPIFFE ID."`
	Out      string        `help:"Directory for NAME.crt, NAME.key and ca.crt." required:"" type:"path" placeholder:"DIR"`
	Host     []string      `help:"Host name or IP address of a server that stock clients reach; it gets no SPIFFE ID then. May be repeated." placeholder:"HOST"`
	Peer     bool          `help:"With --host: good for a client as well, as the routes of a NATS cluster need it."`
	Lifetime time.Duration `help:"How long it lives, at most 144h." default:"24h"`
}

func (cmd *caIssueCmd) Run(t *terminal, dir caDir) error {
	authority, err := dir.open()
	if err != nil {
		return err
	}
	if err := ca.CheckFiles(cmd.Out, cmd.Name); err != nil {
		return err
	}
	issued, err := authority.Issue(ca.Request{Name: cmd.Name, Hosts: cmd.Host, Peer: cmd.Peer, Lifetime: cmd.Lifetime})
	if err != nil {
		return err
	}
	if err := issued.WriteFiles(cmd.Out, cmd.Name); err != nil {
		return err
	}
	return t.issued(issued)
}

func (t *terminal) issued(i *ca.Issued) error {
	return t.say("issued %s, serial %s, until %s", i.Record.Name, i.Record.Serial, when(i.Record.NotAfter))
}

type caRenewCmd struct {
	Name     string        `arg:"" help:"The service's name."`
	Out      string        `help:"Directory of its files, which are replaced." required:"" type:"path" placeholder:"DIR"`
	Lifetime time.Duration `help:"How long it lives, at most 144h. Default: as long as the one before, and 24h at least."`
}

func (cmd *caRenewCmd) Run(t *terminal, dir caDir) error {
	authority, err := dir.open()
	if err != nil {
		return err
	}
	if err := authority.CheckReplace(cmd.Out, cmd.Name); err != nil {
		return err
	}
	issued, err := authority.Renew(cmd.Name, cmd.Lifetime)
	if err != nil {
		return err
	}
	if err := issued.ReplaceFiles(cmd.Out, cmd.Name); err != nil {
		return err
	}
	return t.issued(issued)
}

type caRevokeCmd struct {
	remote
	reasonFlag
	Target string `arg:"" name:"target" help:"Name, serial number or id of the certificate."`
}

// Run notes the revocations in the records first, so that nothing is renewed any
// more even if the auth service, which ends what runs on them, is out of reach.
func (cmd *caRevokeCmd) Run(ctx context.Context, t *terminal, dir caDir, r *remote) error {
	if strings.TrimSpace(cmd.Reason) == "" { // the auth service would refuse it, after the fact
		return errors.New("--reason must not be empty")
	}
	authority, err := dir.open()
	if err != nil {
		return err
	}
	records, err := authority.Revoke(cmd.Target, cmd.Reason)
	if err != nil {
		return err
	}
	done, err := cmd.tell(ctx, r, records)
	if err != nil {
		return fmt.Errorf("%d of %d certificates are revoked; none of them is renewed any more, but run this again: %w",
			len(done), len(records), err)
	}
	return t.show(done, func() error {
		for i, record := range records {
			if err := t.say("%s, serial %s: %s", record.Name, record.Serial, delivery(done[i].Ack)); err != nil {
				return err
			}
		}
		return nil
	})
}

// revokedUntil is the end of the certificate, and a day from now at least: a
// connection to NATS may outlive it, and a broker that cannot be reached now is caught
// up with.
func revokedUntil(r ca.Record, now time.Time) time.Time {
	day := now.Add(24 * time.Hour)
	if r.NotAfter.Before(day) {
		return day
	}
	return r.NotAfter
}

// tell has the auth service end what runs on the certificates.
func (cmd *caRevokeCmd) tell(ctx context.Context, r *remote, records []ca.Record) ([]wire.Revoked, error) {
	c, err := r.loggedIn()
	if err != nil {
		return nil, err
	}
	done := make([]wire.Revoked, 0, len(records))
	for _, record := range records {
		revoked, err := c.Revoke(ctx, wire.RevokeRequest{
			Scope: string(events.ScopeCert), ID: record.ID, Reason: cmd.Reason, NotAfter: revokedUntil(record, time.Now()),
		})
		if err != nil {
			return done, err
		}
		done = append(done, revoked)
	}
	return done, nil
}

type caShowCmd struct {
	All  bool `help:"Show the certificates that have expired, too."`
	JSON bool `name:"json" help:"Print JSON, for programs."`
}

// caShown is what `ca show --json` prints.
type caShown struct {
	TrustDomain  string      `json:"trust_domain"`
	Roots        []caCert    `json:"roots"`
	Issuer       caCert      `json:"issuer"`
	Certificates []ca.Record `json:"certificates"`
}

type caCert struct {
	ID       string    `json:"id"`
	NotAfter time.Time `json:"not_after"`
}

func (cmd *caShowCmd) Run(t *terminal, dir caDir) error {
	t.json = cmd.JSON
	authority, err := dir.open()
	if err != nil {
		return err
	}
	info, err := authority.Info()
	if err != nil {
		return err
	}
	records, err := authority.Records()
	if err != nil {
		return err
	}
	now := time.Now()
	if !cmd.All {
		records = slices.DeleteFunc(records, func(r ca.Record) bool { return now.After(r.NotAfter) })
	}
	shown := caShown{
		TrustDomain: info.TrustDomain, Certificates: slices.Concat([]ca.Record{}, records),
		Issuer: caCert{events.CertificateID(info.Issuer), info.Issuer.NotAfter},
	}
	for _, root := range info.Roots {
		shown.Roots = append(shown.Roots, caCert{events.CertificateID(root), root.NotAfter})
	}
	if info.EndsSoon(now) {
		t.note("authsvc: warning: the intermediate or the root ends within 30 days: run authsvc ca rotate")
	}
	return t.show(shown, func() error { return t.certificates(shown) })
}

func (t *terminal) certificates(shown caShown) error {
	if err := t.say("trust domain %s, %d trusted, issuer until %s",
		shown.TrustDomain, len(shown.Roots), when(shown.Issuer.NotAfter)); err != nil {
		return err
	}
	rows := make([][]string, len(shown.Certificates))
	for i, r := range shown.Certificates {
		state := "live"
		switch {
		case !r.RevokedAt.IsZero():
			state = "revoked"
		case !r.Live(time.Now()):
			state = "expired"
		}
		rows[i] = []string{r.Name, strings.Join(r.Hosts, ","), state, when(r.NotAfter), r.Serial, r.ID}
	}
	return t.table([]string{"NAME", "HOSTS", "STATE", "UNTIL", "SERIAL", "ID"}, rows)
}

type caBundleCmd struct{}

func (cmd *caBundleCmd) Run(t *terminal, dir caDir) error {
	authority, err := dir.open()
	if err != nil {
		return err
	}
	bundle, err := authority.Bundle()
	if err != nil {
		return err
	}
	return t.say("%s", strings.TrimSpace(string(bundle)))
}

type caRotateCmd struct {
	Root    bool   `help:"Make a new root as well; the old one stays trusted." xor:"what"`
	DropOld bool   `help:"End the overlap after --root: trust only the new root." xor:"what"`
	RootKey string `help:"File of the current root's key; default: in the CA's directory." type:"path" placeholder:"FILE"`
}

func (cmd *caRotateCmd) Run(t *terminal, dir caDir) error {
	authority, err := dir.open()
	if err != nil {
		return err
	}
	switch {
	case cmd.DropOld:
		if err := authority.DropOldRoots(); err != nil {
			return err
		}
		return t.say("only the current root is trusted; give services the new bundle at their leisure")
	case cmd.Root:
		if err := authority.RotateRoot(cmd.RootKey); err != nil {
			return err
		}
		return t.say("issuing below a new root; keep its root-….key elsewhere, and run rotate --drop-old when show lists no older certificate")
	}
	if err := authority.RotateIntermediate(cmd.RootKey); err != nil {
		return err
	}
	return t.say("issuing from a new intermediate")
}
