package proxy

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
)

// takesSecretOn reports whether a request would take a secret of its client to a
// service. header is what of the client's goes on. A body is not looked at.
func (p *Proxy) takesSecretOn(r *http.Request, header http.Header) bool {
	if p.isSecret(r.URL.EscapedPath()) || p.isSecret(withoutToken(r.URL.RawQuery)) || p.isSecret(r.Host) {
		return true
	}
	for _, values := range header {
		if p.anySecret(values) {
			return true
		}
	}
	return false
}

func (p *Proxy) anySecret(values []string) bool { return slices.ContainsFunc(values, p.isSecret) }

// isSecret reports whether the text has a secret in it, as it is or encoded: every
// character may be, in a URL (RFC 3986 §2.3).
func (p *Proxy) isSecret(text string) bool {
	holds := p.config.HoldsSecret
	return holds != nil && (holds(text) || strings.Contains(text, "%") && holds(decoded(text)))
}

// decoded decodes a text once, and leaves what is no escape as it is.
func decoded(text string) string {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' && i+2 < len(text) {
			var one [1]byte
			if _, err := hex.Decode(one[:], []byte(text[i+1:i+3])); err == nil {
				c = one[0]
				i += 2
			}
		}
		out = append(out, c)
	}
	return string(out)
}
