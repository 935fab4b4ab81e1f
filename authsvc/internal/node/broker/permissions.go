package broker

import (
	"github.com/nats-io/nats-server/v2/server"

	"github.com/authbus/authbus/events"
)

// anonymous is the user of every connection without credentials.
const anonymous = "anonymous"

// users returns the three identities of the embedded broker.
func users(passwords map[Identity]string) []*server.User {
	return []*server.User{
		{Username: string(Publisher), Password: passwords[Publisher]},
		{Username: string(Answerer), Password: passwords[Answerer], Permissions: answering()},
		{Username: anonymous, Permissions: public()},
	}
}

// answering keeps replies off every subject of the contract. Whoever sends a
// request chooses its reply subject, and the client library answers discovery
// ($SRV.>) on whatever was chosen.
func answering() *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{
		Deny: []string{"auth.>", "$JS.>", "$KV.>", "$O.>", "$SRV.>", "$SYS.>"},
	}}
}

// public lets a developer's tools and services read everything and send
// requests, but not write the streams or change them.
func public() *server.Permissions {
	deny := []string{events.SubjectEvents, events.SubjectRevocations}
	for _, stream := range []string{events.StreamEvents, events.StreamRevocations} {
		for _, op := range []string{"CREATE", "UPDATE", "DELETE", "PURGE", "RESTORE", "MSG.DELETE"} {
			deny = append(deny, "$JS.API.STREAM."+op+"."+stream)
		}
	}
	return &server.Permissions{Publish: &server.SubjectPermission{Deny: deny}}
}
