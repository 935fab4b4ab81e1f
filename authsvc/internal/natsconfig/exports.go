package natsconfig

import "github.com/authbus/authbus/events"

// export is a subject of AUTH that another account may have. A stream is heard there,
// a service may be asked.
type export struct {
	Kind    string // stream or service
	Subject string
	// Many marks a service that gives more than one reply.
	Many bool
	To   []string
	Why  string
}

const (
	kindStream  = "stream"
	kindService = "service"
)

// exports returns what AUTH gives to the other accounts: what identities in them may
// use, and nothing that nobody uses.
func (c Config) exports() []export {
	verifiers := []string{AccountApps}
	if len(c.Gateways) > 0 {
		verifiers = append(verifiers, AccountGateway)
	}
	apps := []string{AccountApps}
	list := []export{{Kind: kindStream, Subject: events.SubjectRevocations, To: verifiers, Why: "the feed, live"}}
	for _, subject := range verifierRequests() {
		list = append(list, export{Kind: kindService, Subject: subject, To: verifiers})
	}
	list = append(list,
		export{Kind: kindService, Subject: direct + events.StreamRevocations, Many: true, To: verifiers, Why: "the feed's history, in batches"},
		export{Kind: kindService, Subject: events.SubjectCARenew, To: verifiers},
	)
	if len(c.Remote) > 0 {
		list = append(list, export{Kind: kindService, Subject: events.SubjectVerify, To: apps, Why: "whole tokens: see the permissions"})
	}
	if len(c.Subscribers)+len(c.Operators) > 0 {
		list = append(list,
			export{Kind: kindStream, Subject: events.SubjectEvents, To: apps, Why: "events, live"},
			export{Kind: kindService, Subject: stream + "INFO." + events.StreamEvents, To: apps},
		)
	}
	for _, name := range join(c.Subscribers) {
		list = append(list,
			export{Kind: kindService, Subject: durable + "MSG.NEXT." + events.StreamEvents + "." + name, Many: true, To: apps, Why: "the consumer of " + name},
			export{Kind: kindService, Subject: "$JS.ACK." + events.StreamEvents + "." + name + ".>", To: apps},
		)
		if len(c.Operators) == 0 { // theirs is wider
			list = append(list, export{Kind: kindService, Subject: durable + "INFO." + events.StreamEvents + "." + name, To: apps})
		}
	}
	if len(c.Operators) > 0 {
		list = append(list, lookAround(apps)...)
	}
	return list
}

// lookAround is what operators need: requests that change nothing.
func lookAround(to []string) []export {
	list := []export{
		{Kind: kindService, Subject: "$SRV.>", Many: true, To: to, Why: "nats micro"},
		{Kind: kindService, Subject: jsAPI + "INFO", To: to, Why: "nats stream"},
		{Kind: kindService, Subject: stream + "NAMES", To: to},
		{Kind: kindService, Subject: stream + "LIST", To: to},
		{Kind: kindService, Subject: stream + "INFO." + events.StreamRevocations, To: to},
		{Kind: kindService, Subject: direct + events.StreamEvents, Many: true, To: to},
	}
	for _, s := range []string{events.StreamEvents, events.StreamRevocations} {
		list = append(list,
			export{Kind: kindService, Subject: stream + "MSG.GET." + s, To: to},
			export{Kind: kindService, Subject: direct + s + ".>", To: to},
			export{Kind: kindService, Subject: durable + "NAMES." + s, To: to},
			export{Kind: kindService, Subject: durable + "LIST." + s, To: to},
			export{Kind: kindService, Subject: durable + "INFO." + s + ".*", To: to},
		)
	}
	return list
}
