package events_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/authbus/authbus/events"
	"github.com/authbus/authbus/schemas"
)

// asyncAPI is what these tests read of the document.
type asyncAPI struct {
	root     map[string]any
	Channels map[string]struct {
		Address    string         `yaml:"address"`
		Messages   map[string]ref `yaml:"messages"`
		Parameters map[string]struct {
			Enum []string `yaml:"enum"`
		} `yaml:"parameters"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Action  string `yaml:"action"`
		Channel ref    `yaml:"channel"`
		Reply   struct {
			Channel ref `yaml:"channel"`
		} `yaml:"reply"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Name    string `yaml:"name"`
			Title   string `yaml:"title"`
			Traits  []ref  `yaml:"traits"`
			Payload struct {
				Schema ref `yaml:"schema"`
			} `yaml:"payload"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

type ref struct {
	Ref string `yaml:"$ref"`
}

// last is the last part of the reference: the name of what it points to.
func (r ref) last() string { return r.Ref[strings.LastIndexByte(r.Ref, '/')+1:] }

func loadAsyncAPI(t *testing.T) asyncAPI {
	t.Helper()
	doc, err := fs.ReadFile(schemas.FS(), "asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var a asyncAPI
	if err := yaml.Unmarshal(doc, &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(doc, &a.root); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAsyncAPIReferences(t *testing.T) {
	a := loadAsyncAPI(t)
	var walk func(where string, v any)
	walk = func(where string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if target, ok := v["$ref"].(string); ok && !a.resolves(target) {
				t.Errorf("%s refers to %s, which does not exist", where, target)
			}
			for name, inner := range v {
				walk(where+"/"+name, inner)
			}
		case []any:
			for _, inner := range v {
				walk(where, inner)
			}
		}
	}
	walk("#", a.root)
}

func (a asyncAPI) resolves(target string) bool {
	local, ok := strings.CutPrefix(target, "#/")
	if !ok {
		_, err := fs.Stat(schemas.FS(), strings.TrimPrefix(target, "./"))
		return err == nil
	}
	var at any = a.root
	for part := range strings.SplitSeq(local, "/") {
		object, ok := at.(map[string]any)
		if !ok || object[part] == nil {
			return false
		}
		at = object[part]
	}
	return true
}

// addresses maps the address of each channel to the schemas of its messages.
func (a asyncAPI) addresses() map[string][]string {
	found := map[string][]string{}
	for _, c := range a.Channels {
		for _, m := range c.Messages {
			path := a.Components.Messages[m.last()].Payload.Schema.Ref
			name := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".json")
			found[c.Address] = append(found[c.Address], name)
		}
	}
	for _, names := range found {
		slices.Sort(names)
	}
	return found
}

func TestAsyncAPIChannels(t *testing.T) {
	a := loadAsyncAPI(t)
	want := map[string][]string{
		"auth.revocations.{scope}": {"Revocation.v1"},
		events.SubjectFresh:        {"FreshRequest.v1"},
		events.SubjectRange:        {"RangeRequest.v1"},
		events.SubjectStatus:       {"StatusRequest.v1"},
		events.SubjectKeys:         {"KeysRequest.v1"},
		events.SubjectVerify:       {"VerifyRequest.v1"},
		events.SubjectCARenew:      {"CARenewRequest.v1"},
		// The inboxes have no address.
		"": {"CARenewReply.v1", "FreshReply.v1", "KeysReply.v1", "RangeReply.v1", "StatusReply.v1", "VerifyReply.v1"},
	}
	for _, sample := range samples() {
		name := strings.TrimPrefix(sample.Type().Schema(), schemas.URN)
		address := events.SubjectOf(sample.Type(), "")
		if compile(t, sample.Type().Schema()).Properties["subject"].Bool == nil {
			address = strings.TrimSuffix(address, "-") + "{sub}"
		}
		want[address] = []string{name}
	}
	got := a.addresses()
	for address := range want {
		if !slices.Equal(got[address], want[address]) {
			t.Errorf("on %q the document has %v, want %v", address, got[address], want[address])
		}
	}
	if len(got) != len(want) {
		t.Errorf("the document has %d addresses, the contract %d: %v", len(got), len(want), slices.Sorted(maps.Keys(got)))
	}
}

func TestAsyncAPIMessages(t *testing.T) {
	a := loadAsyncAPI(t)
	var named []string
	for key, m := range a.Components.Messages {
		path := strings.TrimPrefix(m.Payload.Schema.Ref, "./")
		doc, err := fs.ReadFile(schemas.FS(), path)
		if err != nil {
			t.Fatal(err)
		}
		var s struct{ Title string }
		if err := json.Unmarshal(doc, &s); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(path[strings.IndexByte(path, '/')+1:], ".json")
		named = append(named, name)
		if m.Title != s.Title || strings.TrimPrefix(m.Name, "authbus.") != name {
			t.Errorf("message %s is called %s and %s, its schema %s", key, m.Title, m.Name, s.Title)
		}
		signed := slices.Contains(m.Traits, ref{"#/components/messageTraits/signed"})
		if want := name == "Revocation.v1" || strings.HasSuffix(name, "Reply.v1"); signed != want {
			t.Errorf("message %s has signature headers: %v, want %v", key, signed, want)
		}
	}
	slices.Sort(named)
	want := slices.Sorted(slices.Values(schemas.Names()))
	if !slices.Equal(named, want) {
		t.Errorf("the document has messages %v, want one for each schema %v", named, want)
	}
}

func TestAsyncAPIOperations(t *testing.T) {
	a := loadAsyncAPI(t)
	used := map[string]bool{}
	for name, o := range a.Operations {
		used[o.Channel.last()] = true
		if o.Reply.Channel.Ref != "" {
			used[o.Reply.Channel.last()] = true
		}
		request := o.Reply.Channel.Ref != ""
		if (o.Action == "receive") != request {
			t.Errorf("operation %s: action %s, with a reply: %v", name, o.Action, request)
		}
	}
	for name := range a.Channels {
		if !used[name] {
			t.Errorf("no operation uses channel %s", name)
		}
	}
	for _, scope := range a.Channels["revocation"].Parameters["scope"].Enum {
		if !events.Scope(scope).Known() {
			t.Errorf("the feed has scope %s, which the contract does not know", scope)
		}
	}
	if n := len(a.Channels["revocation"].Parameters["scope"].Enum); n != 6 {
		t.Errorf("the feed has %d scopes, want 6", n)
	}
}
