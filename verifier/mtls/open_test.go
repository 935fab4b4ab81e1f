package mtls

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenNamesWhatIsWrong(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	good := ca.issue("orders", leaf{})
	for _, c := range []struct {
		name  string
		spoil func(c *Config, m *material)
		want  string
	}{
		{"no certificate file is named", func(c *Config, _ *material) { c.CertFile = "" }, "Config.CertFile must be set"},
		{"no key file is named", func(c *Config, _ *material) { c.KeyFile = "" }, "Config.KeyFile must be set"},
		{"no bundle is named", func(c *Config, _ *material) { c.CAFile = "" }, "Config.CAFile must be set"},
		{"two files are one", func(c *Config, _ *material) { c.CAFile = c.CertFile }, "must be three files"},
		{"two files are one, in other words", func(c *Config, _ *material) { c.KeyFile = filepath.Dir(c.CertFile) + "/./" + filepath.Base(c.CertFile) }, "must be three files"},
		{"the certificate is a folder", func(c *Config, _ *material) { c.CertFile = filepath.Dir(c.CertFile) }, "Config.CertFile"},
		{"the key is a folder", func(c *Config, _ *material) { c.KeyFile = filepath.Dir(c.KeyFile) }, "Config.KeyFile"},
		{"the bundle is a folder", func(c *Config, _ *material) { c.CAFile = filepath.Dir(c.CAFile) }, "Config.CAFile"},
		{"the key is missing", func(c *Config, _ *material) { c.KeyFile += "x" }, "Config.KeyFile: open"},
		{"the bundle is missing", func(c *Config, _ *material) { c.CAFile += "x" }, "Config.CAFile: open"},
		{"the trust domain has a space", func(c *Config, _ *material) { c.TrustDomain = "example.org " }, "Config.TrustDomain must be a trust domain"},
		{"the trust domain is none", func(c *Config, _ *material) { c.TrustDomain = "a b" }, "Config.TrustDomain must be a trust domain"},
		{"the trust domain is another", func(c *Config, _ *material) { c.TrustDomain = "example.net" }, "which is example.org"},
		{"the certificate is missing", func(c *Config, _ *material) { c.CertFile += "x" }, "Config.CertFile: open"},
		{"the certificate is empty", func(_ *Config, m *material) { m.cert = nil }, "Config.CertFile"},
		{"the certificate is garbage", func(_ *Config, m *material) { m.cert = []byte("garbage") }, "must hold the certificate"},
		{"the certificate is a key", func(_ *Config, m *material) { m.cert = m.key }, "PRIVATE KEY"},
		{"it is too big", func(_ *Config, m *material) { m.cert = make([]byte, maxFile+1) }, "smaller than 1 MiB"},
		{"the key is another's", func(_ *Config, m *material) { m.key = ca.issue("orders", leaf{}).key }, "Config.KeyFile"},
		{"the key is garbage", func(_ *Config, m *material) { m.key = []byte("x") }, "Config.KeyFile"},
		{"it has expired", func(_ *Config, m *material) { *m = ca.issue("orders", leaf{to: -time.Second}) }, "it expired at"},
		{"it is not valid yet", func(_ *Config, m *material) { *m = ca.issue("orders", leaf{from: time.Minute}) }, "it is from"},
		{"it names nobody", func(_ *Config, m *material) { *m = ca.issue("", leaf{uris: []string{}}) }, "must name one service"},
		{"it names two services", func(_ *Config, m *material) {
			*m = ca.issue("", leaf{uris: []string{"spiffe://example.org/orders", "spiffe://example.org/billing"}})
		}, "has 2 URIs"},
		{"it names a host, too", func(_ *Config, m *material) { *m = ca.issue("orders", leaf{dns: []string{"orders.internal"}}) }, "other names"},
		{"it names a web page", func(_ *Config, m *material) { *m = ca.issue("", leaf{uris: []string{"https://example.org/orders"}}) }, "SPIFFE ID begins with"},
		{"it is for clients only", func(_ *Config, m *material) {
			*m = ca.issue("orders", leaf{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		}, "good for a server"},
		{"it is for servers only", func(_ *Config, m *material) {
			*m = ca.issue("orders", leaf{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		}, "good for a client"},
		{"the bundle is empty", func(_ *Config, m *material) { m.ca = nil }, "Config.CAFile"},
		{"the bundle holds a service", func(_ *Config, m *material) { m.ca = append(m.ca, m.cert...) }, "nothing but CA certificates"},
		{"the bundle is another CA's", func(_ *Config, m *material) { m.ca = other.issue("orders", leaf{}).ca }, "must lead to a root of Config.CAFile"},
		{"the intermediate is missing", func(_ *Config, m *material) {
			m.cert = m.cert[:len(m.cert)/2]
			m.cert = m.cert[:strings.Index(string(good.cert), "-----END CERTIFICATE-----")+26]
		}, "must lead to a root of Config.CAFile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, m := Files(t.TempDir(), "orders"), good
			files := config
			must(t, config.write(m))
			c.spoil(&config, &m)
			if m.sum() != good.sum() {
				must(t, files.write(m))
			}
			s, err := Open(config)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestTheKeyIsClosedToOthers(t *testing.T) {
	config := newCA(t).files("orders", leaf{})
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o660: false, 0o604: false, 0o602: false} {
		must(t, os.Chmod(config.KeyFile, mode))
		s, err := Open(config)
		if (err == nil) != good {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err == nil {
			must(t, s.Close())
		} else if !strings.Contains(err.Error(), "Config.KeyFile") || !strings.Contains(err.Error(), "0640 at most") {
			t.Error(err)
		}
	}
}

func TestAnIdentityKnowsItself(t *testing.T) {
	config := newCA(t).files("orders", leaf{uris: []string{"spiffe://example.org/team/orders"}})
	s := open(t, config)
	if s.ID() != "spiffe://example.org/team/orders" || s.Name() != "team/orders" {
		t.Errorf("it is %s, %s", s.ID(), s.Name())
	}
	if left := time.Until(s.NotAfter()); left < 58*time.Minute || left > time.Hour {
		t.Errorf("it has %v left", left)
	}
}
