package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authbus/authbus/authsvc/internal/ca"
	"github.com/authbus/authbus/events"
)

// caDoc is a CA, for programs.
type caDoc struct {
	TrustDomain string   `json:"trust_domain"`
	Roots       []caCert `json:"roots"`
	Issuer      caCert   `json:"issuer"`
}

type caCert struct {
	ID       string    `json:"id"`
	NotAfter time.Time `json:"not_after"`
}

func caDocOf(info ca.Info) caDoc {
	doc := caDoc{TrustDomain: info.TrustDomain, Issuer: caCert{events.CertificateID(info.Issuer), info.Issuer.NotAfter}}
	for _, root := range info.Roots {
		doc.Roots = append(doc.Roots, caCert{events.CertificateID(root), root.NotAfter})
	}
	return doc
}

// caFiles are the files that people handle, as opposed to those of the CA's own.
type caFiles struct {
	// RootKey is absent where it has been taken away.
	RootKey string `json:"root_key,omitempty"`
	Bundle  string `json:"bundle"`
}

// authority shows a CA that has just been made, or changed.
func (t *terminal) authority(authority *ca.CA, dir caDir, people func() error) error {
	info, err := authority.Info()
	if err != nil {
		return err
	}
	path, there, err := authority.RootKey()
	if err != nil {
		return err
	}
	files := caFiles{Bundle: filepath.Join(string(dir), ca.BundleFile)}
	if there {
		files.RootKey = path
	}
	return t.show(struct {
		caDoc
		Files caFiles `json:"files"`
	}{caDocOf(info), files}, people)
}

type caShowCmd struct {
	jsonFlag
	All bool `help:"Show the certificates that have expired, too."`
}

// caShown is what `ca show --json` prints.
type caShown struct {
	caDoc
	Certificates []ca.Record `json:"certificates"`
}

func (cmd *caShowCmd) Run(t *terminal, dir caDir) error {
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
	shown := caShown{caDocOf(info), slices.Concat([]ca.Record{}, records)}
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
