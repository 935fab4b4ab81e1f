package events

import (
	"fmt"
	"strings"
)

// The streams that the auth service owns.
const (
	StreamEvents      = "AUTH_EVENTS"      // every event, subjects auth.events.>
	StreamRevocations = "AUTH_REVOCATIONS" // the feed, subjects auth.revocations.>
)

// The subjects that the streams capture, and the roots of what is published.
const (
	SubjectEvents      = "auth.events.>"
	SubjectRevocations = "auth.revocations.>"

	eventRoot      = "auth.events."
	revocationRoot = "auth.revocations."
)

// The requests that the auth service answers, as the NATS micro service
// [ServiceAuthority] in the queue group of the same name.
const (
	SubjectFresh  = "auth.fresh"  // FreshRequest → FreshReply: the read index
	SubjectRange  = "auth.range"  // RangeRequest → RangeReply: missing records
	SubjectStatus = "auth.status" // StatusRequest → StatusReply: one token, by its ids
	SubjectKeys   = "auth.keys"   // KeysRequest → KeysReply: JWKS and feed keys
	SubjectVerify = "auth.verify" // VerifyRequest → VerifyReply: one whole token
)

// SubjectCARenew is what the internal CA answers, as the NATS micro service
// [ServiceCA] in the queue group of the same name: CARenewRequest → CARenewReply.
const SubjectCARenew = "auth.ca.renew"

// The names of the NATS micro services, as `nats micro ls` shows them.
const (
	ServiceAuthority = "authsvc"
	ServiceVerifier  = "verifier"
	ServiceCA        = "authsvc-ca"
)

// InboxPrefix is what the subjects of replies start with. A responder that would
// answer to another subject could be used to publish wherever it may publish
// itself, so the auth service answers nothing else: see [IsInbox].
const InboxPrefix = "_INBOX"

// crossPrefix is what the subject of a reply starts with where the request came from
// another account: nats-server makes it up for this one reply, and lets no client
// ask for an answer there.
const crossPrefix = "_R_"

// IsInbox reports whether reply is a subject that a responder may answer to, without
// wildcards: under _INBOX or a private prefix such as _INBOX_orders, or under _R_,
// which is the way back to another account.
func IsInbox(reply string) bool {
	first, rest, ok := strings.Cut(reply, ".")
	return ok && rest != "" && (strings.HasPrefix(first, InboxPrefix) || first == crossPrefix) &&
		!strings.ContainsAny(reply, "*> \t\r\n")
}

// noSubject stands for the user in the subject of an event that concerns none.
const noSubject = "-"

// SubjectOf returns the subject on which an event of type t about the user sub
// is published: auth.events.<type>.<sub>, with "-" where it is about no user.
// Bytes of sub that are not letters, digits, "-" or "_" are written as =XX, so
// that no sub can reach another subject.
func SubjectOf(t Type, sub string) string { return eventRoot + string(t) + "." + subjectToken(sub) }

func subjectToken(sub string) string {
	switch sub {
	case "":
		return noSubject
	case noSubject:
		return "=2D"
	}
	var b strings.Builder
	for _, c := range []byte(sub) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// RevocationSubject returns the subject on which records of scope s are published.
func RevocationSubject(s Scope) string { return revocationRoot + string(s) }
