package proxy

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// pseudonymPrefix begins the names of gateways in Via (RFC 9110 §7.6.3).
const pseudonymPrefix = "authsvc-gateway-"

// pseudonymLength is that of rand.Text, which has 128 random bits and more.
const pseudonymLength = len(pseudonymPrefix) + 26

// newPseudonym returns a name for this gateway that no other has.
func newPseudonym() string { return pseudonymPrefix + strings.ToLower(rand.Text()) }

// HasCarried reports whether the request has gone through this proxy before, so that
// it would go round and round. Whoever calls [Proxy.Serve] refuses it with
// [LoopDetected], before anything else is asked about it.
func (p *Proxy) HasCarried(r *http.Request) bool {
	for element := range tokens(r.Header["Via"]) {
		if gatewayOf(element) == p.pseudonym {
			return true
		}
	}
	return false
}

// via returns the way of a request through gateways, this one at its end. Of what
// the client says only gateways are kept: they must find themselves.
func (p *Proxy) via(r *http.Request) string {
	var way []string
	for element := range tokens(r.Header["Via"]) {
		if name := gatewayOf(element); name != "" {
			way = append(way, "1.1 "+name)
		}
	}
	return strings.Join(append(way, strings.TrimPrefix(r.Proto, "HTTP/")+" "+p.pseudonym), ", ")
}

// gatewayOf returns the pseudonym in an element of Via, "" if it is not that of a
// gateway. What lies between may have written the element anew: with the protocol's
// name, which may be left out, or a comment behind.
func gatewayOf(element string) string {
	parts := strings.Fields(element)
	if len(parts) < 2 {
		return ""
	}
	name := parts[1]
	random, isGateway := strings.CutPrefix(name, pseudonymPrefix)
	if !isGateway || len(name) != pseudonymLength || strings.Trim(random, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return ""
	}
	return name
}
