package routes

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// newValidator returns a validator that knows the format's kinds of text and
// calls fields by their names in the file.
func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("yaml") })
	for tag, ok := range map[string]func(string) bool{
		"host":   isHost,
		"label":  func(s string) bool { return isLabel(strings.ReplaceAll(s, "_", "-")) },
		"path":   isPath,
		"prefix": func(s string) bool { return isPath(s) && !isPattern(s) },
		"scope":  isScope,
		"target": func(s string) bool { _, err := parseTarget(s); return err == nil },
		"spiffe": isSPIFFE,
	} {
		if err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool { return ok(f.Field().String()) }); err != nil {
			panic("routes: " + err.Error())
		}
	}
	return v
}

// isPath reports whether a rule may have the path, or a health check.
func isPath(s string) bool { return checkPath(s) == nil && (s == "/" || !strings.HasSuffix(s, "/")) }

// isPattern reports whether somebody who writes the path expects more of it than
// that it is compared: other gateways have wildcards, parameters and expressions, or
// look at the query. A rule that matches nothing would be the best of what could
// come of it. What RFC 3986 §3.3 allows in a segment is left but for "*", and for a
// ":" that begins it.
func isPattern(s string) bool {
	return strings.ContainsAny(s, "*?#{}[]<>|^") || strings.Contains(s, "/:")
}

// isScope reports whether the text can be a scope (RFC 6749 §3.3).
func isScope(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// parseTarget reads the URL of an upstream. It names a place to connect to and
// nothing else: the path of requests is never changed.
func parseTarget(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	port, err := strconv.Atoi(u.Port())
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || bare.String() != s || err != nil || port < 1 || port > 65535 {
		return nil, errors.New("not scheme://host:port")
	}
	return u, nil
}

func isSPIFFE(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "spiffe" && u.Host != "" && len(u.Path) > 1 && u.User == nil &&
		u.RawQuery == "" && u.Fragment == "" && u.Port() == "" && len(s) <= 2048
}

// check judges the values: first each by itself, then together.
func (d *decoder) check(doc *document) {
	err := newValidator().Struct(doc)
	var broken validator.ValidationErrors
	if err != nil && !errors.As(err, &broken) {
		d.wrong(1, "", "validating: %v", err)
		return
	}
	unread := *d // what is wrong so far could not be read
	for _, b := range broken {
		if _, path, _ := strings.Cut(b.Namespace(), "."); !unread.faulty(path) {
			d.at(path, "%s", ruleText(b))
		}
	}
	for name, u := range doc.Upstreams {
		d.checkUpstream(u, fmt.Sprintf("upstreams[%s]", name))
	}
	for i, r := range doc.Rules {
		d.checkRule(r, doc, fmt.Sprintf("rules[%d]", i))
	}
	d.checkOverlaps(doc.Rules)
}

// faulty reports whether the field, or what it is in, could not even be read.
func (d *decoder) faulty(path string) bool {
	return slices.ContainsFunc(d.mistakes, func(m mistake) bool {
		rest, inside := strings.CutPrefix(path, m.path)
		return inside && (m.path == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// at reports a mistake at the field.
func (d *decoder) at(path, format string, args ...any) {
	d.wrong(d.lineOf(path), path, format, args...)
}

func (d *decoder) checkUpstream(u *Upstream, path string) {
	for i, text := range u.URLs {
		target, err := parseTarget(text)
		if err != nil {
			continue // said already
		}
		at := fmt.Sprintf("%s.urls[%d]", path, i)
		if u.SPIFFE != "" && target.Scheme != "https" {
			d.at(at, "must be https, because spiffe is set")
		}
		if u.H2C && target.Scheme != "http" {
			d.at(at, "must be http, because h2c is set")
		}
	}
}

func (d *decoder) checkRule(r *Rule, doc *document, path string) {
	if r.UpstreamName != "" && doc.Upstreams[r.UpstreamName] == nil {
		d.at(path+".upstream", "there is no upstream %q", r.UpstreamName)
	}
	if r.Public && len(r.Scopes) > 0 {
		d.at(path+".scopes", "cannot be required of public requests")
	}
	if r.Public && len(r.Roles) > 0 {
		d.at(path+".roles", "cannot be required of public requests")
	}
	if r.WebSocket && !slices.Contains(r.Methods, "GET") {
		d.at(path+".websocket", "needs the method GET")
	}
}

// checkOverlaps reports rules that name the same requests, or have the same name.
func (d *decoder) checkOverlaps(rules []*Rule) {
	type key struct {
		host, path, method string
		exact              bool
	}
	names, seen := make(map[string]int), make(map[key]int)
	for i, r := range rules {
		path := fmt.Sprintf("rules[%d]", i)
		if first, taken := names[r.Name]; taken && r.Name != "" {
			d.at(path+".name", "is taken by rules[%d] on line %d", first, d.lineOf(fmt.Sprintf("rules[%d].name", first)))
		}
		names[r.Name] = i
		for j, m := range r.Methods {
			k := key{r.Host, r.Path, m, r.Exact}
			if first, taken := seen[k]; taken && first != i {
				d.at(fmt.Sprintf("%s.methods[%d]", path, j), "%s of this host and path is named by rules[%d] on line %d",
					m, first, d.lineOf(fmt.Sprintf("rules[%d]", first)))
			}
			seen[k] = i
		}
	}
}

const notPath = "must be a decoded path: /, or segments after one slash each, none empty or of dots, without \\ ; ? # % escapes"

// ruleText words a broken rule.
func ruleText(b validator.FieldError) string {
	switch b.Tag() {
	case "required":
		return "is required"
	case "unique":
		return "must not name anything twice"
	case "oneof":
		return "must be one of: " + strings.ReplaceAll(b.Param(), " ", ", ")
	case "min":
		if b.Kind() == reflect.Slice {
			return "must not be empty"
		}
		return "must be at least " + b.Param()
	case "max":
		return "must be at most " + b.Param()
	case "host":
		return "must be a host in lower case without a port, or one after *., or an address as RFC 5952 spells it"
	case "label":
		return "must be a name of lower-case letters, digits, - and _"
	case "path":
		return notPath
	case "prefix":
		if text, _ := b.Value().(string); isPattern(text) {
			return "must be a prefix of whole segments, not a pattern: /a is for itself and all below it; " +
				"none of * ? # { } [ ] < > | ^, and no segment that begins with :"
		}
		return notPath
	case "scope":
		return "must be a word of printable ASCII"
	case "target":
		return "must be a URL of the form http://host:port or https://host:port and nothing behind it"
	case "spiffe":
		return "must be a SPIFFE id: spiffe://trust-domain/name"
	default:
		return "is not valid"
	}
}
