package natsconfig

import (
	"slices"

	"github.com/authbus/authbus/events"
)

// The accounts.
const (
	AccountAuth    = "AUTH"    // the streams, the auth service, the CA
	AccountApps    = "APPS"    // services, subscribers, operators
	AccountGateway = "GATEWAY" // gateways, and the bucket of their sessions
	AccountSystem  = "SYS"     // the server's own
)

// The names of the identities that every installation has.
const (
	Publisher = "authsvc-publisher" // owns the streams and publishes on them
	Answerer  = "authsvc-answerer"  // answers requests and may publish nothing else
	Enforcer  = "authsvc-enforcer"  // ends connections whose certificate is revoked
	CA        = "ca"                // renews certificates
	HTTP      = "authsvc"           // the auth service to its clients over HTTP; no user of NATS
)

// BucketSessions is the KeyValue bucket in which gateways keep their sessions.
const BucketSessions = "gateway_sessions"

// Identity is what the holder of one certificate may do.
type Identity struct {
	// Name is the last part of the SPIFFE ID.
	Name string
	// Account is one of the Account constants.
	Account string
	// About says for people what the identity is.
	About string
	// Publish and Subscribe are the subjects that it may publish on and subscribe
	// to. A subject followed by a word may be subscribed to in that queue group only.
	Publish, Subscribe []string
}

// Inbox returns the subjects under which only the identity name gets replies.
func Inbox(name string) string { return InboxPrefix(name) + ".>" }

// InboxPrefix is what the identity name gives to nats.CustomInboxPrefix.
func InboxPrefix(name string) string { return events.InboxPrefix + "_" + name }

func isOwn(name string) bool {
	return slices.Contains([]string{Publisher, Answerer, Enforcer, CA, HTTP}, name)
}

// What a request across the border of accounts is answered to: a subject that the
// server makes up and that works once.
const crossReply = "_R_.>"

const (
	jsAPI   = "$JS.API."
	stream  = jsAPI + "STREAM."
	direct  = jsAPI + "DIRECT.GET."
	durable = jsAPI + "CONSUMER."
)

// verifierRequests are what every verifier asks.
func verifierRequests() []string {
	return []string{events.SubjectFresh, events.SubjectRange, events.SubjectStatus, events.SubjectKeys}
}

// Identities returns every identity, those of authbus first and the others by name.
func (c Config) Identities() []Identity {
	list := []Identity{c.publisher(), answerer(), renewer()}
	for _, name := range join(c.Services, c.Remote, c.Subscribers) {
		list = append(list, c.service(name))
	}
	for _, name := range join(c.Operators) {
		list = append(list, operator(name))
	}
	for _, name := range join(c.Gateways) {
		list = append(list, gateway(name))
	}
	return append(list, enforcer())
}

// publisher has of JetStream exactly what it takes to make the two streams, to compare
// them with the database, and to make the consumers of subscribers. It has no right to
// delete or purge anything; what that is worth inside an account that has JetStream is
// in the package's documentation.
func (c Config) publisher() Identity {
	id := Identity{
		Name: Publisher, Account: AccountAuth,
		About:     "Publishes revocations and events, and makes the streams.",
		Publish:   []string{events.SubjectRevocations, events.SubjectEvents},
		Subscribe: []string{Inbox(Publisher)},
	}
	id.Publish = append(id.Publish, jsAPI+"INFO") // the account's limit, of which events take a part
	for _, s := range []string{events.StreamEvents, events.StreamRevocations} {
		id.Publish = append(id.Publish, stream+"INFO."+s, stream+"CREATE."+s, stream+"UPDATE."+s, direct+s)
	}
	// It reads the feed's history through a consumer that it makes for the time.
	for _, op := range []string{"CREATE", "INFO", "MSG.NEXT", "DELETE"} {
		id.Publish = append(id.Publish, durable+op+"."+events.StreamRevocations+".*")
	}
	for _, name := range join(c.Subscribers) {
		id.Publish = append(id.Publish,
			durable+"INFO."+events.StreamEvents+"."+name, durable+"CREATE."+events.StreamEvents+"."+name)
	}
	id.Publish = append(id.Publish, events.SubjectCARenew)
	return id
}

// answerer can publish replies only, whatever reply subject it is made to answer to.
func answerer() Identity {
	id := Identity{
		Name: Answerer, Account: AccountAuth,
		About:   "Answers requests. Whoever asks chooses the subject of the answer, so it may answer to inboxes only.",
		Publish: []string{crossReply, Inbox(CA)},
	}
	for _, subject := range append(verifierRequests(), events.SubjectVerify) {
		id.Subscribe = append(id.Subscribe, subject+" "+events.ServiceAuthority)
	}
	id.Subscribe = append(id.Subscribe, discovery(events.ServiceAuthority)...)
	return id
}

// discovery is what a NATS micro service listens to so that it can be found.
func discovery(service string) []string {
	var subjects []string
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		subjects = append(subjects, "$SRV."+verb, "$SRV."+verb+"."+service, "$SRV."+verb+"."+service+".*")
	}
	return subjects
}

// renewer is a verifier too: it renews no certificate that is revoked.
func renewer() Identity {
	return Identity{
		Name: CA, Account: AccountAuth,
		About:     "Renews certificates (authsvc ca serve), and verifies that they are not revoked.",
		Publish:   append(verifierRequests(), direct+events.StreamRevocations, crossReply, Inbox(Publisher)),
		Subscribe: append([]string{events.SubjectRevocations, Inbox(CA), events.SubjectCARenew + " " + events.ServiceCA}, discovery(events.ServiceCA)...),
	}
}

// verifier is what a service needs that embeds a verifier and proves itself by
// certificate.
func verifier(name, account, about string) Identity {
	return Identity{
		Name: name, Account: account, About: about,
		Publish:   append(verifierRequests(), direct+events.StreamRevocations, events.SubjectCARenew),
		Subscribe: []string{events.SubjectRevocations, Inbox(name)},
	}
}

// service is whoever is in Services, Remote or Subscribers, or in several of them.
func (c Config) service(name string) Identity {
	id := Identity{Name: name, Account: AccountApps, Publish: []string{events.SubjectCARenew}, Subscribe: []string{Inbox(name)}}
	if slices.Contains(c.Services, name) || slices.Contains(c.Remote, name) {
		id = verifier(name, AccountApps, "A service with a verifier.")
	}
	if slices.Contains(c.Remote, name) {
		id.About += " It may also have whole tokens verified."
		id.Publish = append(id.Publish, events.SubjectVerify)
	}
	if slices.Contains(c.Subscribers, name) {
		if id.About != "" {
			id.About += " "
		}
		id.About += "Reads events by the consumer of its name, which the auth service makes."
		id.Publish = append(id.Publish,
			stream+"INFO."+events.StreamEvents, durable+"INFO."+events.StreamEvents+"."+name,
			durable+"MSG.NEXT."+events.StreamEvents+"."+name, "$JS.ACK."+events.StreamEvents+"."+name+".>")
		id.Subscribe = append(id.Subscribe, events.SubjectEvents)
	}
	return id
}

// operator sees all that there is to see, with the nats command.
func operator(name string) Identity {
	id := Identity{
		Name: name, Account: AccountApps,
		About:     "Looks with the nats command (--inbox-prefix " + InboxPrefix(name) + "): nats stream info and get, sub, micro. It makes no consumer, so not with nats stream view.",
		Publish:   []string{"$SRV.>", jsAPI + "INFO", stream + "NAMES", stream + "LIST", events.SubjectCARenew},
		Subscribe: []string{events.SubjectRevocations, events.SubjectEvents, Inbox(name)},
	}
	for _, s := range []string{events.StreamEvents, events.StreamRevocations} {
		id.Publish = append(id.Publish, stream+"INFO."+s, stream+"MSG.GET."+s, direct+s, direct+s+".>",
			durable+"NAMES."+s, durable+"LIST."+s, durable+"INFO."+s+".*")
	}
	return id
}

// gateway is a verifier that keeps its sessions in a bucket. It alone has JetStream
// in its account, and there it may make the bucket, read entries from its leader and
// write them. It has no right to list them, and what it reads is sealed for the holders
// of the tokens.
func gateway(name string) Identity {
	id := verifier(name, AccountGateway, "A gateway: a verifier that keeps sessions in the bucket "+BucketSessions+".")
	bucket := "KV_" + BucketSessions
	id.Publish = append(id.Publish,
		jsAPI+"INFO", stream+"INFO."+bucket, stream+"CREATE."+bucket, stream+"UPDATE."+bucket,
		stream+"MSG.GET."+bucket, "$KV."+BucketSessions+".>")
	return id
}

func enforcer() Identity {
	return Identity{
		Name: Enforcer, Account: AccountSystem,
		About:     "Finds the connections of revoked certificates and ends them; no other system request is allowed.",
		Publish:   []string{"$SYS.REQ.SERVER.PING.IDZ", "$SYS.REQ.SERVER.*.CONNZ", "$SYS.REQ.SERVER.*.KICK"},
		Subscribe: []string{"$SYS.ACCOUNT.*.CONNECT", Inbox(Enforcer)},
	}
}
