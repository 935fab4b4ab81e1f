package broker

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/authbus/authbus/events"
)

// anonymous is who every connection without credentials is.
const anonymous Identity = "anonymous"

// credentials prove an identity: a key pair and its public name.
type credentials struct {
	public string
	pair   nkeys.KeyPair
}

// newCredentials makes the credentials of each identity. Nobody ever signs as
// anonymous.
func newCredentials() (map[Identity]credentials, error) {
	made := map[Identity]credentials{}
	for _, who := range []Identity{Publisher, Answerer, anonymous} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return nil, fmt.Errorf("making a key for %s: %w", who, err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("reading the key of %s: %w", who, err)
		}
		made[who] = credentials{public, pair}
	}
	return made, nil
}

// users returns what each identity may do.
func users(made map[Identity]credentials) []*server.NkeyUser {
	return []*server.NkeyUser{
		{Nkey: made[Publisher].public},
		{Nkey: made[Answerer].public, Permissions: answering()},
		{Nkey: made[anonymous].public, Permissions: public()},
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
