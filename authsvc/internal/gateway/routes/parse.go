package routes

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	// maxFile bounds the file, in bytes.
	maxFile = 1 << 20
	// maxMistakes bounds the error's text.
	maxMistakes = 50
)

// document is the file.
type document struct {
	Upstreams map[string]*Upstream `yaml:"upstreams" validate:"required,min=1,dive,keys,label,endkeys"`
	Rules     []*Rule              `yaml:"rules" validate:"required,min=1,dive"`
}

func (r *Rule) setDefaults() {
	r.Retries = 1
	r.Limits.setDefaults()
}

func (l *Limits) setDefaults() {
	*l = Limits{Header: 16 << 10, Body: 1 << 20, Time: 30 * time.Second, Idle: time.Minute}
}

func (u *Upstream) setDefaults() {
	u.MaxInFlight, u.ConnectTimeout = 1024, 2*time.Second
	u.Health.setDefaults()
}

func (h *Health) setDefaults() {
	*h = Health{Interval: 2 * time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 2}
}

// ReadFile reads a table from a file; see [Parse].
func ReadFile(path string) (*Table, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("reading the routes: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the routes: %w", err)
	}
	return text, nil
}

// Parse reads a table. name is the file's, for the error, which lists every
// mistake on a line of its own: name:line: field: what is wrong.
func Parse(name string, text []byte) (*Table, error) {
	d := &decoder{source: source{name, make(map[string]int)}}
	doc := d.document(text)
	if doc != nil {
		d.check(doc)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return build(doc, &d.source), nil
}

// document decodes the file's one document; nil if it has none.
func (d *decoder) document(text []byte) *document {
	if len(text) > maxFile {
		d.wrong(1, "", "the file is larger than %d bytes", maxFile)
		return nil
	}
	if line := firstNotUTF8(text); line > 0 {
		d.wrong(line, "", "is not UTF-8")
		return nil
	}
	parsed, err := parseYAML(text)
	switch {
	case err != nil:
		d.syntax(text, err)
		return nil
	case len(parsed) == 0 || len(parsed[0].Content) == 0:
		d.wrong(1, "", "the file is empty")
		return nil
	case len(parsed) > 1:
		d.wrong(parsed[1].Line, "", "the file must hold one document")
		return nil
	}
	doc := &document{}
	d.decode(parsed[0].Content[0], reflect.ValueOf(doc).Elem(), "")
	return doc
}

// err lists the mistakes in the file's order.
func (d *decoder) err() error {
	if len(d.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(d.mistakes, func(a, b mistake) int { return cmp.Compare(a.line, b.line) })
	var lines []string
	for i, m := range d.mistakes {
		if i == maxMistakes {
			lines = append(lines, fmt.Sprintf("%s: %d more", d.name, len(d.mistakes)-i))
			break
		}
		text := m.text
		if m.path != "" {
			text = m.path + ": " + text
		}
		lines = append(lines, fmt.Sprintf("%s:%d: %s", d.name, m.line, text))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// build makes the table of a document without mistakes.
func build(doc *document, from *source) *Table {
	t := &Table{rules: doc.Rules, hosts: make(map[string]*node), wildcards: make(map[string]*node)}
	for _, name := range slices.Sorted(maps.Keys(doc.Upstreams)) {
		u := doc.Upstreams[name]
		u.Name, u.Audience = name, cmp.Or(u.Audience, name)
		u.place = place{from, fmt.Sprintf("upstreams[%s]", name)}
		t.upstreams = append(t.upstreams, u)
	}
	for i, r := range doc.Rules {
		r.place = place{from, fmt.Sprintf("rules[%d]", i)}
		r.Upstream = doc.Upstreams[r.UpstreamName]
		if r.Rate != nil {
			r.Rate.Burst = cmp.Or(r.Rate.Burst, r.Rate.Requests)
		}
		t.add(r)
	}
	return t
}

func (t *Table) add(r *Rule) {
	n := t.root(r.Host).at(r.Path)
	at := &n.prefix
	if r.Exact {
		at = &n.exact
	}
	if *at == nil {
		*at = make(methods)
	}
	for _, m := range r.Methods {
		(*at)[m] = r
	}
}

// root returns the tree of a rule's host, and makes it if it is not there.
func (t *Table) root(host string) *node {
	suffix, wildcard := strings.CutPrefix(host, "*")
	switch {
	case host == "":
		if t.anyHost == nil {
			t.anyHost = &node{}
		}
		return t.anyHost
	case wildcard:
		return made(t.wildcards, suffix)
	default:
		return made(t.hosts, host)
	}
}

func made(trees map[string]*node, name string) *node {
	if trees[name] == nil {
		trees[name] = &node{}
	}
	return trees[name]
}
