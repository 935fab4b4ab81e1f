package events_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/authbus/authbus/events"
)

func TestIsInbox(t *testing.T) {
	tests := map[string]struct {
		reply string
		want  bool
	}{
		"the default inbox":         {"_INBOX.abc.1", true},
		"a private inbox":           {"_INBOX_orders.abc", true},
		"the way to an account":     {"_R_.q4V5AF.gicbqh", true},
		"that way, longer":          {"_R_x.abc", false},
		"that way, alone":           {"_R_.", false},
		"that way, wildcard":        {"_R_.>", false},
		"nothing":                   {"", false},
		"the prefix alone":          {"_INBOX", false},
		"the prefix with a dot":     {"_INBOX.", false},
		"the feed":                  {"auth.revocations.token", false},
		"a request":                 {"auth.verify", false},
		"JetStream":                 {"$JS.API.STREAM.PURGE.AUTH_EVENTS", false},
		"the prefix in lower case":  {"_inbox.abc", false},
		"the prefix further behind": {"auth._INBOX.abc", false},
		"a wildcard":                {"_INBOX.*", false},
		"a full wildcard":           {"_INBOX.>", false},
		"a wildcard in the prefix":  {"_INBOX_*.a", false},
		"white space":               {"_INBOX.a b", false},
		"a second line":             {"_INBOX.a\r\nPUB auth.revocations.token 0", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := events.IsInbox(tc.reply); got != tc.want {
				t.Errorf("IsInbox(%q) = %v, want %v", tc.reply, got, tc.want)
			}
		})
	}
}

func TestSubjectOf(t *testing.T) {
	tests := map[string]struct{ sub, want string }{
		"an ordinary user":           {"u_7Q2m-Z0", "auth.events.login.failed.u_7Q2m-Z0"},
		"no user":                    {"", "auth.events.login.failed.-"},
		"a user named like no user":  {"-", "auth.events.login.failed.=2D"},
		"a user with a dot":          {"a.b", "auth.events.login.failed.a=2Eb"},
		"a user that is a wildcard":  {">", "auth.events.login.failed.=3E"},
		"a user with a line break":   {"a\r\n", "auth.events.login.failed.a=0D=0A"},
		"a user that looks escaped":  {"=2E", "auth.events.login.failed.=3D2E"},
		"a user in another alphabet": {"é", "auth.events.login.failed.=C3=A9"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := events.SubjectOf(events.TypeLoginFailed, tc.sub); got != tc.want {
				t.Errorf("subject is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSubjectOfKeepsUsersApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		sa, sb := events.SubjectOf(events.TypeLoginFailed, a), events.SubjectOf(events.TypeLoginFailed, b)
		if (sa == sb) != (a == b) {
			t.Errorf("%q and %q are published on %q and %q", a, b, sa, sb)
		}
		if strings.Count(sa, ".") != 4 || strings.ContainsAny(sa, "*> \t\r\n") {
			t.Errorf("subject %q is not of five plain tokens", sa)
		}
	})
}
